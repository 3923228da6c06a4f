"""All trainings behind the model card's table, one after the other; stop it and start it again.

`python -m reference_impl.lunar.results --manifest windows.csv --out results` trains every setting
on every fold, skips what has its results.json already, goes on where a training was stopped, and
prints the table from what is there. Results and trunks of other settings or images are refused,
not taken.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from torch.utils.data import DataLoader

from reference_impl.lunar import trunk
from reference_impl.lunar.checkpoints import load_state
from reference_impl.lunar.index import DataError, load_index
from reference_impl.lunar.main import loaders_of, parse_flags
from reference_impl.lunar.manifest import manifest_rows, write_manifest
from reference_impl.lunar.preprocessing import files_of
from reference_impl.lunar.utils import load_config

log = logging.getLogger(__name__)

_SMALL = ("--output_stride", "32", "--image_size", "64", "--cache")
_STEADY = ("--average", "0.97", "--mirror_views", "--class_weights", "--val_split", "0.1")
_HYBRID = (
    *(*_SMALL, *_STEADY, "--batch_size", "32", "--weight_decay", "0.05"),
    *("--lr", "7e-4", "--schedule", "cosine"),
)

_PLACES = frozenset({"data_dir", "save_dir", "manifest", "trunk", "config", "num_workers"})
"""Settings that may change without another result."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table."""

    words: str
    flags: tuple[str, ...]
    epochs: int
    taught: bool = False
    """Take over a trunk that was taught without labels, and freeze it."""
    scattered: bool = False
    """Deal the folds out anew, at random: neighbours of what is judged are trained on then."""


_SIMPLE = (
    *("--model_type", "simple", "--image_size", "128", "--cache", *_STEADY),
    *("--batch_size", "16", "--lr", "1e-3", "--schedule", "cosine"),
)

