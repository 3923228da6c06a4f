"""The trainer: one function that takes a model and two loaders and leaves the best model behind.

Everything of an epoch follows from the seed and the epoch's number: order, augmentation and
dropout. So a run that was stopped and resumed ends with the same bits as one that was not (on a
CPU), and a checkpoint needs no states of random generators.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from reference_impl.lunar import distributed
from reference_impl.lunar.checkpoints import (
    CheckpointError,
    load_model,
    load_state,
    load_weights,
    save,
)
from reference_impl.lunar.engine import Amp, Engine, Options, class_names, evaluate
from reference_impl.lunar.losses import FocalLoss, focal_loss
from reference_impl.lunar.metrics import Scores, scores_of
from reference_impl.lunar.plots import plot_confusion, plot_history
from reference_impl.lunar.preprocessing import files_of
from reference_impl.lunar.utils import save_history

__all__ = ["FocalLoss", "Options", "evaluate", "focal_loss", "load_model", "train_model"]
log = logging.getLogger(__name__)

Report = Callable[[dict[str, Any]], None]
Watch = Callable[[DataLoader[Any], int], Iterable[Any]]


def train_model(
    model: nn.Module,
    train_loader: DataLoader[Any],
    val_loader: DataLoader[Any],
    num_epochs: int,
    learning_rate: float = 1e-4,
    weight_decay: float = 1e-5,
    gamma: float = 2.0,
    patience: int = 7,
    save_dir: str | Path = "checkpoints",
    use_amp: bool | None = None,
    accumulation_steps: int | None = None,
    *,
    options: Options | None = None,
    report: Report | None = None,
    watch: Watch | None = None,
    ready: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Train, and keep the model with the best macro-F1 on the validation images.

    Writes `best.pth`, `last.pth` and `history.csv` into `save_dir` after each epoch, `history.png`
    and `confusion.png` at the end; in a group of processes only the first one writes. The model
    ends with its best weights.

    Args:
        model: maps B×3×H×W to logits B×classes; only parameters that require gradients change.
        train_loader: batches of (float32 B×3×H×W in 0–1, int64 B).
        val_loader: the same; each process sees its share of it.
        num_epochs: at most so many.
        learning_rate: of AdamW, at the start of the schedule.
        weight_decay: of AdamW.
        gamma: of the focal loss.
        patience: epochs without a better F1 after which training stops.
        save_dir: made if need be.
        use_amp: mixed precision, whether it is faster here or not; None leaves it to `options`.
        accumulation_steps: parts that a batch is computed in; None leaves it to `options`.
        options: see `Options`.
        report: called with the record of each epoch.
        watch: called with the loader and the number of each epoch, from 1 on; hands the batches on.
        ready: called once before the first epoch, when what is to be resumed was accepted.

    Returns:
        best_f1, best_epoch, total_time (seconds, of all sessions), history (a record per epoch:
        epoch, train_loss, val_loss, accuracy, precision, recall, f1, lr, seconds), confusion
        (of the best epoch), per_class (precision, recall and F1 of each class).

    Raises:
        ValueError: an argument is out of range, or no parameter can be trained.
        CheckpointError: what is to be resumed is damaged, or began with another model, other data
            or other settings. Where there is nothing to resume, training begins.
    """
    options = _asked(options or Options(), use_amp, accumulation_steps)
    if num_epochs < 1 or patience < 1 or options.accumulation_steps < 1:
        raise ValueError("num_epochs, patience and accumulation_steps must be at least 1")
    engine = Engine(model, train_loader, num_epochs, learning_rate, weight_decay, gamma, options)
    folder = Path(save_dir)
    state = _restore(engine, val_loader, folder / "last.pth") if options.resume else _State()
    if ready is not None:
        ready()
    for epoch in range(len(state.history), num_epochs):
        if distributed.agreed(state.stale >= patience):
            log.info("no better F1 for %d epochs: training stops", patience)
            break
        begin = time.monotonic()
        engine.begin_epoch(epoch)
        rate = engine.optimizer.param_groups[0]["lr"]
        train_loss = engine.train_epoch(watch(train_loader, epoch + 1) if watch else None)
        val_loss, confusion = engine.evaluate(val_loader)
        engine.scheduler.step()
        record = _record(epoch, train_loss, val_loss, scores_of(confusion), rate)
        record["seconds"] = round(time.monotonic() - begin, 3)
        better = distributed.agreed(state.add(record, confusion))
        _save(engine, val_loader, folder, state, better=better)
        log.info("%s", record)
        if report is not None and distributed.is_main():
            report(record)
    if distributed.is_main():
        plot_history(state.history, folder / "history.png")
        plot_confusion(state.confusion, class_names(val_loader), folder / "confusion.png")
    best = distributed.from_main(lambda: load_state(folder / "best.pth"))
    load_weights(model, best, folder / "best.pth")
    model.eval()
    return state.result()


def _asked(options: Options, use_amp: bool | None, accumulation_steps: int | None) -> Options:
    """Return the options with what the arguments of the queue's interface say."""
    if use_amp is not None:
        mixed: Amp = "auto" if torch.cuda.is_available() else "bf16"
        options = replace(options, amp=mixed if use_amp else "off")
    if accumulation_steps is not None:
        options = replace(options, accumulation_steps=accumulation_steps)
    return options


