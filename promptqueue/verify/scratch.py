"""Temporary folders that do not outlive their owner for long, not even one that was killed."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "promptqueue-scratch-"
_YOUNG_S = 60.0
"""A folder of this age may not have been locked yet."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder, and remove it; and those of this user whose owners are dead.

    The owner holds a lock on its folder, which the kernel takes away when it dies: unlike a process
    number, a lock is the same in every container that shares the folder.
    """
    remove_abandoned()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        _remove(folder)
        os.close(lock)


@functools.cache
def remove_abandoned() -> None:
    """Remove the folders of this user that nobody holds; one look per process is enough."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another one was faster
            there = folder.lstat()
            if there.st_uid == os.geteuid() and time.time() - there.st_mtime > _YOUNG_S:
                _remove_unless_held(folder)


def _remove_unless_held(folder: Path) -> None:
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(folder)
    finally:
        os.close(place)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, onerror=_opened)


def _opened(_: object, path: str, __: object) -> None:
    """Remove what could not be: judged code can make folders that even their owner cannot enter."""
    with contextlib.suppress(OSError):
        if not os.path.islink(path):  # noqa: PTH114 - a name, as rmtree gives it
            Path(path).chmod(0o700)
        shutil.rmtree(path, ignore_errors=True)
