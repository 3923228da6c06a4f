"""Where the conversation of a step stands: what is asked next, and what was heard so far."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from promptqueue.chat.message import Message, Reply, Usage
from promptqueue.queue.model import Output, Step, Turn
from promptqueue.run.anew import Rewriting
from promptqueue.run.feedback import warned
from promptqueue.run.job import FIRST, Draw
from promptqueue.run.refine import Board
from promptqueue.run.verdict import Fault


@dataclass(slots=True)
class Talk:
    """Where the conversation of a step stands."""

    step: Step
    """With the files of earlier ones that it has to mend as well."""
    first: tuple[Message, ...]
    """What a fresh start begins with."""
    messages: tuple[Message, ...]
    board: Board
    draw: Draw = FIRST
    turn: int = 0
    """Number of the turn, over all starts."""
    refined: int = 0
    """Refinements since the prompt, or since the user last said something."""
    starts: int = 0
    """Fresh ones so far."""
    drawn: int = 1
    """Independent first answers so far."""
    turns: list[Turn] = field(default_factory=list)
    """Those of the start that stands: what later steps get as context."""
    usage: Usage = field(default_factory=lambda: Usage(0, 0))
    seconds: float = 0.0
    stuck: bool = False
    """Told what was wrong, the model got no further."""
    alone: str = ""
    """The file of which one function was asked for last, in a prompt of its own."""
    rewritten: set[tuple[str, ...]] = field(default_factory=set)
    """Keys of the functions that were, since the last fresh start."""
    mending: bool = False
    """What was asked for last is to mend the best version; parts of its files will do."""
    unwritten: set[str] = field(default_factory=set)
    """Files whose best version is not in the workspace."""
    skipped: bool = False
    asked: set[str] = field(default_factory=set)
    """Keys of the questions so far."""

    @property
    def prompt(self) -> str:
        """Return what the step was asked at first."""
        return self.first[-1].content

    @property
    def told(self) -> bool:
        """Tell whether what was found in a reply is being talked about."""
        return self.mending or len(self.messages) > len(self.first)

    @property
    def outputs(self) -> list[Output]:
        """Return the files that the reply may bring."""
        declared = self.step.outputs if self.mending else self.board.outputs
        return [each for each in declared if self.alone in ("", each.path)]

    def before(self) -> dict[str, str]:
        """Return the files that the reply changes: a first answer knows nothing of other starts."""
        return self.board.latest() if self.told else dict(self.board.earlier)

    def hear(self, reply: Reply) -> None:
        """Take note of a reply."""
        self.usage += reply.usage
        self.seconds += reply.seconds
        self.turns.append(Turn(self.messages[-1].content, reply.text))

    def answer_with(self, reply: Reply, prompt: str) -> None:
        """Go on with the conversation."""
        said = (Message("assistant", reply.text), Message("user", prompt))
        self.messages, self.mending = (*self.messages, *said), False

    def goes_on_from(self, reply: Reply) -> bool:
        """Tell whether the latest reply stands; else the turns end with the one that does."""
        return self.turns[-1] == Turn(self.messages[-1].content, reply.text)

    def build_on(self, files: str, prompt: str) -> None:
        """Ask the step's own model for something else in files: what led to them stays behind."""
        self.draw = replace(self.draw, model=None, warmth=0)
        self.messages, self.mending = self._after(files, prompt), False

    def mend(self, files: str, prompt: str) -> None:
        """Ask for the best version so far to be mended: what led to it does not go along."""
        again = self._after(files, prompt)
        if again == self.messages:  # or the same answer would be all that comes
            self._draw(self.draw.warmth + 1)
        else:
            self.draw = replace(self.draw, warmth=0)
        self.messages, self.mending = again, True

    def rewrite(self, again: Rewriting) -> None:
        """Ask for one function anew, in a prompt of its own: nothing said so far goes along."""
        self.rewritten.add((again.path, *again.key))
        role = tuple(message for message in self.first if message.role == "system")
        self.draw = replace(self.draw, warmth=0)
        self.messages, self.mending = (*role, Message("user", again.prompt)), True
        self.alone = again.path

    def start_afresh(self, faults: tuple[Fault, ...] = ()) -> None:
        """Ask the prompt again, for another sample; it may warn of what was wrong before."""
        self.starts += 1
        self._draw(self.starts)
        again = Message("user", warned(self.prompt, faults, self.board.latest()))
        self.messages, self.turns, self.mending = (*self.first[:-1], again), [], False
        self.stuck = False
        self.rewritten.clear()

    def ask_again(self) -> None:
        """Ask for another answer to the same question, a little warmer."""
        self._draw(self.draw.warmth + 1)

    def skip(self) -> None:
        """Leave the step without a result."""
        self.skipped, self.board.standing = True, None

    def _after(self, files: str, prompt: str) -> tuple[Message, ...]:
        return (*self.first, Message("assistant", files), Message("user", prompt))

    def _draw(self, warmth: int) -> None:
        self.draw = replace(self.draw, sample=self.draw.sample + 1, warmth=warmth)
