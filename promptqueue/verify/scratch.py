"""Temporary folders that do not outlive their owner for long, not even one that was killed."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shutil
import sys
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
    """Remove a folder, and those in it that judged code closed even to their owner."""
    if sys.platform == "linux":
        for _, names, _, place in os.fwalk(folder):
            for name in names:
                with contextlib.suppress(OSError):  # a link, too
                    _open_up(name, place)
    shutil.rmtree(folder, ignore_errors=True)


def _open_up(name: str, place: int) -> None:
    """Let the owner enter a folder; by descriptors, so that no link leads astray meanwhile."""
    inner = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=place)
    try:
        os.chmod(f"/proc/self/fd/{inner}", 0o700)  # noqa: PTH101 - chmod of O_PATH needs this name
    finally:
        os.close(inner)
