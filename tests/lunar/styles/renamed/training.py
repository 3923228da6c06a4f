"""The trainer: loss, scores, the loop over epochs, curves and checkpoints."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402  (the backend comes first)

_LOG = logging.getLogger(__name__)
CHECKPOINT = "best_model.pth"
PICTURE = "training_history.png"


class FocalCriterion(nn.Module):
    """Cross-entropy that pays less heed to what is classified well already."""

    def __init__(self, gamma: float = 2.0) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        ce = F.cross_entropy(logits, labels, reduction="none")
        # 1 - exp(-ce), exact for small ce as well.
        modulation = torch.pow(-torch.expm1(-ce), self.gamma)
        return torch.mean(modulation * ce)


@dataclass(frozen=True)
class Scores:
    """What a set of predictions is worth; the class scores are means over all classes."""

    accuracy: float
    precision: float
    recall: float
    f1: float


def macro_scores(labels: Tensor, predictions: Tensor, num_classes: int) -> Scores:
    """Compare int64 predictions (N,) with labels (N,)."""
    truth = F.one_hot(labels, num_classes).double()
    guess = F.one_hot(predictions, num_classes).double()
    hits, guessed, actual = (truth * guess).sum(0), guess.sum(0), truth.sum(0)
    # 0/0 is nan, and nan counts as 0.
    precision = (hits / guessed).nan_to_num(0.0)
    recall = (hits / actual).nan_to_num(0.0)
    f1 = (2 * hits / (guessed + actual)).nan_to_num(0.0)
    accuracy = hits.sum() / max(len(labels), 1)
    return Scores(*(value.mean().item() for value in (accuracy, precision, recall, f1)))


@dataclass(frozen=True)
class EpochRecord:
    """One line of the history."""

    epoch: int
    train_loss: float
    val_loss: float
    accuracy: float
    precision: float
    recall: float
    f1: float
    lr: float

    def __str__(self) -> str:
        return (
            f"epoch {self.epoch}: loss {self.train_loss:.4f}/{self.val_loss:.4f}, "
            f"accuracy {self.accuracy:.3f}, precision {self.precision:.3f}, "
            f"recall {self.recall:.3f}, F1 {self.f1:.3f}, lr {self.lr:.2e}"
        )


@dataclass(frozen=True)
class TrainerOptions:
    """How to train; the defaults are those of train_model."""

    num_epochs: int
    learning_rate: float = 1e-4
    weight_decay: float = 1e-5
    gamma: float = 2.0
    patience: int = 7
    save_dir: Path = Path("checkpoints")
    use_amp: bool = False
    accumulation_steps: int = 1


@dataclass
class Patience:
    """Remembers the best score and how long ago it was reached."""

    limit: int
    best: float = -1.0
    waited: int = 0

    def improved(self, score: float) -> bool:
        """Take note of the score of one more epoch."""
        if score > self.best:
            self.best, self.waited = score, 0
            return True
        self.waited += 1
        return False

    @property
    def exhausted(self) -> bool:
        return self.waited >= self.limit


@dataclass
class Trainer:
    """Trains one model; made anew for every training."""

    model: nn.Module
    options: TrainerOptions
    device: torch.device = field(
        default_factory=lambda: torch.device("cuda" if torch.cuda.is_available() else "cpu")
    )
    history: list[EpochRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.model.to(self.device)
        self.criterion = FocalCriterion(self.options.gamma).to(self.device)
        self.optimizer = AdamW(
            [weight for weight in self.model.parameters() if weight.requires_grad],
            lr=self.options.learning_rate,
            weight_decay=self.options.weight_decay,
        )
        self.scheduler = CosineAnnealingLR(self.optimizer, T_max=10)
        on_gpu = self.device.type == "cuda"
        self.scaler = torch.amp.GradScaler("cuda", enabled=on_gpu and self.options.use_amp)
        self.low_precision = torch.float16 if on_gpu else torch.bfloat16
        self.stopper = Patience(self.options.patience)

    def fit(self, train_loader: DataLoader, val_loader: DataLoader) -> dict[str, Any]:
        """Run the epochs and return the result of train_model."""
        started = time.monotonic()
        self.options.save_dir.mkdir(parents=True, exist_ok=True)
        while len(self.history) < self.options.num_epochs and not self.stopper.exhausted:
            self._run_epoch(train_loader, val_loader)
        if self.stopper.exhausted:
            _LOG.info("stopped early: no better F1 for %d epochs", self.stopper.waited)
        records = [asdict(record) for record in self.history]
        draw_curves(records, self.options.save_dir / PICTURE)
        return {
            "best_f1": self.stopper.best,
            "total_time": time.monotonic() - started,
            "history": records,
        }

    def _run_epoch(self, train_loader: DataLoader, val_loader: DataLoader) -> None:
        lr = self.optimizer.param_groups[0]["lr"]
        self.model.train()
        losses = [self._learn(*self._on_device(batch)) for batch in train_loader]
        val_loss, scores = self._examine(val_loader)
        record = EpochRecord(
            epoch=len(self.history) + 1,
            train_loss=_mean(losses),
            val_loss=val_loss,
            lr=lr,
            **asdict(scores),
        )
        self.history.append(record)
        _LOG.info("%s", record)
        self.scheduler.step()
        if self.stopper.improved(record.f1):
            self._save(record)

    def _on_device(self, batch: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        images, labels = batch
        return (
            images.to(self.device, non_blocking=True),
            labels.to(self.device, non_blocking=True),
        )

    def _mixed_precision(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, dtype=self.low_precision, enabled=self.options.use_amp
        )

    def _learn(self, images: Tensor, labels: Tensor) -> float:
        """Take one optimiser step; only one slice's activations are in memory at a time."""
        self.optimizer.zero_grad(set_to_none=True)
        batch_loss = 0.0
        slices = zip(
            images.chunk(self.options.accumulation_steps),
            labels.chunk(self.options.accumulation_steps),
            strict=True,
        )
        for some_images, some_labels in slices:
            with self._mixed_precision():
                logits = self.model(some_images).float()
                # Slices may differ in length: each counts by its share of the batch.
                loss = self.criterion(logits, some_labels) * (len(some_images) / len(images))
            self.scaler.scale(loss).backward()
            batch_loss += loss.item()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return batch_loss

    @torch.no_grad()
    def _examine(self, loader: DataLoader) -> tuple[float, Scores]:
        self.model.eval()
        losses: list[float] = []
        guesses: list[Tensor] = []
        truths: list[Tensor] = []
        classes = 0
        for batch in loader:
            images, labels = self._on_device(batch)
            with self._mixed_precision():
                logits = self.model(images).float()
                losses.append(self.criterion(logits, labels).item())
            classes = logits.shape[1]
            guesses.append(logits.argmax(dim=1))
            truths.append(labels)
        if not losses:
            raise ValueError("the validation loader is empty: there is nothing to select by")
        return _mean(losses), macro_scores(torch.cat(truths), torch.cat(guesses), classes)

    def _save(self, record: EpochRecord) -> None:
        torch.save(
            {"model": self.model.state_dict(), "epoch": record.epoch, "f1": record.f1},
            self.options.save_dir / CHECKPOINT,
        )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


