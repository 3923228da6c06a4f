"""Keeps one worker from verdict to verdict, so that what it preloads is waited for only once.

It is a process of its own: a sandbox dies with the thread that started it, and the pytest of a
verdict ends with the verdict. Nothing of one verdict is there in the next: the worker forks for
each question, and one in whose folders the code has left anything is not kept.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from promptqueue.queue.verification import Verification
from promptqueue.verify import wire
from promptqueue.verify.pytest_process import die_with
from promptqueue.verify.replies import Reply
from promptqueue.verify.sandbox import Sandbox
from promptqueue.verify.scratch import scratch_folder
from promptqueue.verify.snapshot import Copy
from promptqueue.verify.worker_process import Worker, WorkerProcess, frame_of

_END_S = 10.0
"""What a keeper gets to end its worker and remove its folder."""
_lent: Connection | None = None


@contextmanager
def open_keeper() -> Iterator[Connection]:
    """Fork a process that keeps a worker, and give the line to it; leave the block to end both.

    Whoever calls has no threads, and dies no sooner than those that it lends the line to.
    """
    ours, theirs = Pipe()
    owner, child = os.getpid(), os.fork()
    if not child:
        ours.close()
        _be_the_keeper(theirs, owner)
    theirs.close()
    try:
        yield ours
    finally:
        os.kill(child, signal.SIGTERM)  # it has nobody to work for
        _await(child)
        ours.close()


def lend(line: Connection) -> None:
    """Have this process, and no other meanwhile, use what is kept at the end of the line."""
    global _lent
    _lent = line


def worker_for(sandbox: Sandbox, code: Copy, settings: Verification) -> Worker:
    """Return the worker that was lent to this process, turned to this code, or one of its own."""
    if _lent is None:
        return WorkerProcess(sandbox, code, settings)
    return _LentWorker(_lent, (sandbox, code, settings))


class _LentWorker:
    """The other end of `_Keeper`; where that is gone, a worker of this process's own."""

    def __init__(self, line: Connection, told: tuple[Sandbox, Copy, Verification]) -> None:
        self._line, self._told = line, told
        self._number, self._turned = 0, False
        self._own: WorkerProcess | None = None

    def start(self) -> None:
        self._call("start")

    def exchange(self, question: Mapping[str, Any]) -> Reply:
        plain = wire.decode(frame_of(question))  # no tensors, of which torch shares the memory
        reply: Reply = self._call("exchange", plain)
        return reply

    def close(self) -> None:
        """Leave what is kept warm: the next one begins with `turn_to`."""
        if self._turned:
            self._call("rest")
        if self._own is not None:
            self._own.close()

    def _call(self, name: str, *arguments: Any) -> Any:
        if self._own is None:
            try:
                if not self._turned:
                    self._asked("turn_to", *self._told)
                    self._turned = True
                return self._asked(name, *arguments)
            except (EOFError, OSError):
                self._own = WorkerProcess(*self._told)
        return getattr(self._own, name)(*arguments)

    def _asked(self, name: str, *arguments: Any) -> Any:
        """Ask, and wait for the reply; those to who had the line before are passed over."""
        self._number += 1
        mark = (os.getpid(), self._number)
        self._line.send((mark, name, arguments))
        while (answer := self._line.recv())[0] != mark:
            pass
        _, result, raised = answer
        if raised is not None:
            raise raised
        return result


@dataclass(slots=True)
class _Keeper:
    """Has one worker, whose sandbox sees `folder` as its code."""

    folder: Path
    worker: WorkerProcess | None = None

    def turn_to(self, sandbox: Sandbox, code: Copy, settings: Verification) -> None:
        """Bring other code; a worker of another kind begins anew."""
        copy = Copy(self._filled_with(code), code.package)
        worker = self.worker
        if worker is not None and (worker.sandbox, worker.settings) == (sandbox, settings):
            worker.turn_to(copy)
            return
        self.close()
        self.worker = WorkerProcess(sandbox, copy, settings)

    def start(self) -> None:
        assert self.worker is not None
        self.worker.start()

    def exchange(self, question: Mapping[str, Any]) -> Reply:
        assert self.worker is not None
        return self.worker.exchange(question)

    def rest(self) -> None:
        assert self.worker is not None
        self.worker.rest()

    def close(self) -> None:
        if self.worker is not None:
            self.worker.close()

    def _filled_with(self, code: Copy) -> Path:
        """Replace what is in the folder, but not the folder, which a sandbox may have mounted."""
        self.folder.mkdir(exist_ok=True)
        for each in self.folder.iterdir():
            if each.is_dir():
                shutil.rmtree(each)
            else:
                each.unlink()
        shutil.copytree(code.root, self.folder, dirs_exist_ok=True)
        return self.folder


def _be_the_keeper(line: Connection, owner: int) -> NoReturn:
    try:
        die_with(owner)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        with scratch_folder() as scratch:
            scratch.chmod(0o755)  # whoever runs the code is another user
            with contextlib.closing(_Keeper(scratch / "code")) as kept:
                _serve(line, kept)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def _serve(line: Connection, kept: _Keeper) -> None:
    """Do what is asked, one thing after the other."""
    while True:
        mark, name, arguments = line.recv()
        result = raised = None
        try:
            result = getattr(kept, name)(*arguments)
        except Exception as error:
            raised = error
        line.send((mark, result, raised))


def _await(child: int) -> None:
    """Wait for its end, or bring it about."""
    deadline = time.monotonic() + _END_S
    while not os.waitpid(child, os.WNOHANG)[0]:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)
