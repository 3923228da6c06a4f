"""The trusted side of the wire: puts questions to the code under test, and believes nothing."""

from __future__ import annotations

import json
import math
import os
import time
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
    Ready,
    Reply,
    read_reply,
    told_place,
    told_status,
)
from promptqueue.verify.sandbox import Process, Sandbox
from promptqueue.verify.snapshot import Copy
from promptqueue.verify.tamper import WATCHED

_IMPORT = "_import"
_IMPORT_SOURCE = "def module(candidate, name):\n    candidate.module(name)\n"
_TRAVELS = tuple(
    Path(__file__).with_name(f"{name}.py")
    for name in ("worker", "wire", "reaper", "exercised", "tamper")
)
_MESSAGE_CAP = 500
_BOOT_S = 120.0
"""Patience while the worker starts and preloads."""
_GRACE_S = 0.9
"""What the worker may take over a question's time to say that it is over."""


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
        sandbox: where the code runs.
        code: a copy of the generated files.
        probes: folder of the pack's probes.
        settings: what the queue file says of judging.
        seed: of all questions; each has one of its own that follows from it.
    """

    sandbox: Sandbox
    code: Copy
    probes: Path
    settings: Verification
    seed: int
    tampered: set[str] = field(default_factory=set)
    """Functions of other libraries that the code replaced: a warning light."""
    reached: dict[str, set[int]] = field(default_factory=dict)
    """File to the lines of its functions that questions ran, as the sandbox tells: a hint."""
    _process: Process | None = None
    _worker: int | None = None
    """Its process number; None until it is ready."""
    _asked: Counter[str] = field(default_factory=Counter)
    _spent_s: float = 0.0
    _dead: dict[str, str] = field(default_factory=dict)
    _sources: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        """Start the worker without waiting for what it preloads: the first question waits.

        Raises:
            IsolationError: the sandbox did not start.
        """
        if self._process is not None and self._process.stopped:
            self.close()  # for what it did after its answer; the next question begins anew
        if self._process is None:
            self._process, self._worker = self._launched(), None

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
        reply = self._exchanged(question)
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
        process, self._process = self._process, None
        if process is not None:
            process.close()

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

    def _exchanged(self, question: dict[str, Any]) -> Reply:
        """Send a question and return the reply; a worker that is in no state to go on is ended."""
        left_s = self.settings.limits.wall_s - self._spent_s
        if left_s <= 0:
            return self._time_over()
        try:
            frame = wire.encode(question)
        except wire.WireError as error:  # a fault of the check, and no verdict on the code
            raise TypeError(f"{question['name']}: the question cannot be sent: {error}") from error
        process, worker = self._started()
        patience, begin = float(question["time_s"]) + _GRACE_S, time.monotonic()
        end = begin + left_s
        try:
            wire.write_all(process.stdin.fileno(), frame, deadline=min(begin + patience, end))
            deadline = min(time.monotonic() + patience, end)
            reply = wire.receive(process.stdout.fileno(), deadline=deadline)
        except wire.WireTimeout as error:
            text = self._end() or str(error)
            over = time.monotonic() >= end
            return self._time_over() if over else Failed(failed="time", text=text)
        except wire.WireError as error:
            return Failed(failed="worker", text=self._end() or str(error))
        finally:
            self._spent_s += time.monotonic() - begin
        if not self._alone:
            process.sweep(keep=worker)
        return read_reply(reply)

    def _time_over(self) -> Failed:
        text = f"the time of all questions, {self.settings.limits.wall_s:g} s, is used up"
        return Failed(failed="time over", text=text)

    @property
    def _alone(self) -> bool:
        """Tell whether the worker ends by itself what a question leaves running."""
        return "pid" in self.sandbox.isolation.layers

    def _end(self) -> str:
        """End the worker; return why the sandbox stopped it, if it did."""
        process, self._process = self._process, None
        assert process is not None
        with process:
            outcome = process.wait(0.2)
        return outcome.detail if outcome.stopped else ""

    def _started(self) -> tuple[Process, int]:
        """Return the worker, ready for a question, and its process number."""
        self.start()
        assert self._process is not None
        if self._worker is None:
            try:
                self._worker = _ready(self._process)
            except BaseException:
                self.close()
                raise
        return self._process, self._worker

    def _launched(self) -> Process:
        """Start a worker, whose wall time is that of its questions: idle time is not the code's."""
        config = {
            "preload": list(self.settings.preload),
            "code": "{code}",
            "package": self.code.package,
            "scratch": "{scratch}",
            "alone": self._alone,
        }
        return self.sandbox.start(
            ["python", "-I", str(_TRAVELS[0]), json.dumps(config)],
            code=self.code.root,
            limits=self.settings.limits.model_copy(update={"wall_s": math.inf}),
            readable=_TRAVELS,
            env={"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
        )

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


def _ready(process: Process) -> int:
    """Wait until the worker is ready, and return its number.

    Raises:
        RuntimeError: it does not start, or misses a module.
    """
    try:
        told = wire.receive(process.stdout.fileno(), deadline=time.monotonic() + _BOOT_S)
    except wire.WireError as error:
        outcome = process.wait(1)
        raise RuntimeError(
            f"the worker did not start ({error}; {outcome.detail or outcome.stderr[-500:]})"
        ) from error
    ready = Ready.model_validate(told)
    if ready.absent:
        raise RuntimeError(f"not installed: {', '.join(ready.absent)}; the queue preloads it")
    return ready.pid


def fresh_seed() -> int:
    """Return a seed that nobody could know before; 32 bits, so that it can be typed."""
    return int.from_bytes(os.urandom(4), "big")
