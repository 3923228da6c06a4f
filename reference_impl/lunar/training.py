"""The trainer: one function that takes a model and two loaders and leaves the best model behind.

Everything of an epoch follows from the seed and the epoch's number: order, augmentation and
dropout. So a run that was stopped and resumed ends with the same bits as one that was not (on a
CPU), and a checkpoint needs no states of random generators.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    LRScheduler,
)
from torch.utils.data import DataLoader

from reference_impl.lunar import distributed
from reference_impl.lunar.checkpoints import load_model, load_state, save
from reference_impl.lunar.losses import FocalLoss, focal_loss
from reference_impl.lunar.metrics import Scores, confusion_matrix, scores_of
from reference_impl.lunar.plots import plot_confusion, plot_history

__all__ = ["FocalLoss", "Options", "evaluate", "focal_loss", "load_model", "train_model"]
log = logging.getLogger(__name__)

T_MAX = 10
Schedule = Literal["cosine10", "cosine", "warm_restarts", "constant"]
Amp = Literal["auto", "off", "bf16", "fp16"]
Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What goes beyond the prompts; the defaults are the article's values."""

    schedule: Schedule = "cosine10"
    """cosine10 is CosineAnnealingLR with T_max = 10: over more epochs a wave, whose rate is 0 at
    epoch 10 and back at its start at epoch 20. cosine falls once over all epochs."""
    amp: Amp = "auto"
    """Mixed precision: auto takes it where the hardware computes faster in it."""
    micro_batches: int = 1
    """Parts that a batch is computed in, to save memory; the step stays the same."""
    class_weights: bool = False
    """Weigh classes by the inverse of their frequency."""
    compile: bool = False
    """torch.compile: starts a minute later, and gains little on a CPU."""
    resume: bool = False
    """Go on from `last.pth` in the folder, if there is one."""
    seed: int = 42


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
    *,
    options: Options | None = None,
    report: Report | None = None,
) -> dict[str, Any]:
    """Train, and keep the model with the best macro-F1 on the validation images.

    Writes `best.pth`, `last.pth`, `history.png` and `confusion.png` into `save_dir`; in a group
    of processes only the first one writes. The model ends with its best weights.

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
        options: see `Options`.
        report: called with the record of each epoch.

    Returns:
        best_f1, best_epoch, total_time (seconds, of all sessions), history (a record per epoch:
        epoch, train_loss, val_loss, accuracy, precision, recall, f1, lr, seconds), confusion
        (of the best epoch), per_class (precision, recall and F1 of each class).

    Raises:
        ValueError: an argument is out of range, or no parameter can be trained.
        CheckpointError: there is nothing to resume, or it is of another model.
    """
    options = options or Options()
    if num_epochs < 1 or patience < 1 or options.micro_batches < 1:
        raise ValueError("num_epochs, patience and micro_batches must be at least 1")
    run = _Run(model, train_loader, num_epochs, learning_rate, weight_decay, gamma, options)
    folder = Path(save_dir)
    state = _State()
    if options.resume and (folder / "last.pth").exists():
        state = run.restore(folder / "last.pth")
    for epoch in range(len(state.history), num_epochs):
        if state.stale >= patience:
            break
        begin = time.monotonic()
        run.begin_epoch(epoch)
        rate = run.optimizer.param_groups[0]["lr"]
        train_loss = run.train_epoch()
        val_loss, confusion = run.evaluate(val_loader)
        run.scheduler.step()
        record = _record(epoch, train_loss, val_loss, scores_of(confusion), rate)
        record["seconds"] = round(time.monotonic() - begin, 3)
        better = distributed.agreed(state.add(record, confusion))
        run.save(folder, state, better=better)
        log.info("%s", record)
        if report is not None and distributed.is_main():
            report(record)
        if distributed.agreed(state.stale >= patience):
            log.info("no better F1 for %d epochs: training stops", patience)
            break
    if distributed.is_main():
        plot_history(state.history, folder / "history.png")
        plot_confusion(state.confusion, _class_names(val_loader), folder / "confusion.png")
    distributed.barrier()
    load_model(model, folder / "best.pth", run.device)
    return state.result()


