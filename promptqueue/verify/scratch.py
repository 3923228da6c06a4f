"""Temporary folders that do not outlive their owner for long, not even one that was killed."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import itertools
import os
import secrets
import stat
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
        with contextlib.suppress(Exception):  # whatever is wrong with one; or another was faster
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
    """Remove a folder, however deep it is, and what in it is closed even to its owner.

    Judged code may have made more folders in folders than calls may be nested, or a path may be
    long. So each moves to the top before it is looked into; by descriptors, so that no link leads
    astray meanwhile.
    """
    with contextlib.suppress(OSError):
        top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            waiting, names = _listed(top), _fresh_names()
            while waiting:
                name = waiting.pop()
                with contextlib.suppress(OSError):
                    waiting += _lifted(name, top, names)
                with contextlib.suppress(OSError):
                    os.rmdir(name, dir_fd=top)
        finally:
            os.close(top)
        folder.rmdir()


def _lifted(name: str, top: int, names: Iterator[str]) -> list[str]:
    """Remove the files of a folder in `top`, or that file; return the new names of its folders."""
    lifted: list[str] = []
    if _is_unlinked(name, top):
        return lifted
    inner = _opened_up(name, top)
    try:
        for each in _listed(inner):
            with contextlib.suppress(OSError):
                if not _is_unlinked(each, inner):
                    os.close(_opened_up(each, inner))  # what moves changes, too: its ".."
                    os.rename(each, new := next(names), src_dir_fd=inner, dst_dir_fd=top)
                    lifted.append(new)
    finally:
        os.close(inner)
    return lifted


def _listed(place: int) -> list[str]:
    with os.scandir(place) as entries:
        return [entry.name for entry in entries]


def _is_unlinked(name: str, place: int) -> bool:
    """Remove what is no folder; return whether it was none."""
    if stat.S_ISDIR(os.stat(name, dir_fd=place, follow_symlinks=False).st_mode):
        return False
    os.unlink(name, dir_fd=place)
    return True


def _opened_up(name: str, place: int) -> int:
    """Open a folder, and let its owner in before."""
    flags = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    if sys.platform == "linux":
        inner = os.open(name, os.O_PATH | flags, dir_fd=place)
        try:
            os.chmod(f"/proc/self/fd/{inner}", 0o700)  # noqa: PTH101 - O_PATH needs this name
        finally:
            os.close(inner)
    return os.open(name, os.O_RDONLY | flags, dir_fd=place)


def _fresh_names() -> Iterator[str]:
    """Yield names that nobody has given."""
    prefix = secrets.token_hex(16)
    return (f"{prefix}-{number}" for number in itertools.count())
