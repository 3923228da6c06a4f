"""All trainings behind the model card's table, one after the other; stop it and start it again.

`python -m reference_impl.lunar.results --manifest windows.csv --out results` trains every setting
on every fold, skips what has its results.json already, goes on where a training was stopped, and
prints the table from what is there.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from reference_impl.lunar.index import DataError, load_index
from reference_impl.lunar.utils import load_config

_CHEAP = ("--output_stride", "32", "--image_size", "128", "--batch_size", "16", "--cache")
_TRUNK = (*_CHEAP, "--frozen_stages", "0", "--lr", "3e-4", "--schedule", "cosine")


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table."""

    words: str
    flags: tuple[str, ...]
    trunk: tuple[str, ...] = ()
    """Flags of a training before, whose backbone is taken over and then frozen."""


SETTINGS: Mapping[str, Setting] = {
    "simple": Setting(
        "small CNN, 128 px",
        ("--model_type", "simple", *_CHEAP, "--lr", "1e-3", "--schedule", "cosine"),
    ),
    "article": Setting("hybrid as in the article, random trunk frozen", _CHEAP),
    "trunk": Setting(
        "hybrid, trunk trained on the same windows, then frozen",
        (*_CHEAP, "--lr", "3e-4", "--schedule", "cosine"),
        trunk=_TRUNK,
    ),
    "cross_entropy": Setting("the same, cross-entropy", (*_CHEAP, "--gamma", "0"), trunk=_TRUNK),
    "no_gates": Setting("the same, plain skips", (*_CHEAP, "--no_gates"), trunk=_TRUNK),
    "no_transformer": Setting(
        "the same, no transformer", (*_CHEAP, "--no_transformer"), trunk=_TRUNK
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m reference_impl.lunar.results")
    add = parser.add_argument
    add("--manifest", required=True, help="CSV or JSONL with path, label and fold")
    add("--out", default="results", help="a folder per training")
    add("--settings", nargs="+", choices=tuple(SETTINGS), default=["simple", "article", "trunk"])
    add("--seeds", nargs="+", type=int, default=[42])
    add("--folds", nargs="+", help="those to judge on; all, if left out")
    add("--epochs", type=int, default=30)
    add("--flags", nargs=argparse.REMAINDER, default=[], help="for every training; the last one")
    options = parser.parse_args(arguments)
    try:
        folds = options.folds or sorted(set(load_index(options.manifest).folds))
    except DataError as error:
        sys.exit(f"error: {error}")
    found: dict[str, list[dict[str, Any]]] = {}
    for name, seed, fold in itertools.product(options.settings, options.seeds, folds):
        result = _trained(options, name, seed, fold)
        found.setdefault(name, []).append(result)
    print("\n".join(table(found)))  # noqa: T201


def table(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    """Yield the lines of a Markdown table: macro-F1 on the test folds, over folds and seeds."""
    yield "| setting | trainings | macro-F1 | spread | F1 of each class | minutes each |"
    yield "|---|---|---|---|---|---|"
    for name, results in found.items():
        scores = [result["test"]["f1"] for result in results]
        classes = results[0]["test"]["per_class"]
        each = ", ".join(
            f"{label} {mean(r['test']['per_class'][label]['f1'] for r in results):.2f}"
            for label in classes
        )
        spread = f"{stdev(scores):.3f}" if len(scores) > 1 else ""
        minutes = mean(result["total_time"] for result in results) / 60
        cells = (SETTINGS[name].words, len(scores), f"{mean(scores):.3f}", spread, each)
        yield f"| {' | '.join(map(str, cells))} | {minutes:.0f} |"


def _trained(options: argparse.Namespace, name: str, seed: int, fold: str) -> dict[str, Any]:
    setting, out = SETTINGS[name], Path(options.out)
    common = ["--manifest", options.manifest, "--test_fold", fold, "--seed", str(seed)]
    common += ["--epochs", str(options.epochs), "--resume"]
    flags = [*setting.flags]
    if setting.trunk:
        before = out / f"trunk-for-others-{seed}-{fold}"  # the same for all settings
        _run(before, [*common, *setting.trunk, *options.flags])
        flags += ["--trunk", str(before / "best.pth")]
    folder = out / f"{name}-{seed}-{fold}"
    _run(folder, [*common, *flags, *options.flags])
    return load_config(folder / "results.json")


def _run(folder: Path, flags: Sequence[str]) -> None:
    """Train in a process of its own, unless it was done before."""
    if (folder / "results.json").exists():
        return
    print(f"{folder.name}: {' '.join(flags)}", flush=True)  # noqa: T201
    command = [sys.executable, "-m", "reference_impl.lunar.main", "--save_dir", str(folder)]
    if subprocess.run([*command, *flags], check=False).returncode:
        sys.exit(f"error: {folder.name} could not be trained; its message stands above")


if __name__ == "__main__":
    main()
