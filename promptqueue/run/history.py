"""What a run brought, read from its journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from promptqueue.queue.model import Queue, StepResult
from promptqueue.run.journal import Record, RunDirectory
from promptqueue.run.stored import StoredFiles, StoredTurns

Outcomes = dict[str, list[tuple[str, ...]]]
"""Step to its entries in order; the first text of each says what it is."""
_Turns = list[tuple[str, str]]
"""Digests of prompt and reply of each."""
_RESTARTS = ("edit", "retry", "skip")
"""Decisions after which the turns so far are no part of the step's conversation."""
_REOPENS = (*_RESTARTS, "change", "correct")
"""Decisions after which what was judged before stands no longer."""


def step_results(queue: Queue, directory: RunDirectory) -> dict[str, StepResult]:
    """Return the result of every step of `queue` that the run has answers of.

    Of a file that a step did not bring, or not as good as an earlier one, that one's is its text.

    Raises:
        StorageError: the journal is damaged.
    """
    found, results = _results(directory), dict[str, StepResult]()
    latest: dict[str, str] = {}
    for step in queue.steps:
        if step.id in found:
            turns, files = found[step.id]
            latest |= files
            left = {path: latest[path] for path in step.paths() if path in latest}
            results[step.id] = _result(directory, step.id, turns, left)
    return results


def result_of(directory: RunDirectory, key: str) -> StepResult | None:
    """Return the result of the step that asked the question of this key, whatever its name."""
    asked = (r for r in directory.records() if r["event"] == "call.started" and r["key"] == key)
    record = next(asked, None)
    found = _results(directory).get(record["step"]) if record else None
    return _result(directory, record["step"], *found) if record and found else None


def _result(
    directory: RunDirectory, name: str, turns: _Turns, files: Mapping[str, str]
) -> StepResult:
    return StepResult(
        name, StoredTurns(directory.blobs, turns), StoredFiles(directory.blobs, files)
    )


def _results(  # noqa: C901 - one line per kind of event
    directory: RunDirectory,
) -> dict[str, tuple[_Turns, dict[str, str]]]:
    """Return step to the digests of its turns, and of the files that it wrote."""
    turns: dict[str, _Turns] = {}
    best: dict[str, _Turns] = {}  # what led to the version that was judged best
    files: dict[str, dict[str, str]] = {}
    answers: dict[str, str] = {}
    decided: dict[str, str] = {}  # key of a reply to what the user wanted instead
    step = key = prompt = ""
    for record in directory.records():
        event: str = record["event"]
        if event == "step.started":
            turns[record["step"]], files[record["step"]] = [], {}
            best.pop(record["step"], None)
        elif event == "call.started":
            step, key, prompt = record["step"], record["key"], record["messages"][-1][1]
        elif event == "call.finished":
            answers[key] = record["text"]
        elif event == "modules.extracted":
            restarts = decided.get(key) in _RESTARTS
            turns[step] = [] if restarts else [*turns[step], (prompt, answers[key])]
        elif event == "step.judged":
            if record["standing"]:
                best[step] = turns[step]
            turns[step] = best[step]
            if key in decided:
                del best[step]
        elif event == "step.steered" and record["action"] in _REOPENS:
            decided[record["key"]] = record["action"]
            best.pop(record["step"], None)
            if record["action"] in _RESTARTS:
                turns[record["step"]] = []
        elif event == "file.written":
            files[step][record["path"]] = record["digest"]
        elif event == "step.refining" and record["fresh"]:
            turns[step] = []
    return {name: (asked, files[name]) for name, asked in (turns | best).items() if asked}


@dataclass(frozen=True, slots=True)
class Question:
    """A request of a run, as its journal knows it."""

    key: str
    turn: int


def last_question(directory: RunDirectory, step: str) -> Question:
    """Return the last request of a step; there must be one."""
    found = None
    for record in directory.records():
        if record["event"] == "call.started" and record["step"] == step:
            found = Question(record["key"], record["turn"])
    assert found is not None
    return found


def prompts_asked(directory: RunDirectory) -> dict[str, str]:
    """Return the digest of the messages that each step was last begun with."""
    records = directory.records()
    return {r["step"]: r["digest"] for r in records if r["event"] == "step.started"}


def stale_since_correction(directory: RunDirectory) -> tuple[str, ...]:
    """Return the steps that wait to be asked again since an earlier one was corrected."""
    stale: tuple[str, ...] = ()
    for record in directory.records():
        if record["event"] == "steps.stale":
            stale = tuple(record["stale"])
        elif record["event"] == "run.finished":
            stale = ()
    return stale


def models_asked(directory: RunDirectory) -> dict[str, str]:
    """Return the model that each step was last begun with; a refinement may ask another one."""
    asked = (r for r in directory.records() if r["event"] == "call.started" and not r["turn"])
    return {record["step"]: record["model"] for record in asked}


def was_judged(directory: RunDirectory) -> bool:
    """Tell whether steps were judged when they landed, the last time that the run was at work."""
    return bool(_latest_start(directory).get("judged"))


def sources_of(directory: RunDirectory) -> str:
    """Return the digest of the sources that the run was last at work with, or nothing."""
    return str(_latest_start(directory).get("sources", ""))


def _latest_start(directory: RunDirectory) -> Record:
    """Return the record of when the run last began or went on; older ones lack some fields."""
    starts = [record for record in directory.records() if record["event"] == "run.started"]
    return starts[-1] if starts else {}


def outcomes(directory: RunDirectory) -> Outcomes:
    """Return what each step asked, got, and wrote, last; no times, no order of sessions.

    Steps after one that was corrected are left out until they have been asked again.

    Two runs with equal outcomes went the same way, byte for byte.
    """
    found: Outcomes = {}
    key, stale = "", ""
    for record in directory.records():
        event, step = record["event"], record.get("step", "")
        if event == "steps.stale":
            stale = step
        elif event == "run.started":
            stale = ""
        elif event == "step.started":
            found[step] = [("prompt", record["digest"])]
        elif event == "call.started":
            key = record["key"]
            found[step].append(("question", key, *(digest for _, digest in record["messages"])))
        elif event == "modules.extracted":
            found[step].append(("found", *record["files"], *record["issues"]))
        elif event == "step.judged":
            found[step].append(("verdict", record["key"], str(record["standing"])))
        elif event == "file.written":
            found[step].append(("file", record["path"], record["digest"]))
        elif event == "step.finished" and step in found:
            found[step].append(("complete", str(record["complete"]), *record["issues"]))
    steps = list(found)  # after a correction what follows is of an older state
    return {name: found[name] for name in steps[: steps.index(stale) + 1]} if stale else found
