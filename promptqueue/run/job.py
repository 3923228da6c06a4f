"""Everything that one run works with, and what it has brought so far."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field

from promptqueue.chat.message import Chat, Message, Params, Request
from promptqueue.queue.inputs import Value
from promptqueue.queue.load import LoadedQueue
from promptqueue.queue.model import Queue, Step, StepResult
from promptqueue.run.archive import Archive, Past
from promptqueue.run.events import Event, FileWritten
from promptqueue.run.judge import Judge
from promptqueue.run.ledger import Ledger
from promptqueue.run.recorder import Recorder
from promptqueue.run.steering import Decision, Steer
from promptqueue.run.verdict import Judgement, judgement_from
from promptqueue.run.workspace import Workspace

_WARMER = 0.2
"""Of the temperature, with each draw: a small model at 0.3 says the same for most seeds."""
_WARMEST = 1.0


@dataclass(frozen=True, slots=True)
class Draw:
    """Which of the answers to a question is asked for."""

    sample: int = 0
    """No two samples of a question have one seed."""
    warmth: int = 0
    """How many steps warmer than the queue says, where it names a temperature."""
    model: str | None = None
    """Another one than the step's, where this one did not get there."""


FIRST = Draw()


@dataclass(slots=True)
class Job:
    """A run at work."""

    loaded: LoadedQueue
    inputs: Mapping[str, Value]
    chat: Chat
    models: Mapping[str, str]
    """Step id to model."""
    recorder: Recorder
    ledger: Ledger
    workspace: Workspace
    archive: Archive
    fresh_from: int | None = None
    """Number of the first step that earlier runs do not answer for; None: they may for all."""
    steer: Steer | None = None
    judge: Judge | None = None
    """None: what was judged before holds, and nothing else is judged."""
    judged: bool = False
    """Somebody judges, or did so when the run that is replayed was made."""
    verdicts: dict[str, bool] = field(default_factory=dict)
    """Requirement to whether the files meet it, of those that were judged."""
    faults: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """File to what is wrong with it beside its requirements, where it was judged."""
    checks: list[Judgement] = field(default_factory=list)
    """The verdict that each judged step ended with."""
    results: dict[str, StepResult] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    """Digest of the latest usable text of every file."""
    written: dict[str, str] = field(default_factory=dict)
    aside: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)
    stopped: str = ""
    """The step that is red and stops the run: no later one is asked."""

    def request(self, step: Step, messages: tuple[Message, ...], draw: Draw = FIRST) -> Request:
        """Return the question that these messages make."""
        asked = draw.model or self.models[step.id]
        return request_of(self.loaded.queue, step, asked, messages, draw)

    def past_of(self, number: int, key: str) -> Past | None:
        """Return the earlier run that may answer for a step."""
        if self.fresh_from is not None and number >= self.fresh_from:
            return None
        return self.archive.find(key)

    def decision(self, key: str, past: Past | None) -> Decision | None:
        """Return what the user decided about the answer to a request, in this run or `past`."""
        for known, blobs in (
            (self.ledger, self.recorder.directory.blobs),
            *(((past.ledger, past.blobs),) if past else ()),
        ):
            if key in known.decisions:
                action, text = known.decisions[key]
                return Decision(action, blobs.get(text) if text else "")
        return None

    def known_verdict(self, key: str, past: Past | None) -> Judgement | None:
        """Return the verdict on a version of files that this run, or `past`, has judged."""
        for known in (self.ledger, *((past.ledger,) if past else ())):
            record = known.verdicts.get(key)
            if record and (self.judge is None or record["contract"] == self.judge.contract):
                return judgement_from(record)
        return None

    def write(self, step: Step, path: str, text: str, turn: int) -> Generator[Event, None, None]:
        """Write one file of a step into the workspace."""
        keep = self.recorder.directory.keep
        origin = {"step": step.id, "turn": turn, "run": self.recorder.directory.id}
        digest = self.files[path] = keep(text)  # first: a run that is killed here knows its file
        written = self.workspace.write(path, text, origin, keep)
        self.written[path] = target = str(written.target)
        if written.status == "aside" and target not in self.aside:
            self.aside.append(target)
        yield self.recorder.record(
            FileWritten(
                step=step.id,
                path=path,
                target=target,
                digest=digest,
                lines=len(text.splitlines()),
                status=written.status,
                old=written.old,
                turn=turn,
            )
        )


def request_of(
    queue: Queue, step: Step, model: str, messages: tuple[Message, ...], draw: Draw = FIRST
) -> Request:
    """Return the question that these messages make."""
    params = queue.params_of(step)
    if draw.sample and params.seed is not None:  # another sample needs another seed to be one
        params = Params(seed=params.seed + draw.sample).over(params)
    if draw.warmth and params.temperature is not None:
        warmer = round(params.temperature + _WARMER * draw.warmth, 3)
        params = Params(temperature=max(params.temperature, min(_WARMEST, warmer))).over(params)
    return Request(messages, model, params, draw.sample)
