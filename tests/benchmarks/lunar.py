"""The reference: a training step and the augmentation, against what one would write first."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from statistics import median

from tests.benchmarks.measure import interleave, ratio_of
from tests.benchmarks.report import Figure

_PAIRS = 5
_BATCH, _SIZE = 8, 256


def figures() -> Iterator[Figure]:
    """Measure the augmentation on one thread, then steps on all."""
    yield _augmentation()
    yield from _steps()


def _augmentation() -> Figure:
    """Compare with torchvision's transforms, one image after the other, as in a worker."""
    import cv2
    import numpy as np
    import torch
    from torchvision.transforms import v2

    from reference_impl.lunar.images import augment
    from reference_impl.lunar.samples import sample_image

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    image = sample_image("crater", np.random.default_rng(0)).astype(np.float32) / 255
    tensor, random = torch.from_numpy(image)[None], np.random.default_rng(0)
    theirs = v2.Compose(
        [
            v2.RandomRotation(15, v2.InterpolationMode.BILINEAR),
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
            v2.ColorJitter(brightness=0.2, contrast=0.2),
            v2.GaussianNoise(sigma=0.01),
        ]
    )
    pairs = interleave(
        lambda: _per_call(lambda: theirs(tensor), 100),
        lambda: _per_call(lambda: augment(image, _SIZE, random), 100),
        pairs=_PAIRS,
    )
    ratio = ratio_of(pairs)
    name = "augmentation, torchvision's transforms against ours (more is better; goal 5)"
    return Figure(name, ratio.value, None, how=ratio.told("ms", 1e3, digits=2))


def _steps() -> Iterator[Figure]:
    """Compare with the naive form: float32, NCHW, the whole network under autograd."""
    import torch

    from reference_impl.lunar.engine import amp_dtype

    torch.set_num_threads(os.cpu_count() or 1)
    dtype = amp_dtype("auto", torch.device("cpu"))
    naive = _step(frozen=0, last=False, dtype=torch.float32)
    for frozen, goal in ((3, 4.5), (0, 2.4)):
        ours = _step(frozen=frozen, last=True, dtype=dtype)
        ratio = ratio_of(interleave(naive, ours, pairs=_PAIRS))
        what = "trunk frozen" if frozen else "nothing frozen"
        name = f"training step, naive against ours, {what} (goal {goal} with bf16 instructions)"
        how = f"{ratio.told('ms', 1e3)}; {_BATCH} images of {_SIZE} px, stride 32, {dtype}; "
        how += "the naive one freezes nothing"
        yield Figure(name, ratio.value, None, how=how)


def _step(*, frozen: int, last: bool, dtype: object) -> Callable[[], float]:
    """Return what measures one step, in seconds."""
    import torch

    from reference_impl.lunar.losses import focal_loss
    from reference_impl.lunar.model import create_model

    torch.manual_seed(0)
    layout = torch.channels_last if last else torch.contiguous_format
    model = create_model(frozen_stages=frozen, output_stride=32).to(memory_format=layout).train()
    images = torch.rand(_BATCH, 3, _SIZE, _SIZE).to(memory_format=layout)
    labels = torch.arange(_BATCH) % 5
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=1e-5, fused=last)

    def step() -> float:
        begin = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype, enabled=dtype is not torch.float32):
            logits = model(images)
        focal_loss(logits, labels).backward()
        optimizer.step()
        return time.perf_counter() - begin

    return step


def _per_call(act: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        act()
        taken.append(time.perf_counter() - begin)
    return median(taken)
