"""A running sandbox: its pipes, its watcher, and how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

from promptqueue.errors import IsolationError
from promptqueue.queue.verification import SandboxLimits
from promptqueue.verify import watch
from promptqueue.verify.isolation import TMPFS, Places, Plan

_POLL_S, _REST_S = 0.05, 2.0
"""Between two looks at what it uses: at work, and at rest."""
_START_S = 10.0
"""Patience until every door is shut; the self-test of a busy machine takes a tenth of it."""
_SWEEP_S = 1.0
"""What a supervisor without a PID namespace gets to end its descendants by itself."""
_END_S = 5.0
"""What the kernel gets to take a killed process away."""
_KEPT = 64 << 10
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended, as the host saw it."""

    exit_code: int | None
    signal: int | None
    stopped: str
    """Empty, or the limit it was killed for: time, memory, processes, files, output, disk."""
    detail: str
    stdout: bytes
    stderr: str
    seconds: float
    peak_mib: float
    files: Mapping[str, bytes] = field(default_factory=dict)


class Process:
    """A command in its sandbox; `close` it, or leave its `with` block, and nothing of it runs.

    Args:
        popen: the outermost process.
        plan: how it is kept apart.
        limits: what the whole tree may use.
        places: where the command finds its code and its working files.
        belongings: what goes when it is closed.
    """

    def __init__(
        self,
        popen: subprocess.Popen[bytes],
        plan: Plan,
        limits: SandboxLimits,
        *,
        places: Places,
        belongings: ExitStack,
    ) -> None:
        self._popen, self._plan, self._limits = popen, plan, limits
        self._scratch, self._belongings = places.scratch, belongings
        self.pid = popen.pid
        self.stdin = cast(BinaryIO, popen.stdin)
        self.stdout = cast(BinaryIO, popen.stdout)
        self.found: dict[str, str] = {}
        self.files: dict[str, bytes] = {}
        self.stopped, self._peak, self._ended = "", 0.0, None
        self._begin, self._seconds = time.monotonic(), 0.0
        self._head, self._tail, self._said = b"", b"", 0
        self._init: int | None = None
        self._last: int | None = None
        """Readable once the first process of the PID namespace is gone, which ends last."""
        self._blind: Exception | None = None
        self._threads: list[threading.Thread] = []
        self._at_work = threading.Event()
        self._at_work.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything that runs in the sandbox; once is enough, more does no harm.

        Raises:
            IsolationError: a process is there still, although it was killed; or it ran unwatched.
        """
        self.kill()
        try:
            self._popen.wait(_END_S)
            if self._last is not None:
                select.select([self._last], [], [], _END_S)
        except subprocess.TimeoutExpired:
            raise IsolationError(
                f"process {self.pid} of the sandbox is still there {_END_S:g} s after it "
                "was killed; look at it with ps, nothing of its verdict counts"
            ) from None
        finally:
            self._release()
        if self._blind is not None:
            told = f"{type(self._blind).__name__}: {self._blind}"
            raise IsolationError(
                f"the watch over the sandbox broke ({told}), so that no limit held; "
                "what ran in it was ended, and nothing of its verdict counts"
            ) from self._blind

    def _release(self) -> None:
        self._last = None
        for thread in self._threads:
            thread.join(2)
        for pipe in (self.stdin, self.stdout, self._popen.stderr):
            with contextlib.suppress(OSError):
                cast(BinaryIO, pipe).close()
        self._belongings.close()

    def wait(self, timeout_s: float | None = None) -> Outcome:
        """Wait for the end, or kill it after `timeout_s`; the limits hold in any case."""
        try:
            self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.stop("time")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(_END_S)
        for thread in self._threads:
            thread.join(2)
        return self._outcome()

    def rest(self) -> None:
        """Look seldom until `wake`: nothing of the code runs, and to look takes time of others."""
        self._at_work.clear()

    def wake(self) -> None:
        """Look often again."""
        self._at_work.set()

    def forget(self) -> None:
        """Begin to count what it prints anew."""
        self._head, self._tail, self._said = b"", b"", 0

    def kill(self) -> None:
        """Kill the whole tree; a PID namespace dies with its first process."""
        self.wake()  # who watches sees the end
        if self._popen.poll() is not None:
            return
        if self._plan.backend == "bwrap":
            pids = watch.tree(self.pid)
            watch.kill(self.pid)
            for pid in pids:
                watch.kill(pid)
            return
        self._popen.terminate()  # its supervisor sweeps
        try:
            self._popen.wait(_SWEEP_S)
        except subprocess.TimeoutExpired:
            watch.kill_tree(self.pid, _SWEEP_S)

    def sweep(self, keep: int) -> None:
        """Kill what a process of the sandbox has started, but not that process itself.

        Args:
            keep: its number on the host.
        """
        if not (watch.is_childless(keep) or watch.kill_below(keep, _SWEEP_S)):
            self.stop("processes")  # they are born faster than they die

    def stop(self, why: str) -> None:
        """Kill it for a limit; the first reason counts."""
        self.stopped = self.stopped or why
        self._seconds = self._seconds or time.monotonic() - self._begin
        self.kill()

    def stderr_text(self) -> str:
        """Return the head and the tail of standard error, safe to show."""
        gap = b"\n[...]\n" if len(self._tail) >= _KEPT else b""
        text = (self._head + gap + self._tail).decode("utf-8", "replace")
        return "".join(
            c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
        )

    def begin(self, control: BinaryIO, status: BinaryIO) -> None:
        """Wait until the launcher has locked everything.

        Raises:
            IsolationError: it never got so far.
        """
        self._thread(self._read_errors)
        deadline = time.monotonic() + _START_S
        first = _line(control, deadline)
        told = json.loads(first) if first else {}
        if "started" not in told:
            late = time.monotonic() >= deadline
            control.close()
            status.close()
            watch.kill_tree(self.pid, _SWEEP_S)
            self._threads[0].join(2)
            said = told.get("failed") or ("" if late else self.stderr_text().strip())
            silent = "no word from inside" + (f" within {_START_S:g} s" if late else "")
            raise IsolationError(f"the sandbox did not start: {said or silent}")
        self.found = told["found"]
        with status:
            if self._plan.backend == "bwrap":  # no one else writes there
                self._init = json.loads(_line(status, deadline) or "{}").get("child-pid")
        if self._init is not None:
            with contextlib.suppress(OSError):  # it has ended, or there are no such descriptors
                self._last = os.pidfd_open(self._init)
                self._belongings.callback(os.close, self._last)
        self._thread(self._read_control, control)
        self._thread(self._watch)

    def _thread(self, target: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _read_errors(self) -> None:
        while data := os.read(cast(BinaryIO, self._popen.stderr).fileno(), _KEPT):
            self._said += len(data)
            room = _KEPT - len(self._head)
            self._head += data[:room]
            self._tail = (self._tail + data[room:])[-_KEPT:]
            if self._said > self._limits.output_mib * _MIB:
                return self.stop("output")
        return None

    def _read_control(self, control: BinaryIO) -> None:
        with control, contextlib.suppress(ValueError, KeyError):
            told = json.loads(control.readline(_MIB))
            self._ended = told["ended"]
            for name, size in told["files"].items():
                if size <= self._limits.output_mib * _MIB:
                    self.files[name] = control.read(size)

    def _watch(self) -> None:
        try:
            self._hold_to_limits()
        except Exception as error:
            self._blind = error
            self.stop("watch")

    def _hold_to_limits(self) -> None:
        while self._popen.poll() is None:
            pids = watch.tree(self.pid)
            usage = watch.usage(pids, alone=self._init)
            self._peak = max(self._peak, usage.memory_mib)
            if time.monotonic() - self._begin > self._limits.wall_s:
                return self.stop("time")
            if usage.memory_mib > self._limits.memory_mib:
                return self.stop("memory")
            if usage.threads > self._limits.processes + 3:  # the init, the launcher, a zombie
                return self.stop("processes")
            if crowded := self._crowded():
                return self.stop(crowded)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(_POLL_S)
            self._at_work.wait(_REST_S)
        return None

    def _crowded(self) -> str:
        if self._plan.backend != "bwrap":
            return watch.folder_crowd(Path(self._scratch), self._limits)
        places = [f"/proc/{self._init}/root{path}" for path in TMPFS]
        return watch.crowd(places, self._limits)

    def _outcome(self) -> Outcome:
        seconds = self._seconds or time.monotonic() - self._begin
        code: int | None = None
        number: int | None = 9
        if self._ended is not None and not self.stopped:
            end = os.waitstatus_to_exitcode(self._ended)
            code, number = (end, None) if end >= 0 else (None, -end)
        if number == 24 and self._limits.cpu_s:  # SIGXCPU
            self.stopped = "time"
        detail = f"exit code {code}" if code is not None else f"ended by signal {number}"
        if self.stopped:
            detail = f"killed at its {self.stopped} limit"  # and no figure that differs each time
        return Outcome(
            *(code, number, self.stopped, detail, b"", self.stderr_text(), seconds, self._peak),
            files=self.files,
        )


def feed(pipe: BinaryIO, data: bytes) -> None:
    """Write `data` into a pipe in a thread: more than a pipe holds may never be read."""
    threading.Thread(target=_feed, args=(pipe, data), daemon=True).start()


def _feed(pipe: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    with contextlib.suppress(OSError, ValueError), pipe:
        while view:
            view = view[os.write(pipe.fileno(), view) :]


def _line(pipe: BinaryIO, deadline: float) -> bytes:
    """Return the next line, or nothing; each comes in one write, which a pipe does not divide."""
    if not select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
        return b""
    line = pipe.readline(_MIB)
    return line if line.endswith(b"\n") else b""
