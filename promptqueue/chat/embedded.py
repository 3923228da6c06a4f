"""The embedded endpoint, the parent's side: start llama.cpp's server, and leave nothing behind."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import secrets
import select
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from promptqueue.chat import llama_server
from promptqueue.chat.weights import EMBEDDED
from promptqueue.errors import EndpointError, StorageError
from promptqueue.extras import install_command

START_TIMEOUT_S = 120.0
"""Loading takes 6 s on two idle cores; a cold disk and a busy machine need their time."""

CLOSE_TIMEOUT_S = 5.0
"""For the child to go by itself (it takes milliseconds), and then again to obey SIGTERM."""

DYING_TIMEOUT_S = 1.0
"""So long a child that has just been killed may take to be gone."""

LOG_TAIL_BYTES = 16_384
LOG_LINES = 4
"""How much of the server's log an error shows."""

OTHER_ENDPOINT = "or set OPENAI_BASE_URL to use another endpoint"


class EmbeddedServer:
    """llama.cpp's OpenAI-compatible server with one model, as a context manager.

    The child is told to go by the end of its standard input, so it goes even when this
    process is killed. It answers on 127.0.0.1 only, and only to the bearer of `api_key`.

    Args:
        model_path: a GGUF file, as `ensure_weights` returns it.
        log_path: llama.cpp's log is appended here; without it, it is kept for errors only.
        context_tokens: prompt and reply together.
        threads: None lets llama.cpp count the cores.
    """

    model_name = EMBEDDED.name

    def __init__(
        self,
        model_path: Path,
        *,
        log_path: Path | None = None,
        context_tokens: int = 32_768,
        threads: int | None = None,
    ) -> None:
        self.model_path = model_path
        self.log_path = log_path
        self.context_tokens = context_tokens
        self.threads = threads
        self.base_url = ""
        """Known from `__enter__` on; ends in /v1."""
        self.api_key = secrets.token_urlsafe(32)
        self._log: IO[bytes] | None = None
        self._log_start = 0
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start the server and wait until it answers.

        Raises:
            EndpointError: xllamacpp is missing, or the server did not come up.
            StorageError: the log cannot be written.
        """
        require_xllamacpp()
        try:
            self._log = _open_log(self.log_path)
            self._log_start = self._log.seek(0, os.SEEK_END)
            self._child = self._spawn(self._log)
            self.base_url = self._read_address(self._child)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child: ask, then insist; may be called twice."""
        if self._child is not None:
            _end(self._child)
            self._child = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def explain_end(self) -> str | None:
        """Return what a user is told of a child that is gone; None while it lives."""
        why = self._why_gone()
        return f"The embedded model stopped: {why}\n{self._advice()}" if why else None

    def _why_gone(self) -> str | None:
        if self._child is None:
            return None
        try:  # a broken connection is seen before the process that broke it is gone
            code = self._child.wait(DYING_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return None
        return f"{_name_exit(code)}{self._read_log_tail()}"

    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=os.environ | {llama_server.KEY_VARIABLE: self.api_key},
            start_new_session=True,  # Ctrl-C in the terminal is not for the child
        )

    def _command(self) -> list[str]:
        options = ["--model", str(self.model_path), "--name", self.model_name]
        options += ["--context", str(self.context_tokens), "--threads", str(self.threads or -1)]
        # -P: neither our folder nor the working directory may shadow a module of the child
        return [sys.executable, "-P", str(Path(llama_server.__file__)), *options]

    def _read_address(self, child: subprocess.Popen[bytes]) -> str:
        assert child.stdout is not None
        if not select.select([child.stdout], [], [], START_TIMEOUT_S)[0]:
            raise EndpointError(
                f"The embedded model did not come up within {START_TIMEOUT_S:.0f} s"
                f"{self._read_log_tail()}\nFree some memory or cores and run again, "
                f"{OTHER_ENDPOINT}."
            )
        if line := child.stdout.readline():
            return str(json.loads(line)["base_url"])
        with suppress(subprocess.TimeoutExpired):
            child.wait(CLOSE_TIMEOUT_S)
        why = self._why_gone() or "it closed its output"
        raise EndpointError(f"The embedded model did not come up: {why}\n{self._advice()}")

    def _advice(self) -> str:
        return (
            f"The model is {self.model_path}; it needs 3 GB of memory. Free some and run again, "
            f"{OTHER_ENDPOINT}."
        )

    def _read_log_tail(self) -> str:
        if self._log is None:
            return ""
        size = os.fstat(self._log.fileno()).st_size
        start = max(self._log_start, size - LOG_TAIL_BYTES)
        text = os.pread(self._log.fileno(), LOG_TAIL_BYTES, start).decode(errors="replace")
        return "".join(f"\n    {line}" for line in _pick_telling_lines(text))


def require_xllamacpp() -> None:
    if importlib.util.find_spec("xllamacpp") is None:
        raise EndpointError(
            "The embedded model needs the package xllamacpp, which is not installed: "
            f"{install_command('embedded')}, {OTHER_ENDPOINT}."
        )


def _open_log(path: Path | None) -> IO[bytes]:
    if path is None:
        return tempfile.TemporaryFile("ab+")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab+")
    except OSError as exc:
        raise StorageError(f"{path}: the server's log cannot be written: {exc.strerror}") from exc


def _end(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    with suppress(BrokenPipeError):
        child.stdin.close()
    for insist in (child.terminate, child.kill):
        try:
            child.wait(CLOSE_TIMEOUT_S)
            break
        except subprocess.TimeoutExpired:
            insist()
    child.wait()
    child.stdout.close()


def _name_exit(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}"
    return f"its process was ended by {signal.Signals(-code).name}"


def _pick_telling_lines(log: str) -> list[str]:
    """Return the first errors of llama.cpp and of Python, for the first is the cause."""
    lines = [re.sub(r"^[\d.]+ (?=[A-Z] )", "", line.rstrip()) for line in log.splitlines()]
    telling = [line for line in lines if re.match(r"E |\w*(Error|Exception)\b|.*GGML_ASSERT", line)]
    return list(dict.fromkeys(telling))[:LOG_LINES] or lines[-LOG_LINES:]
