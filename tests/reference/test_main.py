"""The command line, as its user calls it: what it does, in processes of its own."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import urllib.error
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from reference_impl.lunar import backbone, distributed, engine, model, results, trunk
from reference_impl.lunar.checkpoints import load_state, save
from reference_impl.lunar.images import read_image, resize, to_channels
from reference_impl.lunar.index import load_index
from reference_impl.lunar.main import loaders_of, main, parse_flags, parser
from reference_impl.lunar.preprocessing import files_of
from reference_impl.lunar.samples import create_sample_data
from reference_impl.lunar.utils import save_config
from reference_impl.lunar.views import training_views

ROOT = Path(__file__).parents[2]
TINY = ("--model_type", "simple", "--image_size", "32", "--num_workers", "0", "--amp", "off")


def command(
    folder: Path, *arguments: str, processes: int = 1, name: str = "main"
) -> subprocess.CompletedProcess[str]:
    module = ["-m", f"reference_impl.lunar.{name}", *arguments]
    if processes > 1:
        launch = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        module = ["-m", *launch, *module]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *module],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_flags_win_over_a_configuration_and_it_over_the_defaults(tmp_path: Path) -> None:
    settings = {"lr": 0.5, "epochs": 3, "cache": True, "seed": 0, "compile": False, "trunk": None}
    save_config(settings, tmp_path / "c.json")
    found = parse_flags(["--config", str(tmp_path / "c.json"), "--epochs", "7"])
    assert (found.lr, found.epochs, found.cache, found.seed) == (0.5, 7, True, 0)
    assert (found.compile, found.trunk, found.batch_size) == (False, None, 8)
    save_config(vars(found), tmp_path / "again.json")
    again = parse_flags(["--config", str(tmp_path / "again.json")])
    assert vars(again) | {"config": None} == vars(found) | {"config": None}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"schedule": "cosin"}, "argument --schedule: invalid choice: 'cosin' (choose from "),
        ({"amp": "fp32"}, "argument --amp: invalid choice: 'fp32' (choose from "),
        ({"epochs": "many"}, "argument --epochs: invalid int value: 'many'"),
        ({"cache": "no"}, "argument --cache: ignored explicit argument 'no'"),
    ],
    ids=["schedule", "amp", "epochs", "cache"],
)
def test_a_configuration_takes_no_values_that_flags_would_not(
    tmp_path: Path, settings: dict[str, str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save_config(settings, tmp_path / "c.json")
    with pytest.raises(SystemExit) as ended:
        parse_flags(["--config", str(tmp_path / "c.json")])
    assert ended.value.code == 2
    assert f"error: {tmp_path / 'c.json'}: {words}" in capsys.readouterr().err


def test_what_is_judged_takes_no_place_of_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "best.pth", {"settings": {"model_type": "simple"}})
    judge = ["--evaluate", "best.pth"]
    assert parse_flags(judge).save_dir == "checkpoints"
    save(tmp_path / "checkpoints" / "last.pth", {"history": []})
    assert parse_flags(judge).save_dir == str(Path("checkpoints", "evaluation"))
    assert parse_flags([*judge, "--save_dir", "checkpoints"]).save_dir == "checkpoints"
    assert parse_flags([]).save_dir == "checkpoints"


def test_the_flags_of_the_article_have_its_values() -> None:
    expected = {
        "data_dir": "lunar_images",
        "save_dir": "checkpoints",
        "model_type": "hybrid",
        "num_classes": 5,
        "dropout": 0.3,
        "pretrained": False,
        "epochs": 50,
        "batch_size": 8,
        "lr": 1e-4,
        "weight_decay": 1e-5,
        "gamma": 2.0,
        "patience": 7,
        "val_split": 0.2,
        "num_workers": 4,
        "create_sample_data": False,
        "seed": 42,
        "resume": False,
        "config": None,
    }
    found = vars(parser().parse_args([]))
    assert {name: found[name] for name in expected} == expected


@pytest.mark.training
def test_from_nothing_to_plots_and_results_and_judged_again(tmp_path: Path) -> None:
    done = command(tmp_path, "--create_sample_data", "--num_samples", "40", "--epochs", "2", *TINY)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "checkpoints"
    for picture in ("history.png", "confusion.png", "mistakes.png"):
        assert (out / picture).read_bytes()[:4] == b"\x89PNG"
    results = json.loads((out / "results.json").read_text())
    assert results["total_time"] > 0
    per_class = [figures["f1"] for figures in results["per_class"].values()]
    assert results["best_f1"] == pytest.approx(np.mean(per_class))
    assert sum(map(sum, results["confusion"])) == 10  # a fifth of each class, at least one
    assert json.loads((out / "config.json").read_text())["epochs"] == 2
    rows = list(csv.DictReader((out / "history.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    again = command(tmp_path, "--evaluate", "checkpoints/best.pth", "--save_dir", "judged", *TINY)
    assert again.returncode == 0, again.stderr
    judged = json.loads((tmp_path / "judged" / "results.json").read_text())
    assert judged["images"] == 40
    resumed = command(tmp_path, "--epochs", "3", "--resume", *TINY)
    assert resumed.returncode == 0, resumed.stderr
    assert len((out / "history.csv").read_text().splitlines()) == 4


@pytest.mark.training
def test_a_refused_resume_leaves_what_is_told_of_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    create_sample_data(tmp_path / "lunar_images", 20, image_size=64)
    monkeypatch.chdir(tmp_path)
    train = [*TINY, "--batch_size", "4", "--epochs"]
    main([*train, "1"])
    told = Path("checkpoints", "config.json").read_bytes()
    others = ("--dropout", "0.5", "--cache", "--batch_views", "--no_high_pass", "--mirror_views")
    with pytest.raises(SystemExit):
        main([*train, "2", "--resume", *others])
    said = capsys.readouterr().err
    for words in ("dropout 0.3, not 0.5", *(f"{n[2:]} False, not True" for n in others[2:5])):
        assert words in said
    assert "mirror_views" not in said
    assert Path("checkpoints", "config.json").read_bytes() == told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--data_dir", "nowhere"), "nowhere is no folder"),
        (("--evaluate", "none.pth"), "there is no checkpoint none.pth"),
        (("--manifest", "none.csv", "--test_fold", "0"), "none.csv cannot be read"),
        (("--config", "none.json"), "none.json is no configuration"),
        (("--config", "odd.json"), "odd.json has the unknown setting 'learning_rate'"),
        (("--data_dir", "data", "--num_classes", "4"), "give --num_classes 5"),
        (("--data_dir", "data", "--image_size", "50"), "multiple of 32"),
        (("--data_dir", "data", "--dropout", "2"), "dropout_prob is 2.0"),
        (("--data_dir", "data", "--batch_size", "0"), "batch_size must be at least 1"),
        (("--data_dir", "data", "--batch_size", "1"), "batch_size is 1.*--accumulation_steps"),
        (("--data_dir", "data", "--epochs", "0"), "must be at least 1"),
        (("--data_dir", "data", "--test_fold", "0"), "--test_fold needs --manifest"),
    ],
)
def test_wrong_input_gets_one_line_with_the_way_out(
    tmp_path: Path,
    arguments: tuple[str, ...],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    create_sample_data(tmp_path / "data", 5, image_size=32)
    save_config({"learning_rate": 1.0}, tmp_path / "odd.json")
    extra = [] if "--image_size" in arguments else list(TINY)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main([*extra, *arguments])
    assert ended.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.match(f"error: .*{words}", said)


def test_weights_that_cannot_be_fetched_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], images: Path
) -> None:
    def offline(*_arguments: object, **_more: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(backbone, "resnet50", offline)
    with pytest.raises(SystemExit) as ended:
        main(["--data_dir", str(images), "--num_classes", "2", "--pretrained"])
    assert ended.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.match("error: .*weights.*no route to host.*--trunk", said)


def test_a_training_that_is_stopped_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], images: Path
) -> None:
    def stopped(*_arguments: object, **_more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("reference_impl.lunar.main.train_model", stopped)
    with pytest.raises(SystemExit) as ended:
        main([*TINY, "--data_dir", str(images), "--num_classes", "2", "--save_dir", "here"])
    assert ended.value.code == 130
    assert capsys.readouterr().err.strip() == "error: stopped; --resume goes on from here"


@pytest.mark.training
def test_two_processes_judge_every_image_once_and_agree(tmp_path: Path) -> None:
    create_sample_data(tmp_path / "lunar_images", 35, image_size=32)
    train = ("--epochs", "2", "--batch_size", "4", *TINY)
    done = command(tmp_path, *train, processes=2)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "checkpoints" / "results.json").read_text())
    assert sum(map(sum, results["confusion"])) == 5  # neither padded nor left out
    judged = []
    for processes in (1, 2):
        where = ("--save_dir", f"by{processes}", "--evaluate", "checkpoints/best.pth")
        assert command(tmp_path, *TINY, *where, processes=processes).returncode == 0
        judged.append(json.loads((tmp_path / f"by{processes}" / "results.json").read_text()))
    assert judged[0]["confusion"] == judged[1]["confusion"]
    assert judged[0]["images"] == 35
    assert judged[0]["f1"] == pytest.approx(judged[1]["f1"])


@pytest.mark.training
def test_blocks_are_recomputed_views_made_in_batches_and_batches_taken_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "DIM", 64)
    monkeypatch.setattr(model, "BLOCKS", 1)
    recomputed, viewed = [], []

    def recompute(block: nn.Module, tokens: Tensor, **more: bool) -> Tensor:
        recomputed.append(len(tokens))
        return checkpoint(block, tokens, **more)

    def view(images: Tensor) -> Tensor:
        viewed.append(tuple(images.shape))
        return training_views(images)

    monkeypatch.setattr(model, "checkpoint", recompute)
    monkeypatch.setattr(engine, "training_views", view)
    monkeypatch.chdir(tmp_path)
    create_sample_data("lunar_images", 20, image_size=64)
    small = ("--image_size", "32", "--num_workers", "0", "--amp", "off", "--batch_size", "6")
    flags = ("--checkpointing", "--batch_views", "--accumulation_steps", "3", "--epochs", "1")
    main([*small, *flags])
    assert viewed == [(6, 1, 64, 64)] * 2  # of 15 images to train on
    assert recomputed == [2] * 6
    assert json.loads(Path("checkpoints", "results.json").read_text())["images"] == 5


@pytest.mark.training
def test_flags_reach_the_model_and_its_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "DIM", 64)
    monkeypatch.chdir(tmp_path)
    create_sample_data("lunar_images", 20, image_size=64)
    trunk = model.create_model(frozen_stages=0).state_dict()
    save(Path("trunk.pth"), {"model": trunk})
    small = ("--image_size", "32", "--num_workers", "0", "--amp", "off", "--batch_size", "5")
    of_model = ("--no_gates", "--no_transformer", "--frozen_stages", "2", "--trunk", "trunk.pth")
    of_training = (
        "--schedule",
        "constant",
        "--lr",
        "1e-3",
        "--weight_decay",
        "0.1",
        "--gamma",
        "1",
    )
    main([*small, *of_model, *of_training, "--class_weights", "--average", "0.9", "--epochs", "2"])
    last = load_state("checkpoints/last.pth")
    assert not [name for name in last["model"] if "gate" in name or "transformer.blocks" in name]
    given = {name: value for name, value in trunk.items() if name.startswith("backbone.")}
    moved = {n.split(".")[1] for n, value in given.items() if not value.equal(last["model"][n])}
    assert moved == {"layer2", "layer3", "layer4"}  # all but the first two of the trunk
    assert [record["lr"] for record in last["history"]] == [1e-3] * 2
    assert last["optimizer"]["param_groups"][0]["weight_decay"] == 0.1
    assert (last["fingerprint"]["gamma"], last["fingerprint"]["class_weights"]) == (1.0, True)
    assert last["mean"]


@pytest.mark.parametrize(("local", "words"), [("0", "give --num_classes 5"), ("1", "no folder")])
def test_sample_data_are_made_once_on_each_machine(
    tmp_path: Path,
    local: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(distributed, "rank", lambda: 8)  # on another machine than the main one
    monkeypatch.setenv("LOCAL_RANK", local)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main([*TINY, "--create_sample_data", "--num_samples", "5", "--num_classes", "4"])
    assert words in capsys.readouterr().err


@pytest.mark.training
def test_a_fold_is_judged_that_did_not_choose_the_epoch(tmp_path: Path) -> None:
    create_sample_data(tmp_path / "data", 60, image_size=32)
    paths = sorted((tmp_path / "data").rglob("*.png"))
    rows = [f"{p.relative_to(tmp_path)},{p.parent.name},{n % 3}" for n, p in enumerate(paths)]
    (tmp_path / "windows.csv").write_text("\n".join(["path,label,fold", *rows]))
    done = command(
        tmp_path, "--manifest", "windows.csv", "--test_fold", "1", "--epochs", "1", *TINY
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "checkpoints" / "results.json").read_text())
    assert results["test"]["images"] == 20
    assert results["images"] == 10  # a fifth of the 8 of each class that are left
    assert f"macro-F1 {results['test']['f1']:.4f} on the fold 1" in done.stdout
    missing = command(tmp_path, "--manifest", "windows.csv", *TINY)
    assert (missing.returncode, "--test_fold" in missing.stderr) == (2, True)


@pytest.mark.training
def test_results_are_trained_once_and_told_in_a_table(tmp_path: Path) -> None:
    create_sample_data(tmp_path / "data", 40, image_size=32)
    paths = sorted((tmp_path / "data").rglob("*.png"))
    rows = [f"{p.relative_to(tmp_path)},{p.parent.name},{n % 2}" for n, p in enumerate(paths)]
    (tmp_path / "windows.csv").write_text("\n".join(["path,label,fold", *rows]))
    arguments = ["--manifest", "windows.csv", "--settings", "simple", "--epochs", "1"]
    arguments += ["--seeds", "42"]
    said = []
    for _ in range(2):
        done = command(tmp_path, *arguments, "--flags", "--image_size", "32", name="results")
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    folders = [tmp_path / "results" / f"simple-42-{fold}" for fold in (0, 1)]
    scores = [json.loads((f / "results.json").read_text())["test"]["f1"] for f in folders]
    assert f"| small CNN, 128 px | 2 | {np.mean(scores):.3f} |" in said[0]
    assert said[0].count("--test_fold") == 2
    assert "--test_fold" not in said[1]  # nothing was trained again
    assert said[1].strip() in said[0]


def test_a_random_split_has_the_same_images_in_folds_of_the_same_sizes(
    tmp_path: Path, monkeypatch
) -> None:
    commands = pretend_to_train(monkeypatch)
    twelve_windows(tmp_path)
    given, out = str(tmp_path / "windows.csv"), str(tmp_path / "out")
    results.main(["--manifest", given, "--out", out, "--settings", "random_split"])
    (manifest,) = {command[command.index("--manifest") + 1] for command in commands}
    asked, dealt = load_index(given), load_index(manifest)
    assert (dealt.paths, dealt.labels) == (asked.paths, asked.labels)
    assert sorted(dealt.folds) == sorted(asked.folds)
    assert dealt.folds != asked.folds


def test_results_that_cannot_be_had_are_refused_in_one_line(tmp_path: Path, monkeypatch) -> None:
    commands = pretend_to_train(monkeypatch)
    twelve_windows(tmp_path)
    windows = tmp_path / "windows.csv"
    given = ["--settings", "random_split", "--manifest"]
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="file: File exists"):
        results.main([*given, str(windows), "--out", str(tmp_path / "file")])
    windows.write_text("path,label\n0.png,a\n1.png,b\n")
    with pytest.raises(SystemExit, match="no column `fold` or `split`"):
        results.main([*given, str(windows), "--out", str(tmp_path / "out")])
    assert commands == []


def twelve_windows(folder: Path) -> None:
    rows = [f"{n}.png,{'ab'[n % 2]},{n % 3}" for n in range(12)]
    for n in range(12):
        cv2.imwrite(str(folder / f"{n}.png"), np.zeros((32, 32), np.uint8))
    (folder / "windows.csv").write_text("\n".join(["path,label,fold", *rows]))


def pretend_to_train(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Leave made-up results in the place of every training, and note its command."""
    commands: list[list[str]] = []

    def run(command: list[str], **_more: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        if "reference_impl.lunar.trunk" in command:
            asked = trunk.parser().parse_args(command[3:])
            files = files_of(*trunk.loaders_of(asked)) if asked.manifest else {}
            save(Path(asked.out), {"files": files})
        else:
            fold, seed = (int(command[command.index(f) + 1]) for f in ("--test_fold", "--seed"))
            test = {"f1": 0.5 + 0.1 * fold + (seed - 42) / 100, "confusion": [[3, 1], [0, fold]]}
            test["per_class"] = {"a": {"f1": 0.4}, "b": {"f1": 0.6}}
            asked = parser().parse_args(command[3:])
            result = {"test": test, "total_time": 60.0, "files": files_of(*loaders_of(asked))}
            folder = Path(asked.save_dir)
            save_config(result, folder / "results.json")
            save_config(vars(asked), folder / "config.json")
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(results.subprocess, "run", run)
    return commands


def test_a_trunk_is_taught_once_for_all_seeds_and_without_the_windows_of_the_test_fold(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    commands = pretend_to_train(monkeypatch)
    twelve_windows(tmp_path)
    out = str(tmp_path / "out")
    results.main(["--manifest", str(tmp_path / "windows.csv"), "--out", out])
    taught = [command for command in commands if "reference_impl.lunar.trunk" in command]
    assert "--manifest" not in taught[0]
    begun = [[c[c.index(flag) + 1] for flag in ("--start", "--test_fold")] for c in taught[1:]]
    assert begun == [[f"{out}/trunk.pth", fold] for fold in "012"]
    trained = [command for command in commands if "reference_impl.lunar.main" in command]
    assert len(trained) == 6  # three folds, two seeds
    for command in trained:
        fold, trunk = (command[command.index(flag) + 1] for flag in ("--test_fold", "--trunk"))
        assert trunk == f"{out}/trunk-{fold}.pth"
    told = capsys.readouterr().out
    assert "| 6 | 0.605 | 0.100 | 0.007 | a 0.40, b 0.60 | 1 |" in told  # 0.01 / √2 over seeds
    assert "| a | 18 | 6 |\n| b | 0 | 6 |" in told
    results.main(["--manifest", str(tmp_path / "windows.csv"), "--out", out])
    assert capsys.readouterr().out in told
    others = ["--epochs", "40", "--flags", "--gamma", "0"]
    with pytest.raises(SystemExit, match="trained with epochs 12, not 40; gamma 2"):
        results.main(["--manifest", str(tmp_path / "windows.csv"), "--out", out, *others])
    (tmp_path / "out" / "hybrid-43-2" / "results.json").unlink()
    results.main(["--manifest", str(tmp_path / "windows.csv"), "--out", out, "--table"])
    assert "| 5 | 0.584 |" in capsys.readouterr().out
    assert len(commands) == 10  # nothing was trained


def test_results_and_trunks_of_another_manifest_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    commands = pretend_to_train(monkeypatch)
    twelve_windows(tmp_path)
    windows, out = tmp_path / "windows.csv", tmp_path / "out"
    given = ["--manifest", str(windows), "--out", str(out), "--seeds", "42", "--folds", "0"]
    results.main(given)
    old, trained = windows.read_text(), len(commands)
    windows.write_text(old.replace("3.png,b,0", "3.png,b,1").replace("4.png,a,1", "4.png,a,0"))
    for more in ([], ["--table"]):
        with pytest.raises(
            SystemExit, match=r"results\.json was trained with training files \d of"
        ):
            results.main([*given, *more])
    (out / "hybrid-42-0" / "results.json").unlink()
    with pytest.raises(SystemExit, match=r"trunk-0\.pth was trained with training files \d of"):
        results.main(given)
    assert len(commands) == trained  # nothing was trained on the others
    save(out / "trunk-0.pth", {"model": {}})
    results.main(given)
    assert "trunk-0.pth is of an older version" in caplog.text


@pytest.mark.training
def test_a_checkpoint_is_judged_as_it_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_sample_data(tmp_path / "lunar_images", 40, image_size=64)
    monkeypatch.chdir(tmp_path)
    main([*TINY, "--mirror_views", "--average", "0.5", "--epochs", "1", "--batch_size", "4"])
    best = load_state("checkpoints/best.pth")
    trained = model.create_model("simple")
    trained.load_state_dict(best["model"])
    trained.head[1].bias.data -= chances(trained, 32).log().mean(0)  # or all are called the same
    save(Path("checkpoints/best.pth"), best | {"model": trained.state_dict()})
    expected = {
        (): chances(trained, 32).argmax(1),
        ("--image_size", "64"): chances(trained, 64).argmax(1),
    }
    plain = chances(trained, 32, mirrored=False).argmax(1)
    assert len({tuple(each.tolist()) for each in (*expected.values(), plain)}) == 3
    for arguments, guesses in expected.items():
        judge = ("--evaluate", "checkpoints/best.pth", "--save_dir", "judged")
        main([*judge, "--num_workers", "0", *arguments])
        found = json.loads(Path("judged", "results.json").read_text())
        labels = load_index("lunar_images").labels
        assert found["confusion"] == confusion_matrix(labels, guesses, labels=range(5)).tolist()


@torch.no_grad()
def chances(trained: nn.Module, size: int, *, mirrored: bool = True) -> Tensor:
    """Return what a model makes of all images of the folder, by hand: images×classes."""
    index = load_index("lunar_images")
    images = np.stack([to_channels(resize(read_image(path), size)) for path in index.paths])
    views = [images]
    if mirrored:
        views += [images[:, :, ::-1], images[..., ::-1], images[:, :, ::-1, ::-1]]
    trained.eval()
    each = [trained(torch.from_numpy(view.copy())).softmax(1) for view in views]
    return torch.stack(each).mean(0)
