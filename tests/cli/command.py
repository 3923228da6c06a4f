"""Runs the command in a clean environment: here, or in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from unittest import mock

from promptqueue.cli.app import main

COMMAND = [sys.executable, "-m", "promptqueue"]
QUEUE = """\
promptqueue: 1
name: tiny
defaults: {params: {seed: 5}, refine: {turns: 1}}
steps:
  - id: one
    task: Write one.py.
    outputs: [{path: one.py, symbols: [one]}]
  - id: two
    task: Write two.py.
    outputs: [{path: two.py}]
"""
CONFIG = """\
[endpoints.test]
base_url = "{base_url}"
attempts = 2
idle_timeout_s = 30
"""


@dataclass
class Shell:
    """A folder with a queue, in which commands are run."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "HOME")}
        config = {"PROMPTQUEUE_CONFIG": str(self.folder / "config.toml")}
        return {**kept, **config, "NO_COLOR": "1", **self.environ}

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(textwrap.dedent(text), "utf-8")
        return path

    def configure(self, base_url: str) -> None:
        self.write("config.toml", CONFIG.format(base_url=base_url))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end in this process, which has loaded everything already."""
        with self._inside(arguments), _captured() as (out, err):
            try:
                main()
                code: object = 0
            except SystemExit as end:
                code = end.code or 0
            texts = [_read(out), _read(err)]
        assert isinstance(code, int)
        return subprocess.CompletedProcess(["promptqueue", *arguments], code, *texts)

    def run_apart(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end in a process of its own."""
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @contextlib.contextmanager
    def _inside(self, arguments: tuple[str, ...]) -> Iterator[None]:
        """Make this process look like one that was started in the folder."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
        handlers = {number: signal.getsignal(number) for number in numbers}
        with (
            contextlib.chdir(self.folder),
            mock.patch.dict(os.environ, self.environment(), clear=True),
            mock.patch.object(sys, "argv", ["promptqueue", *arguments]),
        ):
            try:
                yield
            finally:
                for number, handler in handlers.items():
                    signal.signal(number, handler)

    def journal(self) -> str:
        paths = sorted(self.folder.glob(".promptqueue/runs/*/journal.jsonl"))
        return paths[-1].read_text("utf-8") if paths else ""


@contextlib.contextmanager
def _captured() -> Iterator[tuple[IO[str], IO[str]]]:
    """Give the command files to print to: real ones, so that they have a number."""
    lenient = "backslashreplace"  # as Python opens standard error
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as out,
        tempfile.TemporaryFile("w+", encoding="utf-8", newline="", errors=lenient) as err,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        yield out, err


def _read(file: IO[str]) -> str:
    file.flush()
    file.seek(0)
    return file.read()
