"""Teach the frozen part of the hybrid to see slopes, without any label.

`python -m reference_impl.lunar.trunk --out trunk.pth` makes images of the made-up Moon and trains
stem, layer1 and layer2 to say the histogram of gradients of every 8×8 pixels (Wei et al. 2022,
arXiv:2112.09133, after Dalal and Triggs 2005). `--start trunk.pth --manifest windows.csv
--test_fold 0` goes on from there on the windows of the other folds, which look a little different.
`main --trunk trunk.pth` takes the trunk over, frozen: few real windows suffice then for the rest.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from reference_impl.lunar.backbone import Backbone
from reference_impl.lunar.checkpoints import CheckpointError, load_model, save
from reference_impl.lunar.index import DataError
from reference_impl.lunar.preprocessing import (
    Batch,
    create_manifest_dataloaders,
    create_train_val_dataloaders,
    files_of,
)
from reference_impl.lunar.samples import create_sample_data
from reference_impl.lunar.utils import set_seed

CELL = 8
"""Pixels of a side that a histogram is of: one place of layer2's output."""
BINS = 9
TARGETS = BINS + 2


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    result = argparse.ArgumentParser(prog="python -m reference_impl.lunar.trunk")
    add = result.add_argument
    add("--out", default="trunk.pth")
    add("--samples", default="trunk_samples", help="a folder for the images")
    add("--num_samples", type=int, default=1600)
    add("--image_size", type=int, default=64)
    add("--epochs", type=int, default=4)
    add("--batch_size", type=int, default=32)
    add("--lr", type=float, default=2e-3)
    add("--seed", type=int, default=42)
    add("--start", metavar="CHECKPOINT", help="a trunk to go on with")
    add("--manifest", help="learn from its windows, not from samples; needs --test_fold")
    add("--test_fold", help="whose windows are not looked at")
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = parser().parse_args(arguments)
    if bool(options.manifest) != bool(options.test_fold):
        parser().error("--manifest and --test_fold go together")
    began = time.monotonic()
    try:
        set_seed(options.seed)
        error = train_trunk(
            *loaders_of(options),
            options.out,
            epochs=options.epochs,
            rate=options.lr,
            start=options.start,
        )
    except (DataError, CheckpointError, ValueError, OSError) as problem:
        sys.exit(f"error: {problem}")
    minutes = (time.monotonic() - began) / 60
    print(f"{options.out}: {1 - error:.0%} of the variance told, {minutes:.1f} minutes")  # noqa: T201


def loaders_of(options: argparse.Namespace) -> tuple[DataLoader[Batch], DataLoader[Batch]]:
    """Return loaders to learn from, and to judge by; nobody looks at their labels."""
    shape = (options.batch_size, 1, options.image_size)
    kept = {"seed": options.seed, "cache": True}
    if options.manifest:
        train, held_out, _ = create_manifest_dataloaders(
            options.manifest, options.test_fold, *shape, val_split=0.1, **kept
        )
        return train, held_out
    samples, size = options.samples, 2 * options.image_size
    create_sample_data(samples, options.num_samples, seed=options.seed, image_size=size)
    return create_train_val_dataloaders(samples, 0.1, *shape, **kept)


def train_trunk(
    loader: DataLoader[Batch],
    held_out: DataLoader[Batch],
    out: str | Path,
    *,
    epochs: int = 4,
    rate: float = 2e-3,
    start: str | Path | None = None,
) -> float:
    """Train a trunk on images, whose labels do not matter, and keep it.

    Args:
        loader: batches of images B×3×H×W in 0–1, in another order and view each epoch.
        held_out: the same, always alike.
        out: the checkpoint, which `load_trunk` reads.
        epochs: at least 1; the rate rises and falls once over all of them.
        rate: of AdamW, at its highest.
        start: a checkpoint of this function to go on with.

    Returns:
        The mean squared error on images that were held out, of targets with variance 1.

    Raises:
        CheckpointError: `start` is no trunk.
    """
    model = HistogramNet()
    if start is not None:
        load_model(model, start)
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=1e-4, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, epochs * len(loader), pct_start=0.1
    )
    for epoch in range(epochs):
        loader.dataset.set_epoch(epoch)  # type: ignore[attr-defined]
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        model.train()
        for batch, _ in _filled(loader):
            optimizer.zero_grad(set_to_none=True)
            model.error(batch).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        error = _judged(model, held_out)
        print(f"epoch {epoch + 1}/{epochs}: error {error:.4f}", flush=True)  # noqa: T201
    files = files_of(loader, held_out)
    save(Path(out), {"model": model.state_dict(), "error": error, "files": files})
    return error


class HistogramNet(nn.Module):
    """The trunk, and one layer that reads the histograms off its map."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone(pretrained=False, frozen_stages=0, output_stride=32)
        del self.backbone.layer3, self.backbone.layer4
        for part in self.backbone.modules():
            if hasattr(part, "bn3"):  # blocks begin as identities (Goyal et al. 2017)
                nn.init.zeros_(part.bn3.weight)  # type: ignore[union-attr, arg-type]
        self.read = nn.Conv2d(512, TARGETS, kernel_size=1)
        self.norm = nn.BatchNorm2d(TARGETS, affine=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map B×3×H×W in 0–1 to standardised targets, B×11×H/8×W/8."""
        trunk = self.backbone
        features = trunk.layer2(trunk.layer1(trunk.stem(trunk.centred(images))))
        return self.read(features)  # type: ignore[no-any-return]

    def error(self, images: Tensor) -> Tensor:
        """Return the mean squared error of a batch, a scalar."""
        images = images.contiguous(memory_format=torch.channels_last)
        return functional.mse_loss(self(images), self.norm(histograms(images[:, :1])))


def histograms(image: Tensor) -> Tensor:
    """Return what each cell of 8×8 pixels looks like: B×1×H×W → B×11×H/8×W/8.

    Nine square roots of summed gradients, by the direction of the slope modulo 180°, the
    logarithm of their sum, and the mean brightness.
    """
    padded = functional.pad(image, (1, 1, 1, 1), mode="replicate")
    right = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
    down = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    strength = torch.hypot(right, down)
    angle = torch.atan2(down, right).remainder(math.pi) * (BINS / math.pi)  # 0 … 9
    middles = torch.arange(BINS).to(image).view(1, -1, 1, 1) + 0.5
    away = (angle - middles).remainder(BINS)
    shares = (1 - torch.minimum(away, BINS - away)).clamp(min=0)  # of the two nearest bins
    sums = functional.avg_pool2d(shares * strength, CELL) * CELL**2  # B×9×H/8×W/8
    whole = sums.sum(1, keepdim=True)
    return torch.cat(
        [sums.clamp(min=0).sqrt(), torch.log(whole + 0.02), functional.avg_pool2d(image, CELL)], 1
    )


def _filled(loader: DataLoader[Batch]) -> Iterator[Batch]:
    """Yield the batches in which an image could be decoded: no mean is taken of nothing."""
    return (batch for batch in loader if len(batch[0]))


@torch.no_grad()
def _judged(model: HistogramNet, loader: DataLoader[Batch]) -> float:
    model.eval()
    errors = [
        (float(model.error(images)) * len(images), len(images)) for images, _ in _filled(loader)
    ]
    return sum(error for error, _ in errors) / max(1, sum(count for _, count in errors))


if __name__ == "__main__":
    main()
