"""The exception tree; each class owns the exit code of the command line.

PromptQueueError                 1    our own fault
├── UsageError                   2    a flag, an input or a name is wrong
│   └── QueueFileError           2    the queue file has problems (all of them are listed)
├── EndpointError                3    the model could not be asked, or did not answer
├── LimitReached                 4    a limit of the queue was reached; the run can be resumed
├── ReplyError                   5    nothing usable in the replies
├── StorageError                 6    the workspace or the run directory cannot be used
├── ChecksFailed                 100  generated code is not what its queue asks for
├── IsolationError               125  no sandbox that is strong enough; nothing was run in it
└── Interrupted                  130  stopped by the user; the run can be resumed

A message says what was found, where, and the way out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar


class PromptQueueError(Exception):
    """Anything that promptqueue reports by itself; never shown with a traceback."""

    exit_code: ClassVar[int] = 1


class UsageError(PromptQueueError):
    """A flag, an input or a name on the command line is wrong."""

    exit_code = 2


class QueueFileError(UsageError):
    """A queue file cannot be used; the message lists every problem with its position."""


class EndpointError(PromptQueueError):
    """The endpoint could not be asked, or its answer is not one."""

    exit_code = 3


class LimitReached(PromptQueueError):
    """A limit of the queue was reached before the next call."""

    exit_code = 4


class ReplyError(PromptQueueError):
    """The model answered, but not with what the step declares."""

    exit_code = 5


class StorageError(PromptQueueError):
    """The workspace or the run directory cannot be read or written."""

    exit_code = 6


class ChecksFailed(PromptQueueError):
    """Generated code was judged, and is not what its queue asks for."""

    exit_code = 100


class IsolationError(PromptQueueError):
    """There is no sandbox as strong as asked for, or it did not start; never a verdict."""

    exit_code = 125


class Interrupted(PromptQueueError):
    """The user stopped the run."""

    exit_code = 130


@contextlib.contextmanager
def writing(path: Path, way_out: str = "") -> Iterator[None]:
    """Let what the system refuses say what it was, and the way out.

    Args:
        path: what is written.
        way_out: what the user can do.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        yield
    except OSError as error:
        words = f"{path} cannot be written: {error.strerror or error}"
        raise StorageError(f"{words}; {way_out}" if way_out else words) from error
