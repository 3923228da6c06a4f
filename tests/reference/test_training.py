"""Requirements of prompts 3 and 4: optimiser, schedule, stopping, checkpoints, memory, speed."""

from __future__ import annotations

import copy
import csv
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from reference_impl.lunar import model as hybrid
from reference_impl.lunar import training
from reference_impl.lunar.checkpoints import CheckpointError, load_model, load_state, load_trunk
from reference_impl.lunar.engine import Engine, amp_dtype
from reference_impl.lunar.model import create_model
from reference_impl.lunar.preprocessing import (
    create_manifest_dataloaders,
    create_train_val_dataloaders,
)
from reference_impl.lunar.training import Options, train_model
from tests.reference.conftest import Tiny

KEYS = {"epoch", "train_loss", "val_loss", "accuracy", "precision", "recall", "f1", "lr"}


def loaders(images: Path, workers: int = 0) -> tuple[DataLoader, DataLoader]:
    return create_train_val_dataloaders(images, 0.4, 4, num_workers=workers, image_size=32)


def train(
    images: Path,
    folder: Path,
    epochs: int,
    model: nn.Module | None = None,
    *,
    workers: int = 0,
    **more,
):
    model = model or seeded()
    return train_model(model, *loaders(images, workers), epochs, save_dir=folder, **more), model


def seeded() -> Tiny:
    torch.manual_seed(11)
    return Tiny()


def test_it_learns_and_leaves_records_pictures_and_the_best_model(
    images: Path, tmp_path: Path
) -> None:
    result, model = train(images, tmp_path / "out", 12, learning_rate=0.02)
    assert result["best_f1"] == 1.0
    assert result["total_time"] > 0
    assert [record["epoch"] for record in result["history"]] == list(
        range(1, len(result["history"]) + 1)
    )
    assert set(result["history"][0]) >= KEYS
    for picture in ("history.png", "confusion.png"):
        assert (tmp_path / "out" / picture).read_bytes()[:4] == b"\x89PNG"
    loaded = load_model(Tiny(), tmp_path / "out" / "best.pth", "cpu")
    assert not loaded.training
    batch = torch.rand(2, 3, 32, 32)
    assert torch.equal(loaded(batch), model.eval()(batch))


def test_the_history_can_be_read_while_it_trains(images: Path, tmp_path: Path) -> None:
    epochs = []

    def look(_record: dict[str, Any]) -> None:
        rows = csv.DictReader((tmp_path / "history.csv").read_text().splitlines())
        epochs.append([row["epoch"] for row in rows])

    train(images, tmp_path, 2, report=look)
    assert epochs == [["1"], ["1", "2"]]


def test_adamw_gets_only_what_is_trained_at_the_asked_rate(images: Path) -> None:
    model = create_model(output_stride=32, num_classes=2)
    engine = Engine(model, loaders(images)[0], 3, 1e-4, 1e-5, 2.0, Options(amp="off"))
    assert isinstance(engine.optimizer, torch.optim.AdamW)
    (group,) = engine.optimizer.param_groups
    assert (group["lr"], group["weight_decay"]) == (1e-4, 1e-5)
    assert {id(p) for p in group["params"]} == {
        id(p) for p in model.parameters() if p.requires_grad
    }


def test_the_rate_follows_a_cosine_with_t_max_10_once_per_epoch(
    images: Path, tmp_path: Path
) -> None:
    result, _ = train(images, tmp_path, 22, patience=99)
    expected = [1e-4 * (1 + math.cos(math.pi * epoch / 10)) / 2 for epoch in range(22)]
    found = [record["lr"] for record in result["history"]]
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert found[10] == pytest.approx(0, abs=1e-12)  # the trap that the model card names
    assert found[20] == pytest.approx(1e-4)


