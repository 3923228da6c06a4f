"""Runs the real command at work: in a pipe or a terminal, read, typed to and interrupted."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.cli.command import COMMAND, Shell


class Process:
    """A command at work, whose output is read while it runs."""

    def __init__(self, popen: subprocess.Popen[bytes], outputs: list[int]) -> None:
        self.popen = popen
        self.text = ""
        self._outputs = outputs
        self._read_to = 0

    def wait_for(self, condition: Callable[[], object], timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"it did not happen; said so far: {self.text}"
            self._read(0.01)

    def read_until(self, words: str, timeout_s: float = 60.0) -> None:
        """Wait for words that come after those of the last time."""
        self.wait_for(lambda: words in self.text[self._read_to :], timeout_s)
        self._read_to = self.text.index(words, self._read_to) + len(words)

    def type(self, line: str) -> None:
        """Type a line at the terminal."""
        os.write(self._outputs[0], f"{line}\n".encode())

    def send(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def end(self) -> int:
        """Wait for the end of its output, and return the exit code."""
        self.wait_for(lambda: not self._outputs)
        return self.popen.wait(10)

    def _read(self, timeout_s: float) -> None:
        for output in select.select(self._outputs, [], [], timeout_s)[0]:
            try:
                data = os.read(output, 65536)
            except OSError:  # a terminal whose other side is closed
                data = b""
            self.text += data.decode("utf-8", "replace")
            if not data:
                self._outputs.remove(output)
                os.close(output)


@contextmanager
def in_a_pipe(shell: Shell, *arguments: str) -> Iterator[Process]:
    reading, writing = os.pipe()
    yield from _started(shell, arguments, reading, writing, shell.environment())


@contextmanager
def in_a_terminal(shell: Shell, *arguments: str) -> Iterator[Process]:
    reading, writing = pty.openpty()
    environment = {**shell.environment(), "TERM": "xterm", "COLUMNS": "150", "LINES": "40"}
    yield from _started(shell, arguments, reading, writing, environment)


def _started(shell, arguments, reading, writing, environment) -> Iterator[Process]:
    popen = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=shell.folder,
        env=environment,
        stdin=writing if os.isatty(writing) else subprocess.DEVNULL,
        stdout=writing,
        stderr=writing,
        start_new_session=True,
    )
    os.close(writing)
    try:
        yield Process(popen, [reading])
    finally:
        popen.kill()
        popen.wait()
