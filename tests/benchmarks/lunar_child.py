"""What is measured from outside, each in a process of its own: `lunar_child TASK PATH`."""

from __future__ import annotations

import sys
from pathlib import Path


def main(task: str, path: str) -> None:
    """Do one task; the caller looks at the memory that it took."""
    {"import": _nothing, "read": _read, "step": _step}[task](Path(path))


def _nothing(_path: Path) -> None:
    import reference_impl.lunar.training  # noqa: F401


def _read(source: Path) -> None:
    from reference_impl.lunar.index import load_index
    from reference_impl.lunar.preprocessing import LunarDataset
    from reference_impl.lunar.training import train_model  # noqa: F401

    dataset = LunarDataset(load_index(source), 256, training=True)
    assert all(dataset[number] is not None for number in range(len(dataset)))
    print(len(dataset))


def _step(size: Path) -> None:
    import torch

    from reference_impl.lunar.losses import focal_loss
    from reference_impl.lunar.model import create_model
    from reference_impl.lunar.training import train_model  # noqa: F401

    model = create_model(output_stride=32).to(memory_format=torch.channels_last).train()
    images = torch.rand(8, 3, int(str(size)), int(str(size)))
    images = images.contiguous(memory_format=torch.channels_last)
    focal_loss(model(images), torch.arange(8) % 5).backward()


if __name__ == "__main__":
    main(*sys.argv[1:])
