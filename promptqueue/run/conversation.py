"""One step: its prompt, the replies, and the turns that follow until it is done."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace

from promptqueue.chat.message import Message, Reply, Request
from promptqueue.queue.model import Step, StepResult
from promptqueue.queue.render import digest_of
from promptqueue.run.archive import Past
from promptqueue.run.asking import ask
from promptqueue.run.events import (
    Event,
    Extracted,
    Notice,
    Refining,
    StepFinished,
    StepStarted,
    StepSteered,
)
from promptqueue.run.extract import Extraction, Issue, as_wanted, extract_modules
from promptqueue.run.feedback import files_sent, unmarked, verdict_prompt
from promptqueue.run.job import Job
from promptqueue.run.judging import conclude, mendable, met_before, weigh
from promptqueue.run.refine import Board, change_prompt, refinement_prompt
from promptqueue.run.steering import Decision, Review
from promptqueue.run.stored import StoredFiles, StoredTurns
from promptqueue.run.talk import Talk
from promptqueue.run.verdict import Fault


def run_step(
    job: Job, step: Step, number: int, first: tuple[Message, ...]
) -> Generator[Event, None, None]:
    """Run the conversation of one step, and leave its result in the job."""
    of = len(job.loaded.queue.steps)
    yield job.recorder.record(
        StepStarted(step.id, number, of, step.title or step.id, digest_of(first))
    )
    blobs = job.recorder.directory.blobs
    earlier = {path: blobs.get(job.files[path]) for path in step.paths() if path in job.files}
    board = Board(step.outputs, earlier, met_before(job, step), job.judged)
    talk = Talk(first, first, board)
    request = _next_request(job, step, talk)
    first_key = request.key()
    past = job.past_of(number, first_key)
    while True:
        reply = yield from ask(job, step, talk.turn, request, past)
        talk.hear(reply)
        extraction = extract_modules(
            unmarked(reply.text),
            step.outputs,
            previous=talk.before(),
            finish_reason=reply.finish_reason,
            parts=talk.mending,
        )
        yield job.recorder.record(_extracted(step, talk.turn, extraction))
        taken = talk.board.take(extraction, talk.turn)
        if (yield from weigh(job, step, talk.turn, talk.board, talk.turns, past)):
            talk.unwritten.update(taken)
        elif talk.board.standing is not None:
            talk.turns = list(talk.board.standing.turns)  # this one led nowhere
        if job.steer is None and job.decision(request.key(), past) is None:
            yield from _write(job, step, talk, least=2)  # a user decides before files are written
        decision = yield from _decide(job, step, talk, request, reply, extraction, past)
        if decision.action in ("accept", "skip"):
            break
        yield from _follow(job, step, talk, reply, extraction, decision)
        talk.turn += 1
        request = _next_request(job, step, talk)
    if decision.action == "skip":
        talk.skip()
    yield from _others_faults(job, step, talk)
    yield from _finish(job, step, talk, extraction, past)
    if step.id not in job.incomplete:
        job.archive.add(first_key, job.recorder.directory.id)


def _next_request(job: Job, step: Step, talk: Talk) -> Request:
    """Return a question that this conversation has not asked: a known one leads nowhere new."""
    request = job.request(step, talk.messages, talk.draw)
    while request.key() in talk.asked:
        talk.ask_again()
        request = job.request(step, talk.messages, talk.draw)
    talk.asked.add(request.key())
    return request


def _write(job: Job, step: Step, talk: Talk, *, least: int) -> Generator[Event, None, None]:
    """Write what is new and at least so good."""
    for path in step.paths():
        best = talk.board.best.get(path)
        if best is None or path not in talk.unwritten or best.rank < least:
            continue
        if talk.board.writable(path):
            talk.unwritten.discard(path)
            yield from job.write(step, path, best.text, best.turn)
    job.workspace.save()


def _decide(
    job: Job,
    step: Step,
    talk: Talk,
    request: Request,
    reply: Reply,
    extraction: Extraction,
    past: Past | None,
) -> Generator[Event, None, Decision]:
    """Return what follows a reply: as decided before, by the user now, or by the rules."""
    key = request.key()
    decision = job.decision(key, past)
    if decision is None and job.steer is not None:
        texts = {path: module.text for path, module in extraction.modules.items()}
        issues = _reasons(job, step, talk, extraction)
        prompt = talk.messages[-1].content
        decision = job.steer(Review(step.id, talk.turn, prompt, reply, texts, issues))
    if decision is None:
        return Decision(
            "refine" if _is_open(job, step, talk) and _may_go_on(job, step, talk) else "accept"
        )
    if key not in job.ledger.decisions:
        text = job.recorder.directory.keep(decision.text) if decision.text else ""
        job.ledger.decisions[key] = (decision.action, text)
        yield job.recorder.record(StepSteered(step.id, talk.turn, key, decision.action, text))
    if decision.action == "refine" and not _is_open(job, step, talk):
        return Decision("accept")
    return decision


def _follow(
    job: Job, step: Step, talk: Talk, reply: Reply, extraction: Extraction, decision: Decision
) -> Generator[Event, None, None]:
    """Prepare the next turn."""
    if decision.action == "refine":
        yield from _refine(job, step, talk, reply, extraction)
        return
    talk.board.reopen()
    talk.refined = 0
    if decision.action in ("change", "correct"):
        wanted = change_prompt(decision.text, step.outputs, talk.prompt)
        if decision.action == "change" or talk.goes_on_from(reply):
            talk.answer_with(reply, wanted)
        else:
            talk.build_on(files_sent(talk.board.latest()), wanted)
        return
    if decision.action == "edit":
        talk.first = (*talk.first[:-1], Message("user", decision.text))
        talk.messages, talk.turns = talk.first, []
        return
    talk.start_afresh()


def _refine(
    job: Job, step: Step, talk: Talk, reply: Reply, extraction: Extraction
) -> Generator[Event, None, None]:
    board, rule = talk.board, job.loaded.queue.refine_of(step)
    reasons, judged = _reasons(job, step, talk, extraction), not board.open_paths()
    fresh, faults = board.starts_afresh(reply.text, told=talk.told), _faults(job, step, talk)
    torn = board.torn()
    if _draws(job, step, talk):
        fresh, faults, talk.drawn = True, (), talk.drawn + 1  # samples know nothing of each other
    else:
        talk.refined += 1
        if rule.escalate and talk.refined == rule.turns:
            fresh, talk.draw = True, replace(talk.draw, model=rule.escalate)
    yield job.recorder.record(Refining(step.id, talk.turn + 1, reasons, fresh, judged))
    if fresh:
        talk.start_afresh(faults)
    elif torn or (board.standing is not None and judged):
        texts = board.latest()
        files = files_sent({path: texts[path] for path in _concerned(step, torn or faults)})
        wanted = verdict_prompt(torn or faults, texts, step.outputs, talk.prompt, judged=judged)
        talk.mend(files, wanted)
    else:
        known, open_paths = board.earlier, board.open_paths()
        outputs = [each for each in as_wanted(step.outputs, known) if each.path in open_paths]
        issues = _open_issues(talk, extraction)
        talk.answer_with(reply, refinement_prompt(issues, outputs, talk.prompt))


def _concerned(step: Step, faults: Sequence[Fault]) -> Sequence[str]:
    """Return the files that are to be mended; all, where one of the faults may lie in any."""
    paths = {fault.path for fault in faults}
    return [p for p in step.paths() if p in paths] if paths <= {*step.paths()} else step.paths()


def _is_open(job: Job, step: Step, talk: Talk) -> bool:
    """Tell whether something is left to mend that the model may be told of."""
    return bool(talk.board.open_paths() or _faults(job, step, talk))


def _faults(job: Job, step: Step, talk: Talk) -> tuple[Fault, ...]:
    """Return what keeps the best version so far from being green, and can be mended here."""
    standing = talk.board.standing
    if standing is None:
        return ()
    return mendable(job, step, standing.judgement.faults, talk.board.latest())


def _may_go_on(job: Job, step: Step, talk: Talk) -> bool:
    return talk.refined < job.loaded.queue.refine_of(step).turns or _draws(job, step, talk)


def _draws(job: Job, step: Step, talk: Talk) -> bool:
    """Tell whether another first answer is wanted; where nothing judges, one is all.

    What is clear to mend is told at once: to draw again is for what was measured.
    """
    judged = job.judged or talk.board.standing is not None
    samples = job.loaded.queue.refine_of(step).samples
    wanted = judged and bool(step.checks) and not talk.refined and talk.drawn < samples
    faults = _faults(job, step, talk)
    return wanted and not (faults and all(fault.clear for fault in faults))


def _reasons(job: Job, step: Step, talk: Talk, extraction: Extraction) -> tuple[str, ...]:
    """Return what is not as it should be, in one line each."""
    if talk.board.open_paths() or talk.board.standing is None:
        return tuple(issue.message for issue in _open_issues(talk, extraction))
    return tuple(fault.told() for fault in _faults(job, step, talk))


def _open_issues(talk: Talk, extraction: Extraction) -> tuple[Issue, ...]:
    return talk.board.open_issues(extraction) if talk.board.open_paths() else ()


def _others_faults(job: Job, step: Step, talk: Talk) -> Iterator[Event]:
    """Say why a step that is red was not asked again, where the files of others are at fault."""
    standing = talk.board.standing
    left = standing.judgement.faults if standing and not _is_open(job, step, talk) else ()
    if left:
        paths = dict.fromkeys(f.path for f in left if f.path and f.path not in step.paths())
        fails = f"it fails in {', '.join(paths)}, which is red itself" if paths else ""
        why = fails or "a file that it imports is red"
        yield job.recorder.record(Notice(f"{step.id}: not asked again, for {why}"))


def _left_unjudged(job: Job, step: Step, talk: Talk) -> Iterator[Event]:
    """Say which files of earlier steps stay, since nothing says that the new ones are as good."""
    board = talk.board
    left = [path for path in step.paths() if path in talk.unwritten and path in board.earlier]
    if left and board.standing is None and board.regressed:
        text = f"{step.id}: {', '.join(left)} left as before, for what came instead was not judged"
        yield job.recorder.record(Notice(text))


def _finish(
    job: Job, step: Step, talk: Talk, latest: Extraction, past: Past | None
) -> Generator[Event, None, None]:
    board = talk.board
    if not talk.skipped:
        yield from _write(job, step, talk, least=0)
        yield from _left_unjudged(job, step, talk)
    job.results[step.id] = _stored(job, step, talk)
    met, unmet = yield from conclude(job, step, talk.turn, board, past)
    complete = board.complete() and not talk.skipped
    if not complete:
        job.incomplete.append(step.id)
    issues = tuple(_named(issue, step) for issue in _open_issues(talk, latest))
    yield job.recorder.record(
        StepFinished(
            step=step.id,
            complete=complete,
            files=tuple(job.written[path] for path in step.paths() if path in job.written),
            issues=(f"{step.id}: skipped by the user",) if talk.skipped else issues,
            usage=talk.usage,
            seconds=talk.seconds,
            turns=talk.turn + 1,
            met=met,
            unmet=unmet,
        )
    )


def _named(issue: Issue, step: Step) -> str:
    if issue.path and issue.path in issue.message:
        return issue.message
    return f"{issue.path or step.id}: {issue.message}"


def _stored(job: Job, step: Step, talk: Talk) -> StepResult:
    directory = job.recorder.directory
    if talk.skipped:
        return StepResult(step.id, ())
    turns = talk.board.standing.turns if talk.board.standing else talk.turns
    texts = [(directory.keep(turn.prompt), directory.keep(turn.reply)) for turn in turns]
    files = {path: job.files[path] for path in step.paths() if path in job.files}
    blobs = directory.blobs
    return StepResult(step.id, StoredTurns(blobs, texts), StoredFiles(blobs, files))


def _extracted(step: Step, turn: int, extraction: Extraction) -> Extracted:
    issues = tuple(f"{issue.kind}: {issue.message}" for issue in extraction.issues)
    return Extracted(step.id, turn, tuple(extraction.modules), issues)
