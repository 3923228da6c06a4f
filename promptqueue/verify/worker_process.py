"""The worker's process, seen from outside: started when asked, ended when it cannot go on."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from promptqueue.queue.verification import Verification
from promptqueue.verify import wire
from promptqueue.verify.isolation import TMPFS
from promptqueue.verify.replies import Failed, Ready, Reply, read_reply
from promptqueue.verify.sandbox import Process, Sandbox
from promptqueue.verify.snapshot import Copy

_TRAVELS = tuple(
    Path(__file__).with_name(f"{name}.py")
    for name in ("worker", "wire", "reaper", "exercised", "remains", "tamper")
)
_BOOT_S = 120.0
"""Patience while the worker starts and preloads."""
_LOOK_S = 5.0
"""Patience while the worker looks at what code has left."""
_GRACE_S = 0.9
"""What the worker may take over a question's time to say that it is over."""


class Worker(Protocol):
    """Where code runs: takes questions to it, and brings replies."""

    def start(self) -> None:
        """Start without waiting for what is preloaded; raises as `WorkerProcess.start` does."""
        ...

    def exchange(self, question: Mapping[str, Any]) -> Reply:
        """Send a question and return the reply; raises as `WorkerProcess.exchange` does."""
        ...

    def close(self) -> None:
        """Have no more questions."""
        ...


@dataclass(slots=True)
class WorkerProcess:
    """Carries questions into a sandbox and replies out of it, and keeps their time.

    Args:
        sandbox: where the code runs.
        code: a copy of the generated files.
        settings: what the queue file says of judging.
    """

    sandbox: Sandbox
    code: Copy
    settings: Verification
    process: Process | None = None
    """None before the start, and after the end."""
    spent_s: float = 0.0
    """Time that questions took so far."""
    _number: int | None = None
    """The worker's process number; None until it is ready."""

    def start(self) -> None:
        """Start the worker without waiting for what it preloads: the first question waits.

        Raises:
            IsolationError: the sandbox did not start.
        """
        if self.process is not None and self.process.stopped:
            self.close()  # for what it did after its answer; the next question begins anew
        if self.process is None:
            self.process, self._number = self._launched(), None

    def rest(self) -> None:
        """Expect no question for long."""
        if self.process is not None and self.process.stopped:
            self.close()  # and raise what is wrong with it, before other code has it
        elif self.process is not None:
            self.process.rest()

    def turn_to(self, code: Copy) -> None:
        """Ask about other code from now on; the worker stays if the code before left no trace.

        Args:
            code: it lies where the one before lay, which nobody asks about any more.
        """
        self.code, self.spent_s = code, 0.0
        # elsewhere, a limit counts the processes of the user as they were when it started
        kept = self._alone and self.settings.limits.cpu_s is None  # of which forks have used some
        if self.process is None:
            return
        if kept and self._clean(self.process):
            self.process.forget()
        else:
            self.close()

    def exchange(self, question: Mapping[str, Any]) -> Reply:
        """Send a question and return the reply; a worker that is in no state to go on is ended.

        Raises:
            TypeError: the question cannot be sent.
            RuntimeError: the worker does not start, or misses a module.
            IsolationError: the sandbox did not start.
        """
        left_s = self.settings.limits.wall_s - self.spent_s
        if left_s <= 0:
            return self._time_over()
        frame = frame_of({**question, "package": self.code.package})
        process, number = self._started()
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
        except BaseException:
            self.close()  # what is left of its answer is no answer to another question
            raise
        finally:
            self.spent_s += time.monotonic() - begin
        if not self._alone:
            process.sweep(keep=number)
        return read_reply(reply)

    def close(self) -> None:
        """End the worker and all that runs in its sandbox."""
        process, self.process = self.process, None
        if process is not None:
            process.close()

    def _time_over(self) -> Failed:
        text = f"the time of all questions, {self.settings.limits.wall_s:g} s, is used up"
        return Failed(failed="time over", text=text)

    @property
    def _alone(self) -> bool:
        """Tell whether the worker ends by itself what a question leaves running."""
        return "pid" in self.sandbox.isolation.layers

    def _clean(self, process: Process) -> bool:
        """Tell whether all that code can change in the sandbox is as before any question."""
        process.wake()
        if self._number is None:
            return True  # nobody has asked
        end = time.monotonic() + _LOOK_S
        try:
            wire.write_all(process.stdin.fileno(), wire.encode({"clean": None}), deadline=end)
            told = wire.receive(process.stdout.fileno(), deadline=end)
        except wire.WireError:
            return False
        return bool(told == {"clean": True})

    def _end(self) -> str:
        """End the worker; return why the sandbox stopped it, if it did."""
        process, self.process = self.process, None
        assert process is not None
        with process:
            return process.wait(0.2).detail if process.stopped else ""

    def _started(self) -> tuple[Process, int]:
        """Return the worker, ready for a question, and its process number."""
        self.start()
        assert self.process is not None
        if self._number is None:
            try:
                self._number = _ready(self.process)
            except BaseException:
                self.close()
                raise
        return self.process, self._number

    def _launched(self) -> Process:
        """Start a worker, whose wall time is that of its questions: idle time is not the code's."""
        config = {
            "preload": list(self.settings.preload),
            "code": "{code}",
            "scratch": "{scratch}",
            "writable": [*TMPFS] if self._alone else ["{scratch}"],
            "alone": self._alone,
        }
        return self.sandbox.start(
            ["python", "-I", str(_TRAVELS[0]), json.dumps(config)],
            code=self.code.root,
            limits=self.settings.limits.model_copy(update={"wall_s": math.inf}),
            readable=_TRAVELS,
            env={"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
        )


def frame_of(question: Mapping[str, Any]) -> bytes:
    """Return a question as it is sent; raises TypeError where it cannot be."""
    try:
        return wire.encode(question)
    except wire.WireError as error:  # a fault of the check, and no verdict on the code
        raise TypeError(f"{question['name']}: the question cannot be sent: {error}") from error


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
