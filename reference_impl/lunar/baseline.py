"""What a network has to beat: histograms of gradients and a linear classifier, in a minute.

`python -m reference_impl.lunar.baseline --manifest windows.csv` trains on all folds but one, judges
on that one, and does so for each fold; the mirrored windows train as well (after Dalal and Triggs
2005). There is no epoch to choose, so nothing is held out.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from reference_impl.lunar.averaging import FLIPS
from reference_impl.lunar.index import DataError, load_index
from reference_impl.lunar.metrics import confusion_matrix, scores_of
from reference_impl.lunar.preprocessing import LunarDataset
from reference_impl.lunar.trunk import BINS, histograms
from reference_impl.lunar.utils import save_config

SIZE = 64
"""Pixels that a window is averaged down to: 1.9 km each for the real ones."""
GRIDS = (4, 8)
"""Rows and columns of cells."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m reference_impl.lunar.baseline")
    add = parser.add_argument
    add("--manifest", required=True, help="CSV or JSONL with path, label and fold")
    add("--out", default="baseline.json")
    add("--penalty", type=float, default=0.1, help="of squared weights, over all images")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    try:
        found = judge_folds(options.manifest, options.penalty)
    except DataError as error:
        sys.exit(f"error: {error}")
    result = {"mean_f1": mean(each["f1"] for each in found.values()), "folds": found}
    save_config({**result, "total_time": time.monotonic() - began}, options.out)
    told = ", ".join(f"{fold} {each['f1']:.3f}" for fold, each in found.items())
    print(f"macro-F1 {result['mean_f1']:.3f} (folds: {told}); {options.out}")  # noqa: T201


def judge_folds(manifest: str | Path, penalty: float) -> dict[str, dict[str, Any]]:
    """Return for each fold the scores and the confusion matrix of a model of the others.

    Raises:
        DataError: the manifest cannot be used, or has fewer than two folds.
    """
    index = load_index(manifest)
    folds = sorted(set(index.folds))
    if len(folds) < 2:
        raise DataError(f"{manifest} has no two folds; a column `fold` or `split` names them")
    dataset = LunarDataset(index, SIZE, training=False, gray=True)
    read = {n: item for n in range(len(dataset)) if (item := dataset[n]) is not None}
    images = torch.stack([image for image, _ in read.values()])
    labels = torch.tensor([label for _, label in read.values()])
    views = [described(images.flip(flip)) for flip in FLIPS]
    result: dict[str, dict[str, Any]] = {}
    for fold in folds:
        test = torch.tensor([index.folds[number] == fold for number in read])
        inputs = torch.cat([view[~test] for view in views])
        model = fit(inputs, labels[~test].repeat(len(FLIPS)), len(index.classes), penalty)
        guesses = model(views[0][test]).argmax(1)
        confusion = confusion_matrix(labels[test], guesses, len(index.classes))
        scores = scores_of(confusion)
        each = {name: s[2] for name, s in zip(index.classes, scores.per_class, strict=True)}
        result[fold] = {"f1": scores.f1, "per_class": each, "confusion": confusion.tolist()}
    return result


def described(images: Tensor) -> Tensor:
    """Return histograms of gradients of coarse and fine cells: B×1×64×64 → B×800."""
    sums = histograms(images)[:, :BINS].square()  # B×9×8×8
    parts = []
    for grid in GRIDS:
        cells = functional.adaptive_avg_pool2d(sums, grid)
        whole = cells.sum((1, 2, 3), keepdim=True).clamp(min=1e-9)
        parts += [(cells / whole).sqrt().flatten(1)]
        parts += [torch.log(cells.sum(1) * (SIZE / 8 / grid) ** 2 + 1e-3).flatten(1)]
    return torch.cat(parts, 1)


@dataclass(frozen=True, slots=True)
class LinearModel:
    """A softmax regression on standardised inputs."""

    mean: Tensor
    """Of each input, in training; `scale` is its deviation."""
    scale: Tensor
    weights: Tensor
    """Inputs×classes."""
    bias: Tensor

    def __call__(self, inputs: Tensor) -> Tensor:
        """Map B×inputs to logits B×classes."""
        return (inputs - self.mean) / self.scale @ self.weights + self.bias


def fit(inputs: Tensor, labels: Tensor, classes: int, penalty: float) -> LinearModel:
    """Return the model at the minimum of a convex loss: there is nothing to draw or to schedule.

    Args:
        inputs: B×inputs.
        labels: B, int64.
        classes: how many; each counts as much as the others, however many images it has.
        penalty: of the sum of squared weights, halved, beside the mean cross-entropy.
    """
    mean, scale = inputs.mean(0), inputs.std(0, correction=0).clamp(min=1e-6)
    ready = (inputs - mean) / scale
    counts = torch.bincount(labels, minlength=classes).clamp(min=1)
    balance = len(labels) / (classes * counts)
    weights = torch.zeros(ready.shape[1], classes, requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        wrong = functional.cross_entropy(ready @ weights + bias, labels, reduction="none")
        value: Tensor = (wrong * balance[labels]).mean() + penalty / 2 * weights.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return LinearModel(mean, scale, weights.detach(), bias.detach())


if __name__ == "__main__":
    main()