SETTINGS: Mapping[str, Setting] = {
    "hybrid": Setting("hybrid, trunk taught without labels", _HYBRID, 12, taught=True),
    "article": Setting("the article's values at 64 px, stride 32", _SMALL, 3),
    "simple": Setting("small CNN, 128 px", _SIMPLE, 30),
    "short": Setting("hybrid, 3 epochs", _HYBRID, 3, taught=True),
    "cross_entropy": Setting("… cross-entropy", (*_HYBRID, "--gamma", "0"), 3, taught=True),
    "no_gates": Setting("… plain skips", (*_HYBRID, "--no_gates"), 3, taught=True),
    "no_transformer": Setting("… no transformer", (*_HYBRID, "--no_transformer"), 3, taught=True),
    "stride_16": Setting("… stride 16", (*_HYBRID, "--output_stride", "16"), 3, taught=True),
    "random_trunk": Setting("… random trunk", _HYBRID, 3),
    "small": Setting("small CNN, 128 px, 5 epochs", _SIMPLE, 5),
    "no_high_pass": Setting("… no high-pass views", (*_SIMPLE, "--no_high_pass"), 5),
    "random_split": Setting("… random instead of longitude split", _SIMPLE, 5, scattered=True),
}
"""A row with … differs in this from the last one without; such rows are short, to compare only."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m reference_impl.lunar.results")
    add = parser.add_argument
    add("--manifest", required=True, help="CSV or JSONL with path, label and fold")
    add("--out", default="results", help="a folder per training")
    add("--settings", nargs="+", choices=tuple(SETTINGS), default=["hybrid"])
    add("--seeds", nargs="+", type=int, default=[42, 43])
    add("--folds", nargs="+", help="those to judge on; all, if left out")
    add("--table", action="store_true", help="train nothing, show what is there")
    add("--epochs", type=int, help="other than the setting's own")
    add("--flags", nargs=argparse.REMAINDER, default=[], help="for every training; the last one")
    options = parser.parse_args(arguments)
    try:
        found = _results(options, options.folds or _folds(options.manifest))
    except ValueError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error.filename or options.out}: {error.strerror or error}")
    print("\n".join(table(found)))  # noqa: T201


def _folds(manifest: str) -> list[str]:
    folds = sorted(set(load_index(manifest).folds))
    if not folds:
        raise DataError(f"{manifest} has no column `fold` or `split`, so there is none to judge on")
    return folds


def _results(options: argparse.Namespace, folds: Sequence[str]) -> dict[str, list[Result]]:
    """Return what all trainings of each setting have brought; make those that are missing."""
    found: dict[str, list[Result]] = {}
    for name, seed, fold in itertools.product(options.settings, options.seeds, folds):
        results = _folder(options, name, seed, fold) / "results.json"
        if results.exists():
            _refuse_others(results, _flags(options, name, seed, fold))
        elif options.table:
            continue
        else:
            _train(options, name, seed, fold)
        trained = load_config(results)
        found.setdefault(name, []).append(
            Result(seed, fold, trained["test"], trained["total_time"] / 60)
        )
    return found


@dataclass(frozen=True, slots=True)
class Result:
    """What one training has brought."""

    seed: int
    fold: str
    """The one that was judged on."""
    test: Mapping[str, Any]
    """f1, per_class and confusion, as in results.json."""
    minutes: float


def table(found: Mapping[str, Sequence[Result]]) -> Iterator[str]:
    """Yield the lines of two Markdown tables: macro-F1 on the test folds, and what is confused."""
    yield (
        "| setting | trainings | macro-F1 | ± over folds | ± over seeds | F1 of each class "
        "| minutes each |"
    )
    yield "|---|---|---|---|---|---|---|"
    for name, results in found.items():
        each = ", ".join(
            f"{label} {mean(r.test['per_class'][label]['f1'] for r in results):.2f}"
            for label in results[0].test["per_class"]
        )
        cells = (
            SETTINGS[name].words,
            len(results),
            f"{mean(r.test['f1'] for r in results):.3f}",
            _between(results, "fold"),
            _between(results, "seed"),
            each,
            f"{mean(r.minutes for r in results):.0f}",
        )
        yield f"| {' | '.join(map(str, cells))} |"
    for name, results in found.items():
        yield from _confusion(SETTINGS[name].words, results)


def _between(results: Sequence[Result], what: str) -> str:
    """Return the standard deviation of the mean macro-F1 of each fold, or of each seed."""
    groups: dict[Any, list[float]] = {}
    for result in results:
        groups.setdefault(getattr(result, what), []).append(result.test["f1"])
    means = [mean(scores) for scores in groups.values()]
    return f"{stdev(means):.3f}" if len(means) > 1 else ""


def _confusion(words: str, results: Sequence[Result]) -> Iterator[str]:
    """Yield the sum of all confusion matrices: rows are true classes, columns answers."""
    classes = list(results[0].test["per_class"])
    yield f"\n| {words} | {' | '.join(classes)} |"
    yield f"|{'---|' * (len(classes) + 1)}"
    for row, label in enumerate(classes):
        rows = zip(*(result.test["confusion"][row] for result in results), strict=True)
        sums = [sum(counts) for counts in rows]
        yield f"| {label} | {' | '.join(map(str, sums))} |"


def _folder(options: argparse.Namespace, name: str, seed: int, fold: str) -> Path:
    return Path(options.out) / f"{name}-{seed}-{fold}"


def _flags(options: argparse.Namespace, name: str, seed: int, fold: str) -> list[str]:
    """Return the command line of a training."""
    setting, out = SETTINGS[name], Path(options.out)
    manifest = _scattered(options.manifest, out) if setting.scattered else options.manifest
    flags = ["--save_dir", str(_folder(options, name, seed, fold)), "--manifest", manifest]
    flags += ["--test_fold", fold, "--seed", str(seed), "--resume"]
    flags += ["--epochs", str(options.epochs or setting.epochs), *setting.flags]
    if setting.taught:
        flags += ["--trunk", str(out / f"trunk-{fold}.pth")]
    return [*flags, *options.flags]


def _train(options: argparse.Namespace, name: str, seed: int, fold: str) -> None:
    """Leave the results of a training in its folder."""
    if SETTINGS[name].taught:
        _teach(Path(options.out), options.manifest, fold)
    _run("main", _flags(options, name, seed, fold))


def _refuse_others(results: Path, flags: Sequence[str]) -> None:
    """Take results for those of the flags only if they are.

    Raises:
        ValueError: they are of other settings or images, or nobody knows of which.
    """
    options = parse_flags(flags)
    asked = {name: value for name, value in vars(options).items() if name not in _PLACES}
    _compare(results.parent, load_config(results.parent / "config.json"), asked)
    _compare_files(results, load_config(results), loaders_of(options))


def _compare_files(
    path: Path, found: Mapping[str, Any], loaders: Sequence[DataLoader[Any]]
) -> None:
    """Raise ValueError if what was found in a file is of other images than those of the loaders."""
    if "files" not in found:
        log.warning(
            "%s is of an older version and does not name its images: it is right only if the "
            "manifest is the same now",
            path,
        )
    _compare(path, found.get("files", {}), files_of(*loaders))


def _compare(path: Path, found: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Raise ValueError if something is not as asked."""
    other = [
        f"{name} {found[name]}, not {value}"
        for name, value in asked.items()
        if found.get(name, value) != value
    ]
    if other:
        raise ValueError(
            f"{path} was trained with {'; '.join(other)}: ask for what it was trained with, or "
            "name another folder with --out"
        )


def _scattered(manifest: str, out: Path) -> str:
    """Return a manifest of the same images whose folds are dealt out anew, at random."""
    path, rows = out / "random_split.csv", list(manifest_rows(Path(manifest)))
    folds = [row.fold for row in rows]
    random.Random(0).shuffle(folds)  # noqa: S311 - nothing is secret
    write_manifest((replace(row, fold=f) for row, f in zip(rows, folds, strict=True)), path)
    return str(path)


def _teach(out: Path, manifest: str, fold: str) -> None:
    """Make the trunk for one test fold: taught on samples, then on the windows of the others.

    Raises:
        ValueError: there is one that was taught on other windows.
    """
    first, taught = out / "trunk.pth", out / f"trunk-{fold}.pth"
    if not first.exists():
        _run("trunk", ["--out", str(first), "--samples", str(out / "trunk_samples")])
    flags = ["--out", str(taught), "--start", str(first), "--manifest", manifest]
    flags += ["--test_fold", fold, "--epochs", "5", "--lr", "1e-3"]
    if taught.exists():
        loaders = trunk.loaders_of(trunk.parser().parse_args(flags))
        _compare_files(taught, load_state(taught), loaders)
    else:
        _run("trunk", flags)


def _run(module: str, flags: Sequence[str]) -> None:
    """Train in a process of its own."""
    command = [sys.executable, "-m", f"reference_impl.lunar.{module}", *flags]
    print(" ".join(["python", *command[1:]]), flush=True)  # noqa: T201
    if subprocess.run(command, check=False).returncode:
        sys.exit(f"error: {flags[1]} could not be trained; its message stands above")


if __name__ == "__main__":
    main()