@torch.no_grad()
def evaluate(
    model: nn.Module,
    loader: DataLoader[Any],
    device: torch.device,
    classes: int,
    gamma: float = 2.0,
) -> tuple[float, Tensor]:
    """Return the mean focal loss and the confusion matrix, over all processes."""
    model.eval()
    confusion = torch.zeros(classes, classes, dtype=torch.int64, device=device)
    summed = torch.zeros((), dtype=torch.float64, device=device)
    for batch in loader:
        images, labels = _moved(batch, device)
        if len(labels):
            logits = model(images)
            summed += focal_loss(logits, labels, gamma).double() * len(labels)
            confusion += confusion_matrix(labels, logits.argmax(1), classes)
    distributed.total(confusion)
    distributed.total(summed)
    return float(summed / confusion.sum().clamp(min=1)), confusion.cpu()


@dataclass(slots=True)
class _State:
    """What a run has brought so far: all of it goes into the checkpoint."""

    history: list[dict[str, Any]]
    confusion: Tensor
    best_f1: float = -1.0
    best_epoch: int = -1
    stale: int = 0

    def __init__(self) -> None:
        self.history, self.confusion = [], torch.zeros(2, 2, dtype=torch.int64)
        self.best_f1, self.best_epoch, self.stale = -1.0, -1, 0

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


class _Run:
    """A model with everything that moves it."""

    def __init__(
        self,
        model: nn.Module,
        loader: DataLoader[Any],
        epochs: int,
        rate: float,
        decay: float,
        gamma: float,
        options: Options,
    ) -> None:
        self.device = torch.device(
            f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else "cpu"
        )
        self.options, self.loader, self.gamma = options, loader, gamma
        self.bare = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        parameters = [each for each in model.parameters() if each.requires_grad]
        if not parameters:
            raise ValueError("no parameter of the model requires a gradient")
        self.optimizer: Optimizer = AdamW(
            parameters, lr=rate, weight_decay=decay, fused=_can_fuse(parameters)
        )
        self.scheduler = _scheduler(self.optimizer, options.schedule, epochs)
        self.model = distributed.wrap(self.bare)
        if options.compile:
            self.model = torch.compile(self.model)  # type: ignore[assignment]
        self.dtype = amp_dtype(options.amp, self.device)
        # Gradients of float16 vanish below 6e-8; bfloat16 has the range of float32.
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype is torch.float16)
        self.classes = len(_class_names(loader)) or _outputs(model)
        weights = _class_weights(loader, self.classes) if options.class_weights else None
        self.loss = FocalLoss(gamma, weights).to(self.device)

    def begin_epoch(self, epoch: int) -> None:
        """Make everything random follow from the seed and the epoch."""
        torch.manual_seed(self.options.seed + 1000 * epoch + distributed.rank())
        for part in (self.loader.dataset, self.loader.sampler):
            if hasattr(part, "set_epoch"):
                part.set_epoch(epoch)
        if isinstance(self.loader.generator, torch.Generator):
            self.loader.generator.manual_seed(self.options.seed + epoch)

    def train_epoch(self) -> float:
        """Take one step per batch; return the mean loss over all images and processes."""
        self.model.train()
        sums = torch.zeros(2, dtype=torch.float64, device=self.device)  # loss, images
        for batch in self.loader:
            images, labels = _moved(batch, self.device)
            if len(labels) < 2:  # no batch statistics
                continue
            loss = self._step(images, labels)
            sums += torch.tensor([loss * len(labels), len(labels)], device=self.device).double()
        summed, count = distributed.total(sums).tolist()
        if not count or not math.isfinite(summed):
            what = "no batch of at least two images came" if not count else "the loss is not finite"
            raise ValueError(f"{what}; look at the data, or lower the learning rate")
        return float(summed / count)

    def evaluate(self, loader: DataLoader[Any]) -> tuple[float, Tensor]:
        """Return the mean loss and the confusion matrix of the validation images."""
        with self._autocast():
            return evaluate(self.bare, loader, self.device, self.classes, self.gamma)

    def save(self, folder: Path, state: _State, *, better: bool) -> None:
        """Write last.pth, and best.pth if this is the best epoch; whole or not at all."""
        if not distributed.is_main():
            return
        model = self.bare.state_dict()
        if better:
            classes = list(_class_names(self.loader))
            save(folder / "best.pth", {"model": model, "classes": classes, "f1": state.best_f1})
        save(
            folder / "last.pth",
            {
                "model": model,
                "optimizer": self.optimizer.state_dict(),
                "scheduler": self.scheduler.state_dict(),
                "scaler": self.scaler.state_dict(),
                "history": state.history,
                "confusion": state.confusion,
                "best": [state.best_f1, state.best_epoch, state.stale],
            },
        )

    def restore(self, path: Path) -> _State:
        """Go on where a checkpoint was written."""
        found = load_state(path, self.device)
        load_model(self.bare, path, self.device)
        self.optimizer.load_state_dict(found["optimizer"])
        self.scheduler.load_state_dict(found["scheduler"])
        self.scaler.load_state_dict(found["scaler"])
        state = _State()
        state.history, state.confusion = found["history"], found["confusion"].cpu()
        state.best_f1, state.best_epoch, state.stale = found["best"]
        return state

    def _step(self, images: Tensor, labels: Tensor) -> float:
        """Change the weights once; the parts of the batch add up to its gradient."""
        self.optimizer.zero_grad(set_to_none=True)
        whole = 0.0
        for part, truth in zip(
            images.chunk(self.options.micro_batches),
            labels.chunk(self.options.micro_batches),
            strict=True,
        ):
            with self._autocast():
                logits = self.model(part)
            loss = self.loss(logits, truth) * (len(truth) / len(labels))
            self.scaler.scale(loss).backward()
            whole += float(loss.detach())
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return whole

    @contextlib.contextmanager
    def _autocast(self) -> Iterator[None]:
        enabled = self.dtype is not torch.float32
        with torch.autocast(self.device.type, self.dtype, enabled=enabled):
            yield


