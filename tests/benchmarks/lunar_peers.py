"""The reference beside others: the peak of the machine, its own loader, and Lightning's loop."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks.measure import PYTHON, interleave, ratio_of, run_child
from tests.benchmarks.report import Figure

_PAIRS = 5
_BATCH, _SIZE = 8, 256
_PEER = os.environ.get("LUNAR_PEERS_PYTHON", PYTHON)
"""A Python that has Lightning beside torch; the project itself does not need it."""


def figures() -> Iterator[Figure]:
    """Measure in CPU time and on one thread, so that others on the machine count little."""
    yield _share_of_peak()
    yield _loader()
    yield from _lightning()


def _share_of_peak() -> Figure:
    """Compare a step with what its operations would take in the machine's fastest convolution."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    torch.set_num_threads(1)
    step = _step()
    with FlopCounterMode(display=False) as counter:
        step()
    conv = torch.nn.Conv2d(256, 256, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    maps = torch.rand(8, 256, 32, 32).to(memory_format=torch.channels_last)
    operations = 2 * 8 * 32 * 32 * 256 * 256 * 9

    def convolve() -> None:
        with torch.no_grad():
            conv(maps)

    pairs = interleave(lambda: _cpu_s(step), lambda: _cpu_s(convolve, 3), pairs=_PAIRS)
    ideal = counter.get_total_flops() / operations
    ratio = ratio_of([(whole, ideal * one) for whole, one in pairs])
    peak = operations / min(one for _, one in pairs) / 1e9
    how = f"{1 / ratio.value:.0%} of {peak:.0f} GFLOPS, the best 3×3 convolution of 256 channels; "
    how += f"{ratio.told('s', digits=2)}; one thread, float32, trunk frozen, {_SIZE} px, stride 32"
    return Figure("training step, against its operations at the peak", ratio.value, None, how=how)


def _loader() -> Figure:
    """Compare what one worker needs for a batch with what the step takes that it is for."""
    import numpy as np
    import torch

    from reference_impl.lunar.index import load_index
    from reference_impl.lunar.preprocessing import LunarDataset
    from reference_impl.lunar.samples import create_sample_data

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        create_sample_data(name, 4 * _BATCH)
        dataset = LunarDataset(load_index(name), _SIZE, training=True)
        order = iter(np.random.default_rng(0).integers(len(dataset), size=10_000).tolist())

        def load() -> None:
            for _ in range(_BATCH):
                dataset[next(order)]

        step = _step()
        pairs = interleave(lambda: _cpu_s(load, 3), lambda: _cpu_s(step), pairs=_PAIRS)
    ratio = ratio_of(pairs)
    how = f"{ratio.told('ms', 1e3)}; {_BATCH} files of {_SIZE} px, decoded and augmented anew"
    return Figure("loader, one worker, against the step on one core", ratio.value, 1.0, how=how)


def _lightning() -> Iterator[Figure]:
    """Compare epochs of the same model on the same batches; the same optimiser and layout."""
    found = "import importlib.util as u; print(u.find_spec('lightning') is not None)"
    if run_child([_PEER, "-c", found]).output.strip() != "True":
        print("Lightning is not installed; LUNAR_PEERS_PYTHON may name a Python that has it")
        return
    ours, theirs = (lambda name=name: _trained_s(name) for name in ("ours", "lightning"))
    ratio = ratio_of(interleave(ours, theirs, pairs=3, warm=False))
    how = f"{ratio.told('s', digits=1)} of CPU; 12 steps of 8 images of 64 px, trunk frozen"
    yield Figure("epoch, ours against Lightning's loop", ratio.value, 1.05, how=how)


def _trained_s(name: str) -> float:
    command = [_PEER, "-W", "ignore", "-m", "tests.benchmarks.lunar_peers", name]
    return float(run_child(command).output.split()[-1])


def _step() -> Callable[[], None]:
    """Return a step of the reference, as its engine takes it."""
    import torch

    from reference_impl.lunar.losses import focal_loss
    from reference_impl.lunar.model import create_model

    torch.manual_seed(0)
    model = create_model(output_stride=32).to(memory_format=torch.channels_last).train()
    images = torch.rand(_BATCH, 3, _SIZE, _SIZE).to(memory_format=torch.channels_last)
    labels = torch.arange(_BATCH) % 5
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=1e-5, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        focal_loss(model(images), labels).backward()
        optimizer.step()

    return step


def _cpu_s(act: Callable[[], object], times: int = 1) -> float:
    begin = time.process_time()
    for _ in range(times):
        act()
    return (time.process_time() - begin) / times


def _train(name: str) -> float:
    """Train two epochs and return the CPU seconds of the second, without start-up."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from reference_impl.lunar.model import create_model

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = create_model(output_stride=32).to(memory_format=torch.channels_last)
    images, labels = torch.rand(96, 3, 64, 64), torch.arange(96) % 5
    loader = DataLoader(TensorDataset(images, labels), _BATCH, shuffle=True)
    return _ours(model, loader) if name == "ours" else _theirs(model, loader)


def _ours(model: object, loader: object) -> float:
    from reference_impl.lunar.engine import Engine, Options

    engine = Engine(model, loader, 2, 1e-4, 1e-5, 2.0, Options(amp="off"))
    engine.train_epoch()
    return _cpu_s(engine.train_epoch)


def _theirs(model: object, loader: object) -> float:
    import lightning
    import torch

    from reference_impl.lunar.losses import focal_loss

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.began: list[float] = []

        def on_train_epoch_start(self) -> None:
            self.began.append(time.process_time())

        def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _number: int):
            images, labels = batch
            images = images.contiguous(memory_format=torch.channels_last)
            return focal_loss(self.model(images), labels)

        def configure_optimizers(self):
            trained = [p for p in self.parameters() if p.requires_grad]
            return torch.optim.AdamW(trained, lr=1e-4, weight_decay=1e-5, fused=True)

        def on_train_epoch_end(self) -> None:
            self.began.append(time.process_time())

    module = Module()
    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", **dict.fromkeys(off, False))
    trainer.fit(module, loader)
    return module.began[-1] - module.began[-2]


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[2])
    print(_train(sys.argv[1]))
