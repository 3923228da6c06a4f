"""What each test of a contract found, as data: one JSON line per test, whatever became of it."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Generator, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from promptqueue.verify.candidate import Candidate, CandidateError
from promptqueue.verify.lint import one_line
from promptqueue.verify.report import Check, Gate
from promptqueue.verify.snapshot import Copy

NOTES = pytest.StashKey[list[str]]()
"""Of a test: what it measured."""
CANDIDATE = pytest.StashKey[Candidate]()
COPY = pytest.StashKey[Copy]()
_WAITING = pytest.StashKey[dict[str, pytest.Item]]()
"""Of the configuration: the tests that have not run yet."""
_VARYING = re.compile(r" at 0x[0-9a-f]+|(?<=\btmp)[a-z0-9_]{8}\b")
"""Addresses and names of temporary files differ from run to run; the same code and seed give the
same report, and one cause the same words."""
_FRAME = re.compile(
    r'^ +File "(?P<file>[^"\n]+)", line (?P<line>\d{1,6})\b', re.MULTILINE | re.ASCII
)
_DEEPEST = 20
"""Folders in folders of the code; judged programs may print any path."""
_IMPORT = re.compile(r"\s*(?:from|import)\s")
_EVIDENCE_CAP = 2000
_OUTCOMES = {"passed": "passed", "failed": "failed", "skipped": "skipped"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Remember all tests, before -k leaves some out, and keep what was asked for.

    Of requirements, that is what guards them, whatever its gate; and of the gates that are named,
    all that is no part of the contract.
    """
    gates, asked = config.getoption("--gate"), set(config.getoption("--requirement"))
    items[:] = [item for item in items if not gates or _gate_of(item) in gates]
    config.stash[_WAITING] = {item.nodeid: item for item in items}
    if asked:
        whole = {*gates} - {"contract"}
        items[:] = [
            item for item in items
            if _gate_of(item) in whole or asked & {*_requirements_of(item)}
        ]  # fmt: skip


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell which tests did not run: what they guard is not verified, whatever others say of it."""
    for item in session.config.stash.get(_WAITING, {}).values():
        write_finding(session.config, asdict(_described(item, "skipped", "not run")))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    # what fails in a teardown fails the test, too: it is told once more
    if call.when == "call" or not report.passed:
        item.config.stash[_WAITING].pop(item.nodeid, None)
        write_finding(item.config, asdict(_check(item, call, report)))
    return report


def _check(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> Check:
    notes, error = item.stash.get(NOTES, []), call.excinfo.value if call.excinfo else None
    outcome = _OUTCOMES[report.outcome]
    if outcome == "failed" and not isinstance(error, AssertionError):
        outcome = "error"  # a fault of the check or its fixtures, not a verdict on the code
    told = str(error).strip() if error is not None else ""
    line = next((each for each in told.splitlines() if each.strip()), type(error).__name__)
    if outcome in ("error", "skipped"):
        notes = [f"{type(error).__name__}: {line}" if outcome == "error" else f"skipped: {line}"]
    elif error is not None and (isinstance(error, CandidateError) or not notes):
        notes = [line]
    reached = _take_reached(item.config)
    unanswered = isinstance(error, CandidateError)
    at = error.at or error.about if isinstance(error, CandidateError) else ""
    if outcome == "failed" and not unanswered:  # where no answer came, nobody knows the line
        at = _place(item, reached)
    evidence = one_line(_VARYING.sub("", next(iter(notes), "")), _EVIDENCE_CAP)
    detail = "" if unanswered else _plain_lines(_VARYING.sub("", report.longreprtext))
    told_lines = tuple(
        f"{one_line(path)}:{ranges(lines)}" for path, lines in sorted(reached.items())
    )
    described = _described(item, outcome, evidence)
    return replace(described, at=at, detail=detail, reached=told_lines, unanswered=unanswered)


def _plain_lines(text: str) -> str:
    """Return foreign words without what would move a cursor or break a file's encoding."""
    plain = (c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
    return "".join(plain)


def last_place(printed: str, folder: Path) -> str:
    """Return the last line of the code that a program's traceback names, as file:line, or ""."""
    for frame in reversed([*_FRAME.finditer(printed)]):
        parts = Path(frame["file"]).parts[1:][-_DEEPEST:]
        for start in range(len(parts)):
            path = Path(*parts[start:])
            with contextlib.suppress(OSError):  # no file can have such a name
                if ".." not in parts and (folder / path).is_file():
                    return f"{path}:{frame['line']}"
    return ""


def _take_reached(config: pytest.Config) -> dict[str, set[int]]:
    """Return what the test's questions reached, and begin anew for the next test."""
    candidate = config.stash.get(CANDIDATE, None)
    if candidate is None:
        return {}
    reached, candidate.reached = candidate.reached, {}
    return reached


def _place(item: pytest.Item, reached: Mapping[str, set[int]]) -> str:
    """Return the line where the program stopped, if the test is about its run, or else the line
    that the test is about: the first that fits, of those that ran if one did. An import that fits
    says only that another file does it.
    """
    stopped = getattr(getattr(item, "funcargs", {}).get("pipeline"), "at", "")
    if stopped:
        return str(stopped)
    about, copy = item.get_closest_marker("about"), item.config.stash.get(COPY, None)
    if about is None or copy is None or not (copy.folder / about.args[0]).exists():
        return ""
    path, pattern = about.args[0], re.compile(about.args[1] if len(about.args) > 1 else r"$^")
    text = (copy.folder / path).read_text("utf-8")
    lines = enumerate(text.splitlines(), 1)
    fitting = [n for n, line in lines if pattern.search(line) and not _IMPORT.match(line)]
    ran = [number for number in fitting if number in reached.get(path, ())]
    return f"{path}:{(ran or fitting)[0]}" if fitting else path


def _gate_of(item: pytest.Item) -> Gate:
    marker = item.get_closest_marker("gate")
    return marker.args[0] if marker else "contract"


def _requirements_of(item: pytest.Item) -> tuple[str, ...]:
    markers = [*item.iter_markers("requirement")]
    return tuple(str(marker.args[0]) for marker in reversed(markers))


def _described(item: pytest.Item, outcome: str, evidence: str) -> Check:
    markers = [*item.iter_markers("requirement")]
    return Check(
        name=f"{item.path.name}::{item.name}",
        requirements=_requirements_of(item),
        grade=markers[0].kwargs.get("grade", "outcome") if markers else "outcome",
        outcome=outcome,  # type: ignore[arg-type]
        evidence=evidence,
        gate=_gate_of(item),
        hidden=any(marker.kwargs.get("visibility") == "hidden" for marker in markers),
    )


def ranges(numbers: Iterable[int]) -> str:
    """Return numbers as `3-7,9`."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def write_finding(config: pytest.Config, entry: Mapping[str, Any]) -> None:
    path = config.getoption("--findings")
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
