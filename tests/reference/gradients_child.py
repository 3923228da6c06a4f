"""Started by torchrun: one share of a batch per process; the first one writes the gradients."""

from __future__ import annotations

import sys

import torch
from torch import Tensor, nn

from reference_impl.lunar import distributed
from reference_impl.lunar.losses import focal_loss
from reference_impl.lunar.model import create_model


def batch() -> tuple[Tensor, Tensor]:
    """Return what all processes together see."""
    random = torch.Generator().manual_seed(3)
    images = torch.rand(4, 3, 64, 64, generator=random, dtype=torch.float64)
    return images, torch.tensor([0, 1, 2, 3])


def fresh(name: str) -> nn.Module:
    """Return the same model everywhere, with statistics and dropout that stay put."""
    torch.manual_seed(5)
    return create_model(name, output_stride=32).double().eval()  # float32 rounds at 1e-5


def gradients(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return the gradients of all parameters that have one."""
    focal_loss(model(images), labels).backward()
    found = {name.removeprefix("module."): p.grad for name, p in model.named_parameters()}
    return {name: gradient for name, gradient in found.items() if gradient is not None}


def main(path: str, name: str) -> None:
    with distributed.joined():
        images, labels = (part.chunk(distributed.world())[distributed.rank()] for part in batch())
        found = gradients(distributed.wrap(fresh(name)), images, labels)
        if distributed.is_main():
            torch.save(found, path)


if __name__ == "__main__":
    main(*sys.argv[1:])