@pytest.mark.parametrize(
    ("schedule", "share"),
    [
        ("cosine", lambda epoch: (1 + math.cos(math.pi * epoch / 12)) / 2),
        ("constant", lambda _epoch: 1.0),
        ("warm_restarts", lambda epoch: (1 + math.cos(math.pi * (epoch % 10) / 10)) / 2),
    ],
    ids=["cosine", "constant", "warm_restarts"],
)
def test_other_schedules_can_be_chosen(
    images: Path, tmp_path: Path, schedule: Any, share: Callable[[int], float]
) -> None:
    result, _ = train(images, tmp_path, 12, patience=99, options=Options(schedule=schedule))
    found = [record["lr"] for record in result["history"]]
    np.testing.assert_allclose(found, [1e-4 * share(epoch) for epoch in range(12)], atol=1e-9)


def test_training_stops_7_epochs_after_the_best_f1_and_ends_with_its_weights(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = iter([0.2, 0.4, 0.3, 0.6] + [0.6, 0.5] * 10)

    def scripted(engine, loader):
        right = round(100 * next(script))
        return 1.0, torch.tensor([[right, 100 - right], [100 - right, right]])

    def weights() -> torch.Tensor:
        return nn.utils.parameters_to_vector(model.parameters()).detach().clone()

    monkeypatch.setattr(Engine, "evaluate", scripted)
    model, after = seeded(), list[torch.Tensor]()
    result, _ = train(images, tmp_path, 50, model, report=lambda _: after.append(weights()))
    assert len(result["history"]) == 4 + 7
    assert result["best_epoch"] == 4
    assert result["best_f1"] == pytest.approx(0.6)
    assert [n for n, each in enumerate(after, 1) if torch.equal(each, weights())] == [4]


@pytest.mark.training
@pytest.mark.parametrize("workers", [0, 1])
def test_two_epochs_resumed_for_two_more_are_the_same_bits_as_four(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)  # so that there may be a worker
    whole, one = train(images, tmp_path / "whole", 4, workers=workers)
    train(images, tmp_path / "parts", 2, workers=workers)
    resume = Options(resume=True)
    parts, other = train(images, tmp_path / "parts", 4, workers=workers, options=resume)
    for name, value in load_state(tmp_path / "whole" / "last.pth")["model"].items():
        assert torch.equal(value, load_state(tmp_path / "parts" / "last.pth")["model"][name])
    for (_, first), (_, second) in zip(
        one.state_dict().items(), other.state_dict().items(), strict=True
    ):
        assert torch.equal(first, second)
    without_time = [
        [{k: v for k, v in record.items() if k != "seconds"} for record in each["history"]]
        for each in (whole, parts)
    ]
    assert without_time[0] == without_time[1]


@pytest.mark.training
def test_the_hybrid_with_its_frozen_stages_resumes_with_the_same_bits(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hybrid, "DIM", 64)
    monkeypatch.setattr(hybrid, "BLOCKS", 1)
    for drawing in ("plot_history", "plot_confusion"):  # takes longer than to train
        monkeypatch.setattr(training, drawing, lambda *_: None)
    fresh = create_model(num_classes=2, output_stride=32, frozen_stages=4)
    for folder, epochs in (("whole", 2), ("parts", 1), ("parts", 2)):
        options = Options(resume=True)
        train(images, tmp_path / folder, epochs, copy.deepcopy(fresh), options=options)
    whole, parts = (load_state(tmp_path / n / "last.pth")["model"] for n in ("whole", "parts"))
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    begun = fresh.state_dict()
    moved = {name for name, value in whole.items() if not torch.equal(value, begun[name])}
    assert "backbone.layer4.2.bn3.running_mean" in moved
    assert not any(name.startswith(("backbone.stem", "backbone.layer3")) for name in moved)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"learning_rate": 1e-2}, "lr 0.0001, not 0.01"),
        ({"weight_decay": 0.5}, "weight_decay 1e-05, not 0.5"),
        ({"options": {"schedule": "cosine"}}, "the epochs of a cosine"),
        ({"gamma": 0.0}, "gamma 2.0, not 0.0"),
        ({"options": {"seed": 7}}, "seed 42, not 7"),
        ({"options": {"average": 0.9}}, "average 0.0, not 0.9"),
        ({"options": {"accumulation_steps": 2}}, "accumulation_steps 1, not 2"),
        ({"options": {"class_weights": True}}, "class_weights False, not True"),
        ({"options": {"amp": "bf16"}}, "amp float32, not bfloat16"),
        ({"options": {"settings": {"image_size": 64}}}, "image_size 32, not 64"),
    ],
    ids=lambda value: next(iter(value.get("options", value))) if isinstance(value, dict) else "",
)
def test_a_training_is_not_resumed_with_other_settings(
    images: Path, tmp_path: Path, changed: dict[str, Any], words: str
) -> None:
    begun = Options(amp="off", settings={"image_size": 32})
    train(images, tmp_path, 1, options=begun)
    options = replace(begun, resume=True, **changed.get("options", {}))
    with pytest.raises(CheckpointError, match=re.escape(words)):
        train(images, tmp_path, 2, **{**changed, "options": options})


