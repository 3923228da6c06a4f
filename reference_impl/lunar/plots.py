"""Pictures of a training, drawn without a display."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

_CURVES = (
    ("loss", {"train_loss": "training", "val_loss": "validation"}),
    ("accuracy", {"accuracy": "validation"}),
    ("precision and recall", {"precision": "precision", "recall": "recall"}),
    ("F1", {"f1": "macro F1"}),
    ("learning rate", {"lr": "learning rate"}),
)


def plot_history(history: Sequence[dict[str, Any]], path: str | Path) -> None:
    """Draw loss, accuracy, precision and recall, F1 and learning rate over the epochs."""
    figure = Figure(figsize=(15, 8), layout="constrained")
    epochs = [record["epoch"] for record in history]
    for place, (title, curves) in enumerate(_CURVES, 1):
        axes = figure.add_subplot(2, 3, place)
        for key, label in curves.items():
            axes.plot(epochs, [record[key] for record in history], marker="o", label=label)
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
        axes.legend()
    _save(figure, path)


def plot_confusion(confusion: Tensor, classes: Sequence[str], path: str | Path) -> None:
    """Draw a confusion matrix: counts, coloured by the share of the true class."""
    counts = confusion.cpu().numpy()
    names = list(classes) or [str(number) for number in range(len(counts))]
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    figure = Figure(figsize=(6.5, 5.5), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=colour)
    axes.set(
        xticks=range(len(names)),
        yticks=range(len(names)),
        xticklabels=names,
        yticklabels=names,
        xlabel="predicted",
        ylabel="true",
    )
    figure.colorbar(image, label="share of the true class")
    _save(figure, path)


def plot_images(
    images: Sequence[NDArray[np.float32]], titles: Sequence[str], path: str | Path, columns: int = 5
) -> None:
    """Draw a sheet of gray images (H×W in 0–1), each with a title."""
    rows = max(1, -(-len(images) // columns))
    figure = Figure(figsize=(2.4 * columns, 2.7 * rows), layout="constrained")
    for place, (image, title) in enumerate(zip(images, titles, strict=True), 1):
        axes = figure.add_subplot(rows, columns, place)
        axes.imshow(image, cmap="gray", vmin=0, vmax=1)
        axes.set_title(title, fontsize=8)
        axes.axis("off")
    _save(figure, path)


def _save(figure: Figure, path: str | Path) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    figure.savefig(path, format="png")
