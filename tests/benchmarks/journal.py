"""The journal: fsyncs of a call, loading of a long one, and memory over the length of a run."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.measure import PAIRS, PYTHON, run_child
from tests.benchmarks.replies import prompt, reply
from tests.benchmarks.report import Figure

_SHORT, _LONG = 40, 400
_EVENTS = 10_000
_TALK = 10
"""Steps of the conversation that a long journal is made of: its requests have 2 to 20 messages."""


def figures() -> Iterator[Figure]:
    """Measure all three; nothing here but loading depends on the speed of the machine."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        yield _syncs(folder)
        yield from _loading(folder)
        yield _memory(folder)


def _syncs(folder: Path) -> Figure:
    short = _child("run", folder / "short", steps=4)
    long = _child("run", folder / "long", steps=_SHORT)
    a_call = (long["fsyncs"] - short["fsyncs"]) / (long["calls"] - short["calls"])
    fixed = short["fsyncs"] - a_call * short["calls"]
    how = f"{long['fsyncs']} in {long['calls']} calls; {fixed:.0f} of them for the run itself"
    return Figure("fsyncs of a call", a_call, 2, unit="", how=how)


def _loading(folder: Path) -> Iterator[Figure]:
    grown = _child("grow", folder / "journal", steps=_TALK, context="all", events=_EVENTS)
    loads = [_child("load", Path(grown["run"])) for _ in range(PAIRS)]
    answers = loads[0]["answers"]
    how = f"{_EVENTS:,} events, {answers:,} answers, {grown['bytes'] / 1e6:.1f} MB; {PAIRS} runs"
    for name, key in (("reading and folding", "load_s"), ("all that resume reads of", "resume_s")):
        yield Figure(f"{name} 10,000 events", median(load[key] for load in loads), 1.0, "s", how)


def _memory(folder: Path) -> Figure:
    """Compare what a step more costs with what its own conversation takes."""
    peaks = [_child("peak", folder / f"peak{n}", steps=n)["peak"] for n in (_SHORT, _LONG)]
    a_step = (peaks[1] - peaks[0]) / (_LONG - _SHORT)
    conversation = len(prompt(1)) + len(reply(1))
    how = (
        f"{a_step:,.0f} bytes against {conversation:,} of its prompt and reply; "
        f"peak {peaks[0] / 1e6:.2f} MB at {_SHORT} steps, {peaks[1] / 1e6:.2f} MB at {_LONG}"
    )
    return Figure("memory of one more step", a_step / conversation, 0.25, how=how)


def _child(act: str, folder: Path, **options: object) -> dict[str, Any]:
    flags = [f"--{name}={value}" for name, value in options.items()]
    command = [PYTHON, "-m", "tests.benchmarks.journal_child", act, str(folder), *flags]
    result: dict[str, Any] = json.loads(run_child(command).output)
    return result