def test_a_training_is_not_resumed_by_other_processes_and_may_be_judged_otherwise(
    images: Path, tmp_path: Path
) -> None:
    train(images, tmp_path, 1, options=Options(settings={"mirror_views": False}))
    asked = Options(resume=True, settings={"mirror_views": True})
    assert len(train(images, tmp_path, 2, options=asked)[0]["history"]) == 2
    state = load_state(tmp_path / "last.pth")
    state["fingerprint"]["processes"] = 2
    torch.save(state, tmp_path / "last.pth")
    with pytest.raises(CheckpointError, match="processes 2, not 1"):
        train(images, tmp_path, 3, options=asked)


def test_a_training_is_not_resumed_on_the_images_that_judge_it(
    images: Path, tmp_path: Path
) -> None:
    rows = [f"{name}/{n}.png,{name},{n % 2}" for name in ("dark", "light") for n in range(10)]
    (images / "windows.csv").write_text("\n".join(["path,label,fold", *rows]))

    def train_without(fold: str, epochs: int, *, batch_size: int = 4) -> None:
        sizes = (batch_size, 0, 32)
        *loaders, _ = create_manifest_dataloaders(images / "windows.csv", fold, *sizes)
        options = Options(resume=True)
        train_model(seeded(), *loaders, epochs, save_dir=tmp_path / "out", options=options)

    train_without("0", 1)
    with pytest.raises(CheckpointError, match=r"training files 8 of .*; validation files 2 of "):
        train_without("1", 2)
    with pytest.raises(CheckpointError, match="batch_size 4, not 5"):
        train_without("0", 2, batch_size=5)
    train_without("0", 2)


def test_a_checkpoint_that_does_not_name_its_images_is_resumed_with_a_warning(
    images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(images, tmp_path, 1)
    state = load_state(tmp_path / "last.pth")
    del state["fingerprint"]
    torch.save(state, tmp_path / "last.pth")
    result, _ = train(images, tmp_path, 2, options=Options(resume=True))
    assert len(result["history"]) == 2
    assert "does not say what it was trained with" in caplog.text


def test_a_checkpoint_that_names_fewer_settings_is_resumed_with_any_of_the_others(
    images: Path, tmp_path: Path
) -> None:
    train(images, tmp_path, 1)
    state = load_state(tmp_path / "last.pth")
    del state["fingerprint"]["amp"]
    torch.save(state, tmp_path / "last.pth")
    options = Options(resume=True, amp="bf16", settings={"image_size": 64})
    assert len(train(images, tmp_path, 2, options=options)[0]["history"]) == 2
    with pytest.raises(CheckpointError, match="amp bfloat16, not float32"):
        train(images, tmp_path, 3, options=replace(options, amp="off"))


def test_a_batch_in_parts_gives_the_same_step(images: Path, tmp_path: Path) -> None:
    class Plain(Tiny):
        def __init__(self) -> None:
            super().__init__()
            self.head[1].p = 0.0

    states, losses = [], []
    for parts in (1, 3, 4):  # three parts of four images are not of one size
        torch.manual_seed(11)
        folder = tmp_path / str(parts)
        result, _ = train(images, folder, 1, Plain(), accumulation_steps=parts)
        states.append(load_state(folder / "last.pth")["model"])
        losses.append(result["history"][0]["train_loss"])
    assert losses[1:] == pytest.approx(losses[:1] * 2)
    for name, value in states[0].items():
        for other in states[1:]:
            torch.testing.assert_close(value, other[name], atol=2e-6, rtol=1e-4)


def test_losses_are_means_over_images_whatever_the_batches(tmp_path: Path) -> None:
    data = TensorDataset(torch.rand(10, 3, 32, 32), torch.arange(10) % 2)
    loader = DataLoader(data, batch_size=4)  # the last batch has two images
    model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 2))
    p = model(data.tensors[0]).softmax(1).detach().numpy()[np.arange(10), data.tensors[1]]
    expected = pytest.approx(np.mean((1 - p) * -np.log(p)), rel=1e-5)  # the focal loss for γ = 1
    given: dict[str, Any] = {"learning_rate": 0.0, "gamma": 1.0, "use_amp": False}
    record = train_model(model, loader, loader, 1, save_dir=tmp_path, **given)["history"][0]
    assert (record["train_loss"], record["val_loss"]) == (expected, expected)


