"""One step: its prompt, the replies, and the turns that follow until it is done."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace

from promptqueue.chat.message import Message, Reply, Request
from promptqueue.queue.model import Step, StepResult
from promptqueue.queue.render import digest_of
from promptqueue.run.anew import Rewriting
from promptqueue.run.archive import Past
from promptqueue.run.asking import ask
from promptqueue.run.borrow import borrow, questions
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
from promptqueue.run.judging import conclude, met_before, weigh
from promptqueue.run.refine import Board, change_prompt, refinement_prompt
from promptqueue.run.remaining import Remaining
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
    key = job.request(step, first).key()
    talk, past = Talk(step, first, first, board), job.past_of(number, key)
    yield from _Conversation(job, talk, past, Remaining(job, talk)).hold()
    if step.id not in job.incomplete:
        job.archive.add(key, job.recorder.directory.id)


@dataclass(frozen=True, slots=True)
class _Conversation:
    """The turns of one step: asked, heard, judged and written until it is done."""

    job: Job
    talk: Talk
    past: Past | None
    """The earlier run that may answer for the step."""
    left: Remaining

    @property
    def step(self) -> Step:
        """Return the step, with all files that it is to mend."""
        return self.talk.step

    def hold(self) -> Iterator[Event]:
        """Go from turn to turn, and leave what came of them."""
        job, talk = self.job, self.talk
        while True:
            request = self._next_request()
            reply = yield from ask(job, self.step, talk.turn, request, self.past)
            extraction = yield from self._hear(reply)
            if job.steer is None and job.decision(request.key(), self.past) is None:
                yield from self._write(least=2)  # a user decides before files are written
            decision = yield from self._decide(request, reply, extraction)
            if decision.action in ("accept", "skip"):
                break
            yield from self._follow(decision, reply, extraction)
            talk.turn += 1
        if decision.action == "skip":
            talk.skip()
        yield from self._others_faults()
        yield from self._finish(extraction)

    def _next_request(self) -> Request:
        """Return a question that was not asked here before: a known one leads nowhere new."""
        job, step, talk = self.job, self.step, self.talk
        request = job.request(step, talk.messages, talk.draw)
        while request.key() in talk.asked:
            talk.ask_again()
            request = job.request(step, talk.messages, talk.draw)
        talk.asked.add(request.key())
        return request

    def _hear(self, reply: Reply) -> Generator[Event, None, Extraction]:
        """Find the files of a reply, and keep those that are at least as good as the best."""
        talk = self.talk
        talk.hear(reply)
        extraction = extract_modules(
            unmarked(reply.text),
            talk.outputs,
            previous=talk.before(),
            finish_reason=reply.finish_reason,
            parts=talk.mending,
        )
        issues = tuple(f"{issue.kind}: {issue.message}" for issue in extraction.issues)
        yield self.job.recorder.record(
            Extracted(self.step.id, talk.turn, tuple(extraction.modules), issues)
        )
        taken = talk.board.take(extraction, talk.turn)
        if (yield from weigh(self.job, self.step, talk, self.past)):
            talk.unwritten.update(taken)
        elif talk.board.standing is not None:
            talk.turns = list(talk.board.standing.turns)  # this one led nowhere
        return extraction

    def _write(self, *, least: int) -> Iterator[Event]:
        """Write what is new and at least so good."""
        talk = self.talk
        for path in self.step.paths():
            best = talk.board.best.get(path)
            if best is None or path not in talk.unwritten or best.rank < least:
                continue
            if talk.board.writable(path):
                talk.unwritten.discard(path)
                yield from self.job.write(self.step, path, best.text, best.turn)
        self.job.workspace.save()

    def _decide(
        self, request: Request, reply: Reply, extraction: Extraction
    ) -> Generator[Event, None, Decision]:
        """Return what follows a reply: as decided before, by the user now, or by the rules."""
        job, step, talk, key = self.job, self.step, self.talk, request.key()
        decision = job.decision(key, self.past)
        if decision is None and job.steer is not None:
            texts = {path: module.text for path, module in extraction.modules.items()}
            prompt, issues = talk.messages[-1].content, self.left.reasons(extraction)
            decision = job.steer(Review(step.id, talk.turn, prompt, reply, texts, issues))
        if decision is None:
            return Decision("refine" if self.left.is_open() and self.left.may_go_on() else "accept")
        if key not in job.ledger.decisions:
            text = job.recorder.directory.keep(decision.text) if decision.text else ""
            job.ledger.decisions[key] = (decision.action, text)
            yield job.recorder.record(StepSteered(step.id, talk.turn, key, decision.action, text))
        if decision.action == "refine" and not self.left.is_open():
            return Decision("accept")
        return decision

    def _follow(self, decision: Decision, reply: Reply, extraction: Extraction) -> Iterator[Event]:
        """Prepare the next turn."""
        talk = self.talk
        if decision.action == "refine":
            yield from self._refine(reply, extraction)
            return
        talk.board.reopen()
        talk.refined, talk.alone = 0, ""
        if decision.action in ("change", "correct"):
            wanted = change_prompt(decision.text, self.step.outputs, talk.prompt)
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

    def _refine(self, reply: Reply, extraction: Extraction) -> Iterator[Event]:
        talk, board, rule = self.talk, self.talk.board, self.left.rule
        reasons, judged = self.left.reasons(extraction), not board.open_paths()
        stuck, draws = self._is_stuck(reply), self.left.draws()
        if draws:
            talk.drawn += 1
        else:
            talk.refined += 1
        escalates = not draws and bool(rule.escalate) and talk.refined == rule.turns
        if escalates:
            talk.draw = replace(talk.draw, model=rule.escalate)
        talk.stuck |= stuck
        again = self._rewriting() if judged and not (draws or escalates) else None
        fresh = draws or escalates or (stuck and again is None)
        told = (self.step.id, talk.turn + 1, reasons, fresh, judged)
        yield self.job.recorder.record(Refining(*told))
        if fresh:  # samples know nothing of each other
            talk.start_afresh(() if draws else self.left.faults())
        elif again is not None:
            if again.path not in self.step.paths():
                yield from borrow(self.job, talk, again.path)
            talk.rewrite(again)
        else:
            self._talk_on(reply, extraction)

    def _is_stuck(self, reply: Reply) -> bool:
        """Tell whether the model was told what is wrong, and got no further."""
        talk = self.talk
        stuck = talk.board.starts_afresh(reply.text, told=talk.told)
        if talk.alone:  # it was told nothing, and the fault may lie in another function
            talk.board.stale, talk.alone = 0, ""
            return talk.stuck
        return stuck

    def _rewriting(self) -> Rewriting | None:
        """Return a question for a function at fault that was not asked for alone yet, if any.

        At first for those that the task says all of: less is sent, and less can be forgotten.
        """
        talk = self.talk
        for each in questions(self.job, talk, self.left.faults()):
            known = (each.path, *each.key) in talk.rewritten
            if not known and (talk.stuck or each.spoken_of):
                return each
        return None

    def _talk_on(self, reply: Reply, extraction: Extraction) -> None:
        """Tell the model what was found, and ask for that to be mended."""
        step, talk, board = self.step, self.talk, self.talk.board
        torn, judged = board.torn(), not board.open_paths()
        if torn or (board.standing is not None and judged):
            texts, faults = board.latest(), torn or self.left.faults()
            files = files_sent({path: texts[path] for path in _concerned(step, faults)})
            wanted = verdict_prompt(faults, texts, step.outputs, talk.prompt, judged=judged)
            talk.mend(files, wanted)
            return
        known, open_paths = board.earlier, board.open_paths()
        outputs = [each for each in as_wanted(step.outputs, known) if each.path in open_paths]
        issues = self.left.issues(extraction)
        talk.answer_with(reply, refinement_prompt(issues, outputs, talk.prompt))

    def _others_faults(self) -> Iterator[Event]:
        """Say why a red step was not asked again, where the files of others are at fault."""
        step, standing = self.step, self.talk.board.standing
        left = standing.judgement.faults if standing and not self.left.is_open() else ()
        if left:
            paths = dict.fromkeys(f.path for f in left if f.path and f.path not in step.paths())
            fails = f"it fails in {', '.join(paths)}, which is red itself" if paths else ""
            why = fails or "a file that it imports is red"
            yield self.job.recorder.record(Notice(f"{step.id}: not asked again, for {why}"))

    def _left_unjudged(self) -> Iterator[Event]:
        """Say which files of earlier steps stay: nothing says that the new ones are as good."""
        step, talk, board = self.step, self.talk, self.talk.board
        left = [path for path in step.paths() if path in talk.unwritten and path in board.earlier]
        if left and board.standing is None and board.regressed:
            names = ", ".join(left)
            text = f"{step.id}: {names} left as before, for what came instead was not judged"
            yield self.job.recorder.record(Notice(text))

    def _finish(self, latest: Extraction) -> Iterator[Event]:
        job, step, talk = self.job, self.step, self.talk
        if not talk.skipped:
            yield from self._write(least=0)
            yield from self._left_unjudged()
        job.results[step.id] = self._stored()
        met, unmet = yield from conclude(job, step, talk, self.past)
        complete = talk.board.complete() and not talk.skipped
        if not complete:
            job.incomplete.append(step.id)
        issues = tuple(_named(issue, step) for issue in self.left.issues(latest))
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

    def _stored(self) -> StepResult:
        job, step, talk = self.job, self.step, self.talk
        if talk.skipped:
            return StepResult(step.id, ())
        directory = job.recorder.directory
        turns = talk.board.standing.turns if talk.board.standing else talk.turns
        texts = [(directory.keep(turn.prompt), directory.keep(turn.reply)) for turn in turns]
        declared = [each.path for each in talk.board.outputs]  # not what it mended as well
        files = {path: job.files[path] for path in declared if path in job.files}
        blobs = directory.blobs
        return StepResult(step.id, StoredTurns(blobs, texts), StoredFiles(blobs, files))


def _concerned(step: Step, faults: Sequence[Fault]) -> Sequence[str]:
    """Return the files that are to be mended; all, where one of the faults may lie in any."""
    paths = {fault.path for fault in faults}
    return [p for p in step.paths() if p in paths] if paths <= {*step.paths()} else step.paths()


def _named(issue: Issue, step: Step) -> str:
    if issue.path and issue.path in issue.message:
        return issue.message
    return f"{issue.path or step.id}: {issue.message}"
