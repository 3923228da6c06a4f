"""Started by torchrun: processes that can read different numbers of images train all the same."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import nn

from reference_impl.lunar import distributed, mistakes
from reference_impl.lunar.engine import Engine, Options

SIZES = ((4, 1, 3, 0), (4, 4, 4, 4))
"""Readable images of each batch, by process."""


def main(path: str) -> None:
    with distributed.joined():
        torch.manual_seed(7)
        model = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(48, 2))
        dataset = SimpleNamespace(classes=("a", "b"))
        loader: Any = SimpleNamespace(dataset=dataset, batch_size=4, sampler=None, generator=None)
        options = Options(accumulation_steps=4, amp="off")
        engine = Engine(model, loader, 1, 1e-3, 0.0, 2.0, options)
        random = torch.Generator().manual_seed(distributed.rank())
        batches = [
            (torch.rand(size, 3, 4, 4, generator=random), torch.arange(size) % 2)
            for size in SIZES[distributed.rank()]
        ]
        loss = engine.train_epoch(batches)
        _, confusion = engine.evaluate(cast(Any, batches))
        drawn: list[str] = []
        mistakes.plot_images = lambda _images, titles, _path: drawn.extend(titles)
        mistakes.plot_mistakes(model, cast(Any, batches), "ab", Path(path), most=100)
        statistics = model[0].running_mean.clone()
        apart = (
            (distributed.total(statistics.clone()) / distributed.world() - statistics).abs().max()
        )
        if distributed.is_main():
            found = {"loss": loss, "judged": int(confusion.sum()), "apart": float(apart)}
            wrong = int(confusion.sum() - confusion.trace())
            torch.save({**found, "wrong": wrong, "drawn": len(drawn)}, path)


if __name__ == "__main__":
    main(*sys.argv[1:])
