"""Run children side by side and count what they cost; ratios of pairs, never single figures."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypeVar

ROOT = Path(__file__).parents[2]
PYTHON = sys.executable
PROMPTQUEUE = str(Path(sys.executable).with_name("promptqueue"))
PAIRS = 7
_LAUNCH = str(Path(__file__).with_name("launch.py"))

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Spent:
    """What one child cost, and what it printed."""

    cpu_s: float
    """User and system time of the child and of all its descendants that it waited for."""
    wall_s: float
    output: str
    peak_mib: float
    """The most memory that it held at a time (resident)."""


def run_child(
    command: Sequence[str], *, cwd: Path = ROOT, accepted: Collection[int] = (0,)
) -> Spent:
    """Run a command to its end.

    Raises:
        RuntimeError: its exit code is not accepted; a benchmark of an error would be very fast.
    """
    with tempfile.NamedTemporaryFile("r") as told:
        done = subprocess.run(
            [PYTHON, "-I", "-S", _LAUNCH, told.name, *command],
            cwd=cwd,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        spent = json.loads(told.read() or '{"code": "no process"}')
    code = spent.pop("code")
    if code not in accepted:
        shown = f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
        raise RuntimeError(f"{' '.join(command)} ended with {code}:\n{shown}")
    return Spent(output=done.stdout, **spent)


def clean_environment() -> dict[str, str]:
    """Return the environment without what would change the figures.

    Bytecode is written and found on both sides, and no configuration or key of the user counts.
    """
    strangers = ("PYTHON", "OPENAI_", "PROMPTQUEUE_MODEL", "PROMPTQUEUE_CONFIG", "XDG_CONFIG_HOME")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(strangers)}
    return kept | {"PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": "/nonexistent"}


def interleave(
    first: Callable[[], A], second: Callable[[], B], *, pairs: int = PAIRS, warm: bool = True
) -> list[tuple[A, B]]:
    """Measure A B A B …, so that whatever else the machine does meets both.

    Args:
        first: one measurement of the one side.
        second: one of the other.
        pairs: how many of each.
        warm: run both once before, uncounted: files and bytecode are cached then.
    """
    if warm:
        first()
        second()
    return [(first(), second()) for _ in range(pairs)]


@dataclass(frozen=True, slots=True)
class Ratio:
    """How much more the first of each pair took."""

    value: float
    """Median of the ratios of all pairs."""
    low: float
    high: float
    first: float
    """Median of the first side."""
    second: float
    pairs: int

    def told(self, unit: str, scale: float = 1.0, digits: int = 0) -> str:
        """Say both medians, and how far the pairs differ."""
        first, second = (f"{scale * x:.{digits}f}" for x in (self.first, self.second))
        spread = f"{self.pairs} pairs, {self.low:.2f} to {self.high:.2f}"
        return f"{first} against {second} {unit}; {spread}"


def ratio_of(pairs: Sequence[tuple[float, float]]) -> Ratio:
    """Compare the two sides of all pairs."""
    ratios = [first / second for first, second in pairs]
    firsts, seconds = zip(*pairs, strict=True)
    return Ratio(
        value=median(ratios),
        low=min(ratios),
        high=max(ratios),
        first=median(firsts),
        second=median(seconds),
        pairs=len(pairs),
    )


class Neighbours:
    """Tells how busy other processes keep the machine (Linux; elsewhere it does not know)."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._busy = _busy_s()
        self._own = _own_s()

    def cores(self) -> float | None:
        """Return how many cores the others used since the beginning, on average.

        Own children count as own once they have ended.
        """
        busy = _busy_s()
        if busy is None or self._busy is None:
            return None
        others = busy - self._busy - (_own_s() - self._own)
        return max(0.0, others / (time.monotonic() - self._begin))


def _busy_s() -> float | None:
    """Return the seconds that all cores have worked since the start of the machine."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return None
    user, nice, system, _idle, _iowait, irq, softirq = map(int, fields[:7])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def _own_s() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