@pytest.mark.parametrize(
    ("asked", "dtype"),
    [
        ({"options": Options(amp="bf16")}, torch.bfloat16),
        ({"options": Options(amp="off")}, torch.float32),
        ({"use_amp": True}, torch.bfloat16),
        ({"use_amp": False, "options": Options(amp="bf16")}, torch.float32),
    ],
    ids=["bf16", "off", "use_amp", "no use_amp"],
)
def test_mixed_precision_trains_on_a_cpu_and_keeps_float32_weights(
    images: Path, tmp_path: Path, asked: dict[str, Any], dtype: torch.dtype
) -> None:
    seen = []

    class Watching(Tiny):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            logits = super().forward(batch)
            seen.append(logits.dtype)
            return logits

    result, model = train(images, tmp_path, 1, Watching(), **asked)
    assert math.isfinite(result["history"][0]["train_loss"])
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert set(seen) == {dtype}


def test_a_gradient_scaler_stands_ready_where_float16_needs_one(images: Path) -> None:
    for amp, needed in (("fp16", True), ("bf16", False), ("off", False)):
        engine = Engine(Tiny(), loaders(images)[0], 3, 1e-4, 1e-5, 2.0, Options(amp=amp))
        assert engine.scaler.is_enabled() is needed


@pytest.mark.parametrize(("native", "dtype"), [(True, torch.bfloat16), (False, torch.float16)])
def test_a_gpu_that_only_emulates_bfloat16_computes_in_float16(
    monkeypatch: pytest.MonkeyPatch, native: bool, dtype: torch.dtype
) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return native or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert amp_dtype("auto", torch.device("cuda")) is dtype


