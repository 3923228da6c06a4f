"""A trusted pytest that has its imports behind it: a server that forks for each verdict.

`WarmPytest` is the side of who judges. The server, `python -m promptqueue.verify.warm`, reads one
job per line and answers each with one line. A job runs in a child of its own, so nothing that it
imports or changes is there for the next one; the server itself runs no check. Beside it a keeper
holds the worker in the sandbox, which all of them ask.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any, NoReturn

from promptqueue.errors import PromptQueueError
from promptqueue.verify.contract import Completed, TookTooLong
from promptqueue.verify.keeper import lend, open_keeper
from promptqueue.verify.pytest_process import BROKEN, die_with, run_here

_OWN = ("pytest", "promptqueue.verify.findings", "promptqueue.verify.static", "yaml", "jinja2")
"""What the plugin imports; pytest wants to read the plugin itself."""
_END_S = 12.0
"""What the server gets to end by itself what it has started."""


class ServerGone(PromptQueueError):
    """The server did not start or did not answer; the same verdict can be had without it."""


class WarmPytest:
    """Runs pytest in forks of one process, which starts with the first and ends with `close`.

    Args:
        preload: modules to import before; one that is not there is left out.
    """

    def __init__(self, preload: Sequence[str]) -> None:
        self.preload = tuple(preload)
        self._server: subprocess.Popen[bytes] | None = None

    def __call__(
        self,
        arguments: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        time_s: float | None = None,
    ) -> Completed:
        """Run pytest with these arguments.

        Raises:
            ServerGone: it does not answer.
            TookTooLong: after `time_s` it was ended.
        """
        job = {"arguments": [*arguments], "cwd": str(cwd), "env": dict(env)}
        try:
            answer = self._asked(json.dumps(job).encode() + b"\n", env, time_s)
        except BaseException as error:
            self.close()  # nobody waits for a verdict that is under way
            if isinstance(error, OSError):
                raise ServerGone(f"the warm pytest cannot be asked: {error}") from error
            raise
        if not answer:
            self.close()
            raise ServerGone("the warm pytest ended without an answer")
        completed = Completed(**json.loads(answer))
        if completed.code < 0:
            self.close()  # it may have died in the middle of a word to the keeper
        return completed

    def close(self) -> None:
        """End the server and what it runs; it starts anew when it is needed."""
        server, self._server = self._server, None
        if server is None:
            return
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.close()  # it has nobody to work for
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(_END_S)
        server.kill()  # and the kernel ends its children
        with server.stdout:
            server.stdout.read()  # it ends when all of them have
        server.wait()

    def _asked(self, line: bytes, env: Mapping[str, str], time_s: float | None) -> bytes:
        if self._server is None:
            self._server = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, *self.preload],
                cwd="/",
                env=env,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is the business of who called
            )
        stdin, stdout = self._server.stdin, self._server.stdout
        assert stdin is not None
        assert stdout is not None
        view = memoryview(line)
        while view:
            view = view[stdin.write(view) :]
        if not select.select([stdout], [], [], time_s)[0]:
            raise TookTooLong
        with os.fdopen(os.dup(stdout.fileno()), "rb") as answers:
            answer = answers.readline()
        return answer if answer.endswith(b"\n") else b""


def serve(preload: Sequence[str]) -> None:
    """Answer jobs until nobody is there to send any."""
    with os.fdopen(os.dup(1), "wb", buffering=0) as answers:
        os.dup2(2, 1)  # what is imported may print
        for name in (*_OWN, *preload):
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        with open_keeper() as kept:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # the keeper ends before it
            while line := sys.stdin.buffer.readline():
                with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
                    status = _forked(json.loads(line), out, err, kept)
                    answer = {"code": os.waitstatus_to_exitcode(status), "output": _text(out, err)}
                answers.write(json.dumps(answer).encode() + b"\n")


def _forked(job: dict[str, Any], out: IO[bytes], err: IO[bytes], kept: Connection) -> int:
    """Run a job in a child and return how it ended; without a caller, neither of them goes on."""
    alive, held = os.pipe()  # readable when the child, which alone keeps the other end, is gone
    server = os.getpid()
    child = os.fork()
    if child == 0:
        lend(kept)
        _become(job, out.fileno(), err.fileno(), server)
    os.close(held)
    with os.fdopen(alive, "rb"):
        ready, _, _ = select.select([alive, 0], [], [])
    if alive not in ready:  # the caller speaks only when answered: this is its end
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def _become(job: dict[str, Any], out: int, err: int, server: int) -> NoReturn:
    """Do what `python -m pytest` does, and end: nothing returns into the server."""
    code = BROKEN
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        die_with(server)
        os.setsid()
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (out, 1), (err, 2)):
            os.dup2(source, target)
        os.chdir(job["cwd"])
        os.environ.clear()
        os.environ.update(job["env"])
        sys.path.insert(0, job["cwd"])
        code = run_here(job["arguments"])
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _text(*files: IO[bytes]) -> str:
    said = b""
    for file in files:
        file.seek(0)
        said += file.read()
    return said.decode("utf-8", "replace")


if __name__ == "__main__":
    serve(sys.argv[1:])