@dataclass(frozen=True)
class Panel:
    """One diagram of the training history."""

    title: str
    keys: tuple[str, ...]


PANELS = (
    Panel("Loss", ("train_loss", "val_loss")),
    Panel("Accuracy", ("accuracy",)),
    Panel("Precision and recall", ("precision", "recall")),
    Panel("F1", ("f1",)),
    Panel("Learning rate", ("lr",)),
)


def draw_curves(history: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw all panels into one picture, and the scores into pictures of their own beside it."""
    figure, axes = pyplot.subplots(1, len(PANELS), figsize=(4 * len(PANELS), 3))
    for panel, place in zip(PANELS, axes, strict=True):
        _draw_panel(panel, history, place)
    _finish(figure, path)
    for panel in PANELS[1:-1]:
        figure, place = pyplot.subplots(figsize=(4, 3))
        _draw_panel(panel, history, place)
        _finish(figure, path.with_name(f"curve_{'_'.join(panel.keys)}.png"))


def _draw_panel(panel: Panel, history: Sequence[dict[str, Any]], place: Any) -> None:
    for key in panel.keys:
        points = [(record["epoch"], record[key]) for record in history]
        place.plot(*zip(*points, strict=True), label=key) if points else None
    place.set(title=panel.title, xlabel="epoch")
    if history:
        place.legend()


def _finish(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


def train_model(
    model: nn.Module,
    train_loader: DataLoader,
    val_loader: DataLoader,
    num_epochs: int,
    learning_rate: float = 1e-4,
    weight_decay: float = 1e-5,
    gamma: float = 2.0,
    patience: int = 7,
    save_dir: str | Path = "checkpoints",
    use_amp: bool = False,
    accumulation_steps: int = 1,
) -> dict[str, Any]:
    """Train, keep the best checkpoint below save_dir, and tell how it went."""
    options = TrainerOptions(
        num_epochs=num_epochs,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        gamma=gamma,
        patience=patience,
        save_dir=Path(save_dir),
        use_amp=use_amp,
        accumulation_steps=accumulation_steps,
    )
    return Trainer(model, options).fit(train_loader, val_loader)


def load_model(
    model: nn.Module, path: str | Path, device: str | torch.device
) -> nn.Module:
    """Give the model the weights of a checkpoint, on that device and ready to predict."""
    checkpoint = torch.load(path, map_location=device, weights_only=True)
    model.load_state_dict(checkpoint.get("model", checkpoint))
    return model.to(device).eval()
