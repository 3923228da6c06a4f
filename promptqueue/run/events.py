"""What happens during a run, as data: for people, for machines, and for the journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from promptqueue.chat.message import ChatEvent, Usage


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run begins, or goes on."""

    kind: ClassVar[str] = "run.started"
    run: str
    """Its name."""
    path: str
    """Its directory."""
    queue: str
    """The queue file."""
    steps: int
    endpoint: str
    """Name, address and why it is this one."""
    out: str
    """The folder that files are written to."""
    resumed: bool = False
    sources: str = ""
    """Digest of the queue file and its templates, as JSON: what a replay is made from."""
    judged: bool = False
    """Steps are judged when they land."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that the user should know, and that stops nothing."""

    kind: ClassVar[str] = "notice"
    message: str


@dataclass(frozen=True, slots=True)
class Spent:
    """What the run has spent so far, over all its sessions; it is shown and never journaled."""

    kind: ClassVar[str] = "run.spent"
    calls: int
    tokens: int
    """Prompt and completion tokens together."""
    usd: float | None
    """None where the price is not known."""
    seconds: float
    limits: Mapping[str, float]
    """Those in force, by name: calls, tokens, wall (in seconds), usd."""


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A step's prompt has been rendered."""

    kind: ClassVar[str] = "step.started"
    step: str
    number: int
    """Its position in the queue, from 1."""
    of: int
    title: str
    digest: str
    """SHA-256 of the messages."""


@dataclass(frozen=True, slots=True)
class CallStarted:
    """A question is about to be asked."""

    kind: ClassVar[str] = "call.started"
    step: str
    turn: int
    """0 is the prompt itself, 1 the first refinement."""
    key: str
    """Digest of messages, model, parameters and sample: what an answer is kept under."""
    model: str
    params: Mapping[str, object]
    sample: int
    messages: tuple[tuple[str, str], ...]
    """Role and digest of the content of every message."""
    tokens: int
    """Estimated tokens of the prompt."""
    reused: bool = False
    """The journal has the answer already; nothing is asked or paid."""
    origin: str = ""
    """The earlier run that the answer is taken from; empty for this run's own."""


@dataclass(frozen=True, slots=True)
class Extracted:
    """A reply was searched for the step's files."""

    kind: ClassVar[str] = "modules.extracted"
    step: str
    turn: int
    files: tuple[str, ...]
    issues: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FileWritten:
    """A file of the workspace was written, or found to be as it should be."""

    kind: ClassVar[str] = "file.written"
    step: str
    path: str
    """As the queue declares it."""
    target: str
    """Where it lies."""
    digest: str
    """SHA-256 of its text, which the run directory keeps under that name."""
    lines: int
    status: str
    """new, changed, unchanged, replaced (an edited file), or aside (the file was edited by hand,
    so this went beside it)."""
    old: str = ""
    """Digest of the text of others that was at `target`; the run directory keeps it."""
    turn: int = 0
    """The turn whose reply brought this text."""


@dataclass(frozen=True, slots=True)
class Judging:
    """The files of a step are about to be judged; it is shown and never journaled."""

    kind: ClassVar[str] = "step.judging"
    step: str
    requirements: int


@dataclass(frozen=True, slots=True)
class Judged:
    """The files of a step were judged by its requirements."""

    kind: ClassVar[str] = "step.judged"
    step: str
    turn: int
    """The turn whose reply was judged."""
    key: str
    """Of the files and the requirements: what the verdict is kept under."""
    verdict: Mapping[str, Any]
    """As `Judgement.record` gives it."""
    standing: bool
    """This version is the best so far."""
    seconds: float
    reused: bool = False
    """The verdict was known already."""


@dataclass(frozen=True, slots=True)
class Refining:
    """A reply was not usable, or not as asked for; the step is asked again."""

    kind: ClassVar[str] = "step.refining"
    step: str
    turn: int
    """The turn that follows."""
    reasons: tuple[str, ...]
    fresh: bool = False
    """Started anew instead of arguing on."""
    judged: bool = False
    """The reasons are requirements that are not met."""


@dataclass(frozen=True, slots=True)
class StepSteered:
    """The user decided what follows a reply."""

    kind: ClassVar[str] = "step.steered"
    step: str
    turn: int
    """The turn whose reply was judged."""
    key: str
    """Of the request that the reply answers: the decision holds for this reply only."""
    action: str
    text: str = ""
    """Digest of the user's words or of the edited prompt."""


@dataclass(frozen=True, slots=True)
class StepsStale:
    """Steps were asked with what an earlier step has changed since."""

    kind: ClassVar[str] = "steps.stale"
    run: str
    step: str
    """The step that was changed."""
    stale: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StepFinished:
    """All turns of a step are done."""

    kind: ClassVar[str] = "step.finished"
    step: str
    complete: bool
    """Every declared file is there and usable."""
    files: tuple[str, ...]
    issues: tuple[str, ...]
    usage: Usage
    seconds: float
    """Time that the model took, over all turns."""
    turns: int
    met: tuple[str, ...] = ()
    """Requirements that the files meet, where they were judged."""
    unmet: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The queue is through."""

    kind: ClassVar[str] = "run.finished"
    run: str
    complete: bool
    files: tuple[str, ...]
    incomplete: tuple[str, ...]
    """Steps that did not bring what they declare."""
    aside: tuple[str, ...]
    """Files that went beside ones that were edited by hand."""
    usage: Usage
    usd: float | None
    """None where the price is not known."""
    calls: int
    seconds: float
    met: tuple[str, ...] = ()
    """Requirements that the last verdict of each found met, where files were judged."""
    unmet: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    """What is wrong with the files beside that, in one line each."""
    gap: str = ""
    """What visible and hidden checks say differently; a warning."""


RunEvent = (
    RunStarted
    | Notice
    | Spent
    | StepStarted
    | CallStarted
    | Extracted
    | FileWritten
    | Judging
    | Judged
    | Refining
    | StepSteered
    | StepsStale
    | StepFinished
    | RunFinished
)
Event = RunEvent | ChatEvent