def amp_dtype(amp: Amp, device: torch.device) -> torch.dtype:
    """Return the type to compute in: float32 where nothing else is faster."""
    if amp == "off":
        return torch.float32
    if amp == "fp16":
        return torch.float16
    if amp == "bf16":
        return torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if fast else torch.float32  # emulated, bfloat16 is slower


def _scheduler(optimizer: Optimizer, name: Schedule, epochs: int) -> LRScheduler:
    if name == "cosine10":
        return CosineAnnealingLR(optimizer, T_max=T_MAX)
    if name == "cosine":
        return CosineAnnealingLR(optimizer, T_max=epochs)
    if name == "warm_restarts":
        return CosineAnnealingWarmRestarts(optimizer, T_0=T_MAX)
    return ConstantLR(optimizer, factor=1.0, total_iters=1)


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


def _moved(batch: Any, device: torch.device) -> tuple[Tensor, Tensor]:
    images, labels = batch
    images = images.to(device, non_blocking=True, memory_format=torch.channels_last)
    return images, labels.to(device, non_blocking=True)


def _class_names(loader: DataLoader[Any]) -> tuple[str, ...]:
    return tuple(getattr(loader.dataset, "classes", ()))


def _outputs(model: nn.Module) -> int:
    return [each for each in model.modules() if isinstance(each, nn.Linear)][-1].out_features


def _class_weights(loader: DataLoader[Any], classes: int) -> Tensor:
    """Return weights whose mean over the images is 1."""
    labels = torch.as_tensor(loader.dataset.labels)  # type: ignore[attr-defined]
    counts = torch.bincount(labels, minlength=classes).clamp(min=1).double()
    return (counts.sum() / (classes * counts)).float()


def _can_fuse(parameters: list[nn.Parameter]) -> bool:
    return all(each.is_floating_point() for each in parameters)