@dataclass(slots=True)
class _State:
    """What a run has brought so far: all of it goes into the checkpoint."""

    history: list[dict[str, Any]] = field(default_factory=list)
    confusion: Tensor = field(default_factory=lambda: torch.zeros(2, 2, dtype=torch.int64))
    """Of the best epoch."""
    best_f1: float = -1.0
    best_epoch: int = -1
    stale: int = 0
    """Epochs since."""

    def add(self, record: dict[str, Any], confusion: Tensor) -> bool:
        """Take note of an epoch; tell whether it is the best."""
        self.history.append(record)
        better = record["f1"] > self.best_f1
        if better:
            self.best_f1, self.best_epoch = record["f1"], record["epoch"]
            self.confusion, self.stale = confusion, 0
        else:
            self.stale += 1
        return bool(better)

    def result(self) -> dict[str, Any]:
        scores = scores_of(self.confusion)
        return {
            "best_f1": self.best_f1,
            "best_epoch": self.best_epoch,
            "total_time": sum(record["seconds"] for record in self.history),
            "history": self.history,
            "confusion": self.confusion.tolist(),
            "per_class": scores.per_class,
        }


def _record(
    epoch: int, train_loss: float, val_loss: float, scores: Scores, rate: float
) -> dict[str, Any]:
    return {
        "epoch": epoch + 1,
        "train_loss": train_loss,
        "val_loss": val_loss,
        "accuracy": scores.accuracy,
        "precision": scores.precision,
        "recall": scores.recall,
        "f1": scores.f1,
        "lr": rate,
    }


def _save(
    engine: Engine, val_loader: DataLoader[Any], folder: Path, state: _State, *, better: bool
) -> None:
    """Write what an epoch has brought, and best.pth if it is the best; whole or not at all."""
    if not distributed.is_main():
        return
    model = engine.bare.state_dict()
    if better:
        best = {
            "model": engine.judged.state_dict(),
            "classes": list(class_names(engine.loader)),
            "f1": state.best_f1,
            "settings": dict(engine.options.settings),
        }
        save(folder / "best.pth", best)
    save(
        folder / "last.pth",
        {
            "model": model,
            "mean": engine.mean.state_dict() if engine.mean is not None else {},
            "optimizer": engine.optimizer.state_dict(),
            "scheduler": engine.scheduler.state_dict(),
            "scaler": engine.scaler.state_dict(),
            "history": state.history,
            "confusion": state.confusion,
            "best": [state.best_f1, state.best_epoch, state.stale],
            "fingerprint": _fingerprint(engine, val_loader),
        },
    )
    save_history(state.history, folder / "history.csv")


def _settings(optimizer: Mapping[str, Any], scheduler: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint would put in the place of what was asked for."""
    group = optimizer["param_groups"][0]
    names = {"T_max": "the epochs of a cosine", "T_0": "epochs between restarts"}
    lengths = {told: scheduler[name] for name, told in names.items() if name in scheduler}
    return {"lr": group["initial_lr"], "weight_decay": group["weight_decay"], **lengths}


_JUDGING = frozenset({"mirror_views"})
"""Settings that change how a model is judged at the end, and not how it is trained."""


def _fingerprint(engine: Engine, val_loader: DataLoader[Any]) -> dict[str, Any]:
    """Return what stays the same in all epochs: above all, no image changes sides between them."""
    options = engine.options
    return {
        "classes": list(class_names(engine.loader)),
        **files_of(engine.loader, val_loader),
        "batch_size": engine.loader.batch_size,
        "seed": options.seed,
        "gamma": engine.gamma,
        "average": options.average,
        "accumulation_steps": options.accumulation_steps,
        "class_weights": options.class_weights,
        "amp": str(engine.dtype).removeprefix("torch."),  # auto is another one on other hardware
        "processes": distributed.world(),
        **{name: value for name, value in options.settings.items() if name not in _JUDGING},
    }


def _restore(engine: Engine, val_loader: DataLoader[Any], path: Path) -> _State:
    """Go on where the main process has written a checkpoint, if it has."""
    found = distributed.from_main(lambda: load_state(path) if path.exists() else {})
    if not found:
        return _State()
    fingerprint = _fingerprint(engine, val_loader)
    if "fingerprint" not in found:
        log.warning(
            "%s is of an older version and does not say what it was trained with: its scores are "
            "right only if data, fold and seed are the same now",
            path,
        )
    asked = _settings(engine.optimizer.state_dict(), engine.scheduler.state_dict()) | fingerprint
    began = _settings(found["optimizer"], found["scheduler"])
    began |= {**fingerprint, **found.get("fingerprint", {})}  # older versions kept less
    other = [
        f"{name} {began.get(name)}, not {asked.get(name)}"
        for name in {**asked, **began}
        if began.get(name) != asked.get(name)
    ]
    if other:
        raise CheckpointError(
            f"{path} was trained with {'; '.join(other)}: give what it began with, or train anew "
            "in another folder"
        )
    load_weights(engine.bare, found, path)
    if engine.mean is not None and found.get("mean"):
        engine.mean.load_state_dict(found["mean"])
    engine.optimizer.load_state_dict(found["optimizer"])
    engine.scheduler.load_state_dict(found["scheduler"])
    engine.scaler.load_state_dict(found["scaler"])
    state = _State()
    state.history, state.confusion = found["history"], found["confusion"]
    state.best_f1, state.best_epoch, state.stale = found["best"]
    return state
