"""Lets a step mend a file of an earlier one: what keeps it red may have been left behind there.

The earlier step was judged by what it was asked for alone; only the whole shows that one of its
functions does not do what the task said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from promptqueue.queue.model import Step
from promptqueue.queue.render import render_step
from promptqueue.run.anew import File, Rewriting, Suspicion, lacking, rewritings
from promptqueue.run.events import Event, Notice
from promptqueue.run.imports import imported
from promptqueue.run.job import Job
from promptqueue.run.judge import requirements_of
from promptqueue.run.judging import is_red, met_before
from promptqueue.run.talk import Talk
from promptqueue.run.verdict import Fault


def questions(job: Job, talk: Talk, faults: tuple[Fault, ...]) -> Iterator[Rewriting]:
    """Yield a question for each function that may be at fault, the likeliest first.

    Those of earlier steps' files come where these are imported, and nothing is known to be wrong
    with them but that a function lacks what its task uses by name; and after this
    step's own functions, or where the model was told what is wrong and got no further. What fails
    in such a file once it is mended here is asked for as well, with what its own task says.
    """
    texts = talk.board.latest()
    own = rewritings(faults, texts, talk.board.outputs, talk.prompt)
    yield from (each for each in own if each.suspicion <= Suspicion.LACKS_ELSEWHERE)
    borrowed = talk.step.paths()[len(talk.board.outputs) :]
    there = [fault for fault in faults if fault.path in borrowed]
    if there or talk.stuck or any(each.spoken_of for each in own):
        yield from _of_earlier(job, talk, there, texts)
    yield from (each for each in own if each.suspicion > Suspicion.LACKS_ELSEWHERE)


def borrow(job: Job, talk: Talk, path: str) -> Iterator[Event]:
    """Add a file of an earlier step to those of this one: both are judged together from now on."""
    step, board = talk.step, talk.board
    owner = _owners(job, talk)[path]
    outputs = (*step.outputs, *(each for each in owner.outputs if each.path == path))
    talk.step = step.model_copy(update={"outputs": outputs})
    standing = board.standing.judgement if board.standing else None
    verdicts = dict(job.verdicts)
    if standing is not None:
        verdicts |= dict.fromkeys(standing.met, True) | dict.fromkeys(standing.unmet, False)
    names = requirements_of(job.loaded.queue, talk.step)
    known = {name: verdicts[name] for name in names if name in verdicts}
    board.take_over(path, _text(job, path), known, met_before(job, talk.step))
    told = f"{step.id}: asks for {path} of {owner.id} as well, which lacks what its task names"
    yield job.recorder.record(Notice(told))


def _of_earlier(
    job: Job, talk: Talk, faults: Sequence[Fault], texts: Mapping[str, str]
) -> Iterator[Rewriting]:
    files = {path: _text(job, path) for path in job.files} | dict(texts)
    reached = imported(talk.step.paths(), files)
    for path, owner in _owners(job, talk).items():
        if path in reached:
            prompt = render_step(job.loaded, owner, job.inputs, job.results)[-1].content
            beside = [each for each in owner.paths() if each != path]
            found = [fault for fault in faults if fault.path == path]
            yield from rewritings(found, files, owner.outputs, prompt)
            if not found:  # else they are among these
                yield from lacking(File(path, files[path], prompt, beside))


def _owners(job: Job, talk: Talk) -> dict[str, Step]:
    """Return the green files of earlier steps, each with its last one; not those declared here."""
    steps, declared = job.loaded.queue.steps, {each.path for each in talk.board.outputs}
    before = steps[: [each.id for each in steps].index(talk.step.id)]
    found = {path: each for each in before for path in each.paths() if path in job.files}
    red = {path for each in before for path in each.paths() if is_red(job, each)}
    return {path: each for path, each in found.items() if path not in declared | red}


def _text(job: Job, path: str) -> str:
    return job.recorder.directory.blobs.get(job.files[path])
