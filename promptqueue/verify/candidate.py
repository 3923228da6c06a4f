"""The trusted side of the wire: puts questions to the code under test, and believes nothing."""

from __future__ import annotations

import os
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from promptqueue.queue.verification import Verification
from promptqueue.verify import wire
from promptqueue.verify.lint import one_line
from promptqueue.verify.replies import (
    Answered,
    Failed,
    Raised,
    Reply,
    told_place,
    told_status,
)
from promptqueue.verify.tamper import WATCHED
from promptqueue.verify.worker_process import Worker

_IMPORT = "_import"
_IMPORT_SOURCE = "def module(candidate, name):\n    candidate.module(name)\n"
_MESSAGE_CAP = 500


class CandidateError(AssertionError):
    """The code under test gave no usable answer: a failed check, never a skipped one.

    Args:
        text: what happened, in one line.
        at: file and line of the code, where known.
    """

    def __init__(self, text: str, at: str = "") -> None:
        super().__init__(text)
        self.at = at
        self.about = ""
        """The file that the question was about, where the code itself names none."""


class Answer(Mapping[str, Any]):
    """The facts of an answer by name; a name that is not there fails the check."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self._facts = dict(facts)

    def __getitem__(self, name: str) -> Any:
        if name not in self._facts:
            raise CandidateError(f"the answer has no {name!r}; it has {sorted(self._facts)}")
        return self._facts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)


@dataclass(slots=True)
class Candidate:
    """Generated code behind a sandbox's walls, which answers questions with data.

    Args:
        worker: where the code runs.
        probes: folder of the pack's probes.
        settings: what the queue file says of judging.
        seed: of all questions; each has one of its own that follows from it.
    """

    worker: Worker
    probes: Path
    settings: Verification
    seed: int
    tampered: set[str] = field(default_factory=set)
    """Functions of other libraries that the code replaced: a warning light."""
    reached: dict[str, set[int]] = field(default_factory=dict)
    """File to the lines of its functions that questions ran, as the sandbox tells: a hint."""
    _asked: Counter[str] = field(default_factory=Counter)
    _dead: dict[str, str] = field(default_factory=dict)
    _sources: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        """Start the worker without waiting for what it preloads: the first question waits.

        Raises:
            IsolationError: the sandbox did not start.
        """
        self.worker.start()

    def ask(
        self, probe: str, /, time_s: float | None = None, *, finite: bool = True, **arguments: Any
    ) -> Any:
        """Run a probe of the pack beside the candidate, and return its answer.

        Args:
            probe: `file.function`, such as `loss.value`: the function `value` of the pack's
                `loss.py`. It is called with the candidate, whose modules are its attributes, and
                with `arguments`; it travels as text.
            time_s: wall time; the queue's `question` if left out.
            finite: refuse an answer with NaN or infinity, which comparisons take in odd ways.
            arguments: JSON values and arrays.

        Returns:
            What the probe returned: an `Answer` where it is a mapping; arrays are numpy's.

        Raises:
            CandidateError: no answer in time, an exception, a crash, garbage.
        """
        module, _, function = probe.rpartition(".")
        question = {
            "name": f"{module}.py",
            "source": self._source(module),
            "function": function,
            "arguments": arguments,
            "seed": self._seed_of(probe, arguments),
            "time_s": self.settings.question if time_s is None else time_s,
            "dead": self._dead,
        }
        reply = self.worker.exchange(question)
        answer = self._understood(reply, question)
        if finite and not wire.finite(answer):
            raise CandidateError("the answer has numbers that are not finite (NaN or infinity)")
        return answer

    def ask_module(self, name: str) -> None:
        """Import one module of the candidate, and nothing else; raises as `ask` does."""
        self._sources.setdefault(_IMPORT, _IMPORT_SOURCE)
        self.ask(f"{_IMPORT}.module", name=name)

    def close(self) -> None:
        """End the worker and all that runs in its sandbox."""
        self.worker.close()

    def __enter__(self) -> Candidate:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _seed_of(self, probe: str, arguments: Mapping[str, Any]) -> int:
        """Return another seed for each question, whatever other questions were asked before."""
        plain = {name: v for name, v in arguments.items() if isinstance(v, int | float | str)}
        key = f"{probe} {sorted(plain.items())}"
        self._asked[key] += 1
        return (self.seed << 32) + zlib.crc32(f"{key} {self._asked[key]}".encode())

    def _source(self, module: str) -> str:
        if module not in self._sources:
            path = self.probes.joinpath(*module.split(".")).with_suffix(".py")
            self._sources[module] = path.read_text("utf-8")
        return self._sources[module]

    def _understood(self, reply: Reply, question: Mapping[str, Any]) -> Any:
        """Return the answer of a reply, or raise what it says."""
        match reply:
            case Failed():
                raise CandidateError(self._failure(reply, question))
            case Raised(raised=error):
                self._note(reply.lines)
                text = one_line(f"{error.kind}: {error.text}", _MESSAGE_CAP)
                raise CandidateError(text, told_place(error.at))
            case Answered(answer=answer):
                self.tampered |= {*WATCHED} & {*reply.tampered}
                self._note(reply.lines)
                return Answer(answer) if isinstance(answer, dict) else answer

    def _note(self, lines: Mapping[str, Sequence[int]]) -> None:
        for path, numbers in lines.items():
            self.reached.setdefault(path, set()).update(numbers)

    def _failure(self, reply: Failed, question: Mapping[str, Any]) -> str:
        limit = f"{question['time_s']:g} s"
        doing = reply.stage if reply.stage.startswith("importing ") else "answering"
        if reply.failed == "time":
            text = f"{doing} did not end within {limit}"
        elif reply.failed == "ended":
            text = f"{doing}, the process {told_status(reply.status)} without an answer"
        else:
            text = one_line(f"no usable answer: {reply.text or 'the worker ended'}", _MESSAGE_CAP)
        if doing != "answering":  # it would happen again, and cost its time each time
            self._dead[doing.removeprefix("importing ")] = text
        return text


def fresh_seed() -> int:
    """Return a seed that nobody could know before; 32 bits, so that it can be typed."""
    return int.from_bytes(os.urandom(4), "big")