@pytest.mark.parametrize(("native", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_cpu_that_only_emulates_bfloat16_computes_in_float32(
    monkeypatch: pytest.MonkeyPatch, native: bool, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert amp_dtype("auto", torch.device("cpu")) is dtype


def test_any_loader_of_tensors_will_do(tmp_path: Path) -> None:
    data = TensorDataset(torch.rand(9, 3, 32, 32), torch.arange(9) % 2)
    loader = DataLoader(data, batch_size=4)  # the last batch has one image
    result = train_model(Tiny(), loader, loader, 2, save_dir=tmp_path)
    assert sum(map(sum, result["confusion"])) == 9


def test_class_weights_are_inverse_to_the_counts(images: Path) -> None:
    loader = loaders(images)[0]
    loader.dataset.labels = (0,) * 9 + (1,) * 3
    engine = Engine(Tiny(), loader, 1, 1e-4, 0.0, 2.0, Options(class_weights=True))
    np.testing.assert_allclose(engine.loss.weight, [12 / 18, 12 / 6])


def test_a_run_that_fails_while_it_writes_leaves_the_old_checkpoint(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(images, tmp_path, 1)
    before = (tmp_path / "last.pth").read_bytes()

    def full(state, path):
        Path(path).write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="no space"):
        train(images, tmp_path, 2)
    assert (tmp_path / "last.pth").read_bytes() == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_checkpoints_that_do_not_fit_are_refused_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        load_model(Tiny(), tmp_path / "none.pth", "cpu")
    (tmp_path / "text.pth").write_text("not one")
    with pytest.raises(CheckpointError, match="no checkpoint that can be read"):
        load_model(Tiny(), tmp_path / "text.pth", "cpu")
    torch.save({"model": Tiny(3).state_dict()}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="is of another model"):
        load_model(Tiny(2), tmp_path / "other.pth", "cpu")
    with pytest.raises(CheckpointError, match="no backbone"):
        load_trunk(Tiny(), tmp_path / "other.pth")


class Evil:
    def __reduce__(self):
        return (print, ("this must never run",))


def test_code_in_a_checkpoint_is_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"model": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError):
        load_model(Tiny(), tmp_path / "evil.pth", "cpu")
    assert "never" not in capsys.readouterr().out


def test_a_trunk_can_be_taken_over_and_stays_frozen(tmp_path: Path) -> None:
    donor = create_model(num_classes=3, output_stride=32, frozen_stages=0)
    torch.save({"model": donor.state_dict()}, tmp_path / "trunk.pth")
    model = create_model(num_classes=5, output_stride=32)
    assert load_trunk(model, tmp_path / "trunk.pth") == len(donor.backbone.state_dict())
    torch.testing.assert_close(
        model.backbone.layer2.state_dict(), donor.backbone.layer2.state_dict()
    )
    assert not any(p.requires_grad for p in model.backbone.layer2.parameters())


def test_a_trunk_that_fits_in_part_is_refused_or_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = create_model(num_classes=5, output_stride=32)
    weights = {n: v for n, v in model.state_dict().items() if n.startswith("backbone.stem")}
    torch.save({"model": weights}, tmp_path / "stem.pth")
    assert load_trunk(model, tmp_path / "stem.pth") == len(weights)
    assert "has no backbone.layer1.0.conv1.weight, which is frozen" in caplog.text
    weights["backbone.stem.0.weight"] = torch.zeros(64, 1, 7, 7)
    torch.save({"model": weights}, tmp_path / "gray.pth")
    with pytest.raises(CheckpointError, match=r"backbone\.stem\.0\.weight is of another one"):
        load_trunk(model, tmp_path / "gray.pth")


@pytest.mark.parametrize(("name", "value"), [("schedule", "cosin"), ("amp", "fp32")])
def test_names_that_nobody_knows_are_refused_with_those_that_there_are(
    name: str, value: str
) -> None:
    with pytest.raises(ValueError, match=f"there is no {name} '{value}'; there is \\w+, "):
        Options(**{name: value})


def test_nothing_to_train_and_bad_numbers_are_refused(images: Path, tmp_path: Path) -> None:
    model = Tiny().requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter"):
        train(images, tmp_path, 1, model)
    with pytest.raises(ValueError, match="at least 1"):
        train(images, tmp_path, 0)


def test_what_makes_an_epoch_impossible_is_named(images: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="loss is not finite; lower the learning rate"):
        train(images, tmp_path, 1, learning_rate=1e30, weight_decay=0.0)
    single, validation = create_train_val_dataloaders(images, 0.4, 1, 0, 32)
    with pytest.raises(ValueError, match=r"batch_size is 1.*--accumulation_steps"):
        train_model(seeded(), single, validation, 1, save_dir=tmp_path)
    training, _ = loaders(images)
    for path in training.dataset.paths:
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="no batch of at least two images came") as raised:
        train_model(seeded(), training, validation, 1, save_dir=tmp_path)
    assert "learning rate" not in str(raised.value)


def test_a_model_of_another_number_of_classes_is_refused_before_it_learns(
    images: Path, tmp_path: Path
) -> None:
    words = "tells 5 classes apart and the data has 2; make it with num_classes=2"
    model = Tiny(5)
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(ValueError, match=words):
        train(images, tmp_path, 1, model)
    assert all(map(torch.equal, before, model.parameters()))
    with pytest.raises(ValueError, match=words):
        training.evaluate(model, loaders(images)[1], torch.device("cpu"), 2)


def test_the_log_has_a_record_for_each_epoch(
    images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reported = []
    with caplog.at_level("INFO", logger=training.__name__):
        result, _ = train(images, tmp_path, 2, report=reported.append)
    assert reported == result["history"]
    assert caplog.text.count("train_loss") == 2
    json.dumps(result)
