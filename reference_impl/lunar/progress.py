"""What a training shows: a bar within each epoch and a table of epochs, or plain lines in a log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.data import DataLoader

_HEAD = "  epoch train loss  val loss  accuracy  precision  recall  macro-F1  lr           time"


class Progressing:
    """Shows how far a training is; in a terminal a bar comes and goes with each epoch."""

    def __init__(self, epochs: int, console: Console | None = None) -> None:
        self._epochs, self._headed = epochs, False
        self._console = console or Console(highlight=False)

    def batches(self, loader: DataLoader[Any], epoch: int) -> Iterator[Any]:
        """Yield the batches of an epoch (from 1 on), and show how many have been taken."""
        if not self._console.is_terminal:
            yield from loader
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(
            *columns, TimeRemainingColumn(), console=self._console, transient=True
        ) as shown:
            yield from shown.track(loader, description=f"epoch {epoch}/{self._epochs}")

    def __call__(self, record: dict[str, Any]) -> None:
        """Show the record of an epoch."""
        if not self._console.is_terminal:
            self._console.out(_plain(record, self._epochs), highlight=False)
            return
        if not self._headed:
            self._headed = True
            self._console.out(_HEAD, highlight=False)
        self._console.out(_row(record, self._epochs), highlight=False)


def _row(record: dict[str, Any], epochs: int) -> str:
    return (
        f"{record['epoch']:3}/{epochs:<3} {record['train_loss']:10.4f} "
        f"{record['val_loss']:9.4f} {record['accuracy']:9.3f} {record['precision']:10.3f} "
        f"{record['recall']:7.3f} {record['f1']:9.3f}  {record['lr']:.2e} "
        f"{record['seconds']:6.1f} s"
    )


def _plain(record: dict[str, Any], epochs: int) -> str:
    """Return a line that needs no head: a log is searched, not looked at."""
    losses = f"train loss {record['train_loss']:.4f}, val loss {record['val_loss']:.4f}"
    names = ("accuracy", "precision", "recall")
    scores = ", ".join(f"{name} {record[name]:.3f}" for name in names)
    return (
        f"epoch {record['epoch']}/{epochs}: {losses}, {scores}, macro-F1 {record['f1']:.3f}, "
        f"lr {record['lr']:.2e}, {record['seconds']:.1f} s"
    )
