"""One model in training: its optimiser, its schedule, its precision, one epoch at a time."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

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
from reference_impl.lunar.averaging import averaged
from reference_impl.lunar.losses import FocalLoss, focal_loss
from reference_impl.lunar.metrics import confusion_matrix
from reference_impl.lunar.views import training_views

T_MAX = 10
Schedule = Literal["cosine10", "cosine", "warm_restarts", "constant"]
Amp = Literal["auto", "off", "bf16", "fp16"]


@dataclass(frozen=True, slots=True)
class Options:
    """What goes beyond the prompts; the defaults are the article's values."""

    schedule: Schedule = "cosine10"
    """cosine10 is CosineAnnealingLR with T_max = 10: over more epochs a wave, whose rate is 0 at
    epoch 10 and back at its start at epoch 20. cosine falls once over all epochs."""
    amp: Amp = "auto"
    """Mixed precision: auto takes it where the hardware computes faster in it."""
    accumulation_steps: int = 1
    """Parts that a batch is computed in, to save memory; the step stays the same, but for what
    batch normalisation sees: each part has statistics of its own."""
    class_weights: bool = False
    """Weigh classes by the inverse of their frequency."""
    compile: bool = False
    """torch.compile: starts a minute later, and gains little on a CPU."""
    resume: bool = False
    """Go on from `last.pth` in the folder, if there is one."""
    seed: int = 42
    average: float = 0.0
    """Judge and keep a running mean of the weights with this decay per step; 0 does without."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """How the model was made and what it wants to see: kept in best.pth for whoever judges it, and
    compared before a training goes on."""

    def __post_init__(self) -> None:
        """Refuse names that nobody knows: they would stand for a constant rate, or for `auto`."""
        for name, known in (("schedule", get_args(Schedule)), ("amp", get_args(Amp))):
            if getattr(self, name) not in known:
                there_is = ", ".join(known)
                raise ValueError(f"there is no {name} {getattr(self, name)!r}; there is {there_is}")


class Engine:
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
        if loader.batch_size == 1:
            raise ValueError(
                "batch_size is 1, and batch normalisation needs two images at least; give 2 or "
                "more, and --accumulation_steps to compute them in parts if memory is short"
            )
        self.options, self.loader, self.gamma = options, loader, gamma
        self.bare = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        parameters = [each for each in model.parameters() if each.requires_grad]
        if not parameters:
            raise ValueError("no parameter of the model requires a gradient")
        self.optimizer: Optimizer = AdamW(parameters, lr=rate, weight_decay=decay, fused=True)
        self.scheduler = _scheduler(self.optimizer, options.schedule, epochs)
        self.mean = averaged(self.bare, options.average) if options.average else None
        self.model = distributed.wrap(self.bare)
        if options.compile:
            self.model = torch.compile(self.model)  # type: ignore[assignment]
        self.dtype = amp_dtype(options.amp, self.device)
        # Gradients of float16 vanish below 6e-8; bfloat16 has the range of float32.
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype is torch.float16)
        self.classes = len(class_names(loader)) or _outputs(model)
        weights = _class_weights(loader, self.classes) if options.class_weights else None
        self.loss = FocalLoss(gamma, weights).to(self.device)

    @property
    def judged(self) -> nn.Module:
        """What is judged and kept: the mean of the weights, if there is one."""
        return self.mean.module if self.mean is not None else self.bare

    def begin_epoch(self, epoch: int) -> None:
        """Make everything random follow from the seed and the epoch."""
        torch.manual_seed(self.options.seed + 1000 * epoch + distributed.rank())
        for part in (self.loader.dataset, self.loader.sampler):
            if hasattr(part, "set_epoch"):
                part.set_epoch(epoch)
        if isinstance(self.loader.generator, torch.Generator):
            self.loader.generator.manual_seed(self.options.seed + epoch)

    def train_epoch(self, batches: Iterable[Any] | None = None) -> float:
        """Take one step per batch; return the mean loss over all images and processes.

        Args:
            batches: the loader, or what hands its batches on.
        """
        self.model.train()
        sums = torch.zeros(2, dtype=torch.float64, device=self.device)  # loss, images
        for batch in self.loader if batches is None else batches:
            images, labels = _moved(batch, self.device)
            smallest = distributed.least(len(labels), self.device)  # broken images are left out
            if smallest < 2:  # no batch statistics
                continue
            if images.shape[1] == 1:  # gray and plain, as workers hand them over for this
                images = training_views(images).contiguous(memory_format=torch.channels_last)
            loss = self._step(images, labels, min(self.options.accumulation_steps, smallest))
            sums += torch.tensor([loss * len(labels), len(labels)], device=self.device).double()
        summed, count = distributed.total(sums).tolist()
        if not count:
            raise ValueError(
                "no batch of at least two images came to train on; give more images, or mend those "
                "that warnings above name"
            )
        if not math.isfinite(summed):
            raise ValueError("the loss is not finite; lower the learning rate, or look at the data")
        return float(summed / count)

    def evaluate(self, loader: DataLoader[Any]) -> tuple[float, Tensor]:
        """Return the mean loss and the confusion matrix of the validation images."""
        distributed.share_buffers(self.judged)
        with self._autocast():
            return evaluate(self.judged, loader, self.device, self.classes, self.gamma)

    def _step(self, images: Tensor, labels: Tensor, parts: int) -> float:
        """Change the weights once; the parts of the batch add up to its gradient.

        Each part is a backward pass, in which all processes meet: they need as many of them.
        """
        self.optimizer.zero_grad(set_to_none=True)
        whole = 0.0
        for part, truth in zip(
            images.tensor_split(parts),
            labels.tensor_split(parts),
            strict=True,
        ):
            with self._autocast():
                logits = _fitting(self.model(part), self.classes)
            loss = self.loss(logits, truth) * (len(truth) / len(labels))
            self.scaler.scale(loss).backward()
            whole += float(loss.detach())
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.mean is not None:
            self.mean.update_parameters(self.bare)
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
        fast = torch.cuda.is_bf16_supported(including_emulation=False)  # V100 and T4 emulate it
        return torch.bfloat16 if fast else torch.float16
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
            logits = _fitting(model(images), classes)
            summed += focal_loss(logits, labels, gamma).double() * len(labels)
            confusion += confusion_matrix(labels, logits.argmax(1), classes)
    distributed.total(confusion)
    distributed.total(summed)
    return float(summed / confusion.sum().clamp(min=1)), confusion.cpu()


def _fitting(logits: Tensor, classes: int) -> Tensor:
    """Return logits that have a column for each class: others would be counted as other pairs."""
    if logits.shape[1] != classes:
        raise ValueError(
            f"the model tells {logits.shape[1]} classes apart and the data has {classes}; "
            f"make it with num_classes={classes}"
        )
    return logits


def _moved(batch: Any, device: torch.device) -> tuple[Tensor, Tensor]:
    images, labels = batch
    images = images.to(device, non_blocking=True, memory_format=torch.channels_last)
    return images, labels.to(device, non_blocking=True)


def class_names(loader: DataLoader[Any]) -> tuple[str, ...]:
    return tuple(getattr(loader.dataset, "classes", ()))


def _outputs(model: nn.Module) -> int:
    return [each for each in model.modules() if isinstance(each, nn.Linear)][-1].out_features


def _class_weights(loader: DataLoader[Any], classes: int) -> Tensor:
    """Return weights whose mean over the images is 1."""
    labels = torch.as_tensor(loader.dataset.labels)  # type: ignore[attr-defined]
    counts = torch.bincount(labels, minlength=classes).clamp(min=1).double()
    return (counts.sum() / (classes * counts)).float()
