"""Puts a step's files before the judge, and keeps count of what is met."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

from promptqueue.queue.model import Step
from promptqueue.run.archive import Past
from promptqueue.run.events import Event, Judged, Judging, Notice
from promptqueue.run.imports import imported
from promptqueue.run.job import Job
from promptqueue.run.judge import key_of, requirements_of
from promptqueue.run.refine import Board
from promptqueue.run.talk import Talk
from promptqueue.run.verdict import Fault, Judgement

Ids = tuple[str, ...]


def met_before(job: Job, step: Step) -> int:
    """Return how many requirements are met by the files that a step rewrites."""
    return sum(job.verdicts.get(name, False) for name in requirements_of(job.loaded.queue, step))


def is_red(job: Job, step: Step) -> bool:
    """Tell whether the files of a step were judged, and something is not as it should be."""
    unmet = not all(job.verdicts.get(name, True) for name in step.requirements)
    return unmet or any(job.faults.get(path) for path in step.paths())


def mendable(
    job: Job, step: Step, faults: Sequence[Fault], texts: Mapping[str, str]
) -> tuple[Fault, ...]:
    """Return the faults that a step can do something about.

    One that lies in a file of an earlier step is that step's, if that one is red as well; where
    it is green, this step may be using it wrongly. What is not clear to be done wrong in this
    step's files comes from such a red file, if they import one.

    Args:
        job: of the run.
        step: the one that may mend.
        faults: of the best version of its files.
        texts: path to text of its files as they stand.
    """
    steps = [each for each in job.loaded.queue.steps if each.id != step.id and is_red(job, each)]
    others = {path for each in steps for path in each.paths()} - {*step.paths()}
    inherits = bool(others and others & imported(step.paths(), _files(job) | dict(texts)))
    return tuple(
        fault
        for fault in faults
        if fault.path not in others
        and not (inherits and fault.requirements and not fault.line and not fault.clear)
    )


def weigh(job: Job, step: Step, talk: Talk, past: Past | None) -> Generator[Event, None, bool]:
    """Judge the files as they stand, if all are usable; a worse version gives way to the best.

    Returns:
        Whether what the reply brought stands.
    """
    board, turns = talk.board, talk.turns
    if not step.checks or not board.complete():
        return True
    texts = _files(job) | board.latest()
    judgement = yield from _judged(job, step, talk, texts, past, lambda it: board.weigh(it, turns))
    return judgement is None or board.standing is None or board.standing.judgement is judgement


def conclude(
    job: Job, step: Step, talk: Talk, past: Past | None
) -> Generator[Event, None, tuple[Ids, Ids]]:
    """Return what the step's files meet and what not, as they were left behind."""
    board = talk.board
    if board.standing is None:
        yield from _take_back(job, step, board)
        return (), ()
    judgement: Judgement | None = board.standing.judgement
    if board.regressed:  # the earlier files stand, with the new ones beside them: judge these
        judgement = yield from _judged(job, step, talk, _files(job), past, lambda _: True)
    if judgement is None:
        return (), ()
    job.verdicts.update(dict.fromkeys(judgement.met, True) | dict.fromkeys(judgement.unmet, False))
    job.checks.append(judgement)
    job.faults.update(dict.fromkeys(step.paths(), ()))
    for fault in judgement.loose:
        job.faults[fault.path] = (*job.faults.get(fault.path, ()), fault.told())
    return judgement.met, judgement.unmet


def _take_back(job: Job, step: Step, board: Board) -> Iterator[Event]:
    """Forget the verdicts on files in whose place others were written that nobody judged."""
    blobs = job.recorder.directory.blobs
    gone = [path for path, text in board.earlier.items() if blobs.get(job.files[path]) != text]
    steps = [each for each in job.loaded.queue.steps if {*gone} & {*each.paths()}]
    names = [name for each in steps for name in each.requirements]
    lost = [name for name in names if job.verdicts.pop(name, False)]
    for path in gone:
        job.faults.pop(path, None)
    if lost:
        text = f"{', '.join(lost)} not counted as met: what took the place of {', '.join(gone)}"
        yield job.recorder.record(Notice(f"{step.id}: {text} was not judged"))


def _files(job: Job) -> dict[str, str]:
    blobs = job.recorder.directory.blobs
    return {path: blobs.get(digest) for path, digest in job.files.items()}


def _judged(
    job: Job,
    step: Step,
    talk: Talk,
    texts: Mapping[str, str],
    past: Past | None,
    weigh: Callable[[Judgement], bool],
) -> Generator[Event, None, Judgement | None]:
    """Return the verdict on these files, from the journal where it is known."""
    key = key_of(job.loaded.queue, step, texts, job.inputs)
    begin = time.monotonic()
    known = judgement = job.known_verdict(key, past)
    if judgement is None and job.judge is not None:
        yield Judging(step.id, len(requirements_of(job.loaded.queue, step)))
        judgement = job.judge.judge(step, texts)
    if judgement is None:
        return None
    record = job.ledger.verdicts[key] = judgement.record()
    seconds = round(time.monotonic() - begin, 3)
    told = (step.id, talk.turn, key, record, weigh(judgement), seconds, known is not None)
    yield job.recorder.record(Judged(*told))
    return judgement
