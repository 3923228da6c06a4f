"""What a benchmark says: figures with their bounds as a table, and on what they were taken."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from tests.benchmarks.measure import ROOT

_PACKAGES = ("openai", "httpx2", "pydantic", "typer", "rich", "jinja2", "pyyaml", "xllamacpp")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure; a smaller one is always the better one."""

    name: str
    measured: float
    bound: float | None
    """None for what is only good to know."""
    unit: str = "×"
    how: str = ""

    @property
    def over(self) -> bool:
        """Tell whether the bound is passed."""
        return self.bound is not None and self.measured > self.bound

    def cells(self) -> tuple[str, ...]:
        """Return the row of the table."""
        bound = "" if self.bound is None else f"≤ {_shown(self.bound, self.unit)}"
        verdict = "" if self.bound is None else ("over" if self.over else "ok")
        return (self.name, _shown(self.measured, self.unit), bound, verdict, self.how)


def table(figures: Iterable[Figure]) -> str:
    """Return the figures as an aligned Markdown table."""
    head = ("figure", "measured", "bound", "", "how")
    rows = [head, *(figure.cells() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head) - 1)]
    lines = [_line(row, widths) for row in rows]
    rule = "|".join("-" * (width + 2) for width in [*widths, 3])
    return "\n".join([lines[0], f"|{rule}|", *lines[1:]])


def setting() -> str:
    """Return the machine, the versions and the date that the figures hold for."""
    versions = ", ".join(f"{name} {version}" for name in _PACKAGES if (version := _version(name)))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return "\n".join(
        [
            f"machine: {_cpu_model()}, {cores} cores; {platform.platform()}",
            f"python {platform.python_version()}; {versions}; promptqueue {_revision()}",
            f"date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        ]
    )


def neighbours_line(group: str, cores: float | None) -> str:
    """Say how busy other processes kept the machine during a group."""
    if cores is None:
        return f"{group}: the load of other processes is not known here"
    note = "" if cores < 0.1 else "; not idle, so trust the ratios, not the times"
    return f"{group}: other processes used {cores:.2f} cores meanwhile{note}"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
    return f"| {' | '.join([*cells, row[-1]])} |"


def _shown(value: float, unit: str) -> str:
    number = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{number} {unit}".strip()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _revision() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or _version("promptqueue-conveyor")
