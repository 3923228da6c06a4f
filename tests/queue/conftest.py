"""A folder for a queue file and what belongs to it; messages name files relative to it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from promptqueue.errors import QueueFileError
from promptqueue.queue.load import LoadedQueue, load_queue

TWO_STEPS = """\
promptqueue: 1
name: q
steps:
  - id: a
    task: Write a.
    outputs:
      - {path: a.py}
  - id: b
    task: Write b.
    outputs:
      - {path: b.py}
"""
"""Two steps in eleven lines: line 5 is the task of the first, line 9 that of the second."""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Return a function that writes `q.yaml` and other files, by name, into an empty folder."""
    monkeypatch.chdir(tmp_path)

    def write_files(queue: str | bytes, files: dict[str, str | bytes] | None = None) -> Path:
        for name, content in {"q.yaml": queue, **(files or {})}.items():
            path = Path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return Path("q.yaml")

    return write_files


@pytest.fixture
def refuse(write: Write) -> Callable[..., str]:
    """Return a function that loads a queue which cannot be loaded, and gives the message."""

    def message_of(queue: str | bytes, files: dict[str, str | bytes] | None = None) -> str:
        with pytest.raises(QueueFileError) as caught, at_most(10):
            load_queue(write(queue, files))
        return str(caught.value)

    return message_of


@pytest.fixture
def load(write: Write) -> Callable[..., LoadedQueue]:
    """Return a function that writes a queue and loads it."""
    return lambda queue, files=None: load_queue(write(queue, files))


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fail instead of hanging for ever."""

    def fail(*_: object) -> None:
        raise AssertionError(f"still not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def replaced(old: str, new: str, queue: str = TWO_STEPS) -> str:
    """Return a queue text with one place changed; the place must be there."""
    assert queue.count(old) == 1
    return queue.replace(old, new)
