"""Start-up: CPU time of commands that ask nobody, against the import of typer and rich alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.benchmarks.measure import PROMPTQUEUE, PYTHON, interleave, ratio_of, run_child
from tests.benchmarks.report import Figure

_BASE = (PYTHON, "-c", "import typer, rich")
_BOUNDS = {("--help",): 2.0, ("check", "prompts/lunar.yaml"): 3.5}
_PAIRS = 15
"""More than elsewhere: a pair takes a third of a second, and short runs scatter most."""


def figures() -> Iterator[Figure]:
    """Measure each command."""
    for arguments, bound in _BOUNDS.items():
        yield _figure(arguments, bound)


def _figure(arguments: Sequence[str], bound: float) -> Figure:
    pairs = interleave(
        lambda: _cpu_s(PROMPTQUEUE, *arguments), lambda: _cpu_s(*_BASE), pairs=_PAIRS
    )
    ratio = ratio_of(pairs)
    name = f"CPU of promptqueue {' '.join(arguments)}"
    return Figure(name, ratio.value, bound, how=ratio.told("ms", 1e3))


def _cpu_s(*command: str) -> float:
    return run_child(command).cpu_s
