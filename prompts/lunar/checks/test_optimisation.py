"""The contract of the step optimisation: speed-ups that change no result, and the program."""

from __future__ import annotations

import base64
import json
import math

import pictures
import pytest

FLAGS = {
    "data_dir": "images",
    "save_dir": "out",
    "model_type": "simple",
    "num_classes": 5,
    "dropout": 0.3,
    "pretrained": False,
    "epochs": 2,
    "batch_size": 8,
    "lr": 1e-4,
    "weight_decay": 1e-5,
    "patience": 3,
    "val_split": 0.2,
    "num_workers": 0,
    "create_sample_data": False,
    "seed": 7,
}
"""What config.json must say beside what --config says: some are given, the rest are defaults."""
PATHS = ("resume", "config")
"""Flags that config.json must have as well; how no path or which path is written, nobody says."""


@pytest.mark.requirement("loader_speed", grade="introspected")
@pytest.mark.about("preprocessing.py", r"prefetch|persistent|DataLoader\(")
def test_loaders_are_set_up_for_speed(candidate, evidence):
    files = {f"{'ab'[n % 2]}/{n}.png": pictures.coded(n) for n in range(20)}
    answer = candidate.ask("probes_preprocessing.worker_settings", files=files, workers=2)
    told, wrong = [], []
    for name, each in zip(("training", "validation"), answer["loaders"], strict=False):
        assert isinstance(each, dict), "the loaders say nothing of themselves"
        workers = each.get("num_workers")
        told.append(
            f"{name}: {workers} workers, prefetch_factor={each.get('prefetch_factor')}, "
            f"persistent_workers={each.get('persistent_workers')}"
        )
        if not workers and answer["cores"] != 1:
            wrong.append("2 workers were asked for")
        if workers and not (each.get("prefetch_factor") and each.get("persistent_workers") is True):
            wrong.append("prefetch_factor and persistent_workers=True are asked for with workers")
    evidence("; ".join([*told, *dict.fromkeys(wrong)]))
    assert told
    assert not wrong
    assert all(count > 0 for count in answer["images"])


@pytest.mark.requirement("loader_speed", grade="introspected")
@pytest.mark.about("preprocessing.py", r"prefetch|persistent|DataLoader\(")
def test_loaders_work_without_workers(candidate, evidence):
    files = {f"{'ab'[n % 2]}/{n}.png": pictures.coded(n) for n in range(10)}
    answer = candidate.ask("probes_preprocessing.worker_settings", files=files, workers=0)
    evidence(f"with num_workers=0 the loaders hand out {answer['images']} images")
    assert all(count > 0 for count in answer["images"])


@pytest.mark.requirement("loader_speed", grade="introspected")
@pytest.mark.about("preprocessing.py", r"pin_memory|DataLoader\(")
@pytest.mark.parametrize("gpu", [False, True])
def test_memory_is_pinned_for_a_gpu_only(candidate, evidence, gpu):
    files = {f"{'ab'[n % 2]}/{n}.png": pictures.coded(n) for n in range(10)}
    found = candidate.ask("probes_preprocessing.pinned", files=files, gpu=gpu)["pinned"]
    told = f"pin_memory={', '.join(map(str, found))}" if found else "no loaders without a real one"
    evidence(f"where torch.cuda.is_available() is {gpu}: {told}; {gpu} asked")
    assert all(each is gpu for each in found)


def read(pipeline, name):
    """Return a JSON file that main.py wrote as a mapping; fail in words otherwise."""
    assert not pipeline.failure, f"main.py did not run to its end: {pipeline.failure}"
    data = pipeline.files.get(f"out/{name}")
    assert data is not None, f"main.py did not write {name} into --save_dir"
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    assert isinstance(found, dict), f"{name} holds no JSON mapping"
    return found


@pytest.mark.requirement("entry_point", grade="outcome")
@pytest.mark.about("main.py", r"config|add_argument")
def test_config_json_holds_every_flag(pipeline, settings, evidence):
    found, flags = read(pipeline, "config.json"), FLAGS | settings
    missing = [name for name in (*flags, *PATHS) if name not in found]
    wrong = [name for name in flags if name in found and not same(found[name], flags[name])]
    count = len(flags) + len(PATHS)
    evidence(
        f"config.json has {count - len(missing) - len(wrong)} of {count} flags right"
        + (f"; missing: {', '.join(missing)}" if missing else "")
        + "".join(f"; {n} is {str(found[n])[:40]!r}, not {flags[n]!r}" for n in wrong[:3])
    )
    assert not missing
    assert not wrong


def same(found, expected):
    if isinstance(expected, bool):
        return found is expected
    if isinstance(expected, int | float):
        return type(found) in (int, float) and math.isclose(found, expected, rel_tol=1e-9)
    return bool(found == expected)


@pytest.mark.requirement("entry_point", grade="introspected")
@pytest.mark.about("main.py", r"results|best_f1")
def test_results_json_holds_score_and_time(pipeline, evidence):
    found = read(pipeline, "results.json")
    score, seconds = found.get("best_f1"), found.get("total_time")
    evidence(
        f"results.json has best_f1={json.dumps(score)[:40]} and "
        f"total_time={json.dumps(seconds)[:40]}; numbers are asked for, 0 to 1 and seconds"
    )
    assert type(score) in (int, float)
    assert 0 <= score <= 1
    assert type(seconds) in (int, float)
    assert 0 < seconds < 600


@pytest.mark.requirement("entry_point", grade="outcome")
@pytest.mark.about("main.py", r"def create_sample_data")
def test_sample_data_fills_a_folder_for_each_class(candidate, challenge, inputs, evidence):
    classes = inputs["num_classes"]
    count = challenge.randrange(2 * classes, 6 * classes)
    answer = candidate.ask("probes_optimisation.sample_data", count=count)
    folders, kinds = {*answer["folders"]}, sorted({*answer["kinds"]})
    evidence(f"create_sample_data made {len(answer['kinds'])} images in {len(folders)} folders, "
             f"{', '.join(kinds)}; {count} in {classes} asked, PNG 256×256")  # fmt: skip
    assert len(answer["kinds"]) == count
    assert len(folders) == classes
    assert kinds == ["PNG 256×256"]


@pytest.mark.gate("pipeline")
@pytest.mark.about("training.py", r"def train_model")
def test_the_whole_learns(candidate, sample_images, evidence):
    files = {path: base64.b64encode(data).decode() for path, data in sample_images.items()}
    answer = candidate.ask(
        "probes_optimisation.short_training", time_s=300, files=files, epochs=4, rate=1e-3
    )
    losses = answer["losses"]
    assert isinstance(losses, list)
    evidence(f"the training loss went {' → '.join(f'{each:.3f}' for each in losses)} in a short "
             "training on sample images")  # fmt: skip
    assert len(losses) == 4
    assert all(type(each) is float for each in losses)
    assert min(losses[1:]) < 0.9 * losses[0]  # the rate is high: a later epoch may overshoot
