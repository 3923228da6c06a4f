"""What the host watches of a running sandbox: memory, processes and files of its whole tree."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from promptqueue.queue.verification import SandboxLimits

_MIB = 1 << 20
_MEMORY = (b"RssAnon:", b"RssShmem:", b"VmSwap:", b"VmPTE:")
"""What counts of /proc/PID/status; tables of pages as well, which a large map of nothing needs."""
_SOCKET_BYTES = 212_992
"""The kernel's net.core.wmem_default, where a container does not show it."""
_DEEPEST = 64
"""Folders in folders that are looked into: each is held open, and no program needs more."""


def tree(root: int) -> list[int]:
    """Return the descendants of a process, without itself."""
    parents: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
            parent = int(file.read().rpartition(b")")[2].split()[1])
            parents.setdefault(parent, []).append(int(name))
    found: list[int] = []
    waiting = [root]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


@dataclass(frozen=True, slots=True)
class Usage:
    """What processes take together."""

    memory_mib: float
    """Private and shared anonymous memory, forked pages counted in each process, and sockets."""
    threads: int
    """Each process has at least one."""


def usage(pids: list[int], alone: int | None = None) -> Usage:
    """Add up what these processes take; those that are gone take nothing.

    Args:
        pids: of the processes.
        alone: one of them, if they have a network namespace of their own.
    """
    kib, threads = _socket_bytes(alone) / 1024 if alone else 0.0, 0
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/status", "rb") as file:
            for line in file:
                if line.startswith(_MEMORY):
                    kib += int(line.split()[1])
                elif line.startswith(b"Threads:"):
                    threads += int(line.split()[1])
    return Usage(kib / 1024, threads)


def _socket_bytes(pid: int) -> int:
    """Return what the sockets of a network namespace can hold: that is no process's memory."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/net/unix", "rb") as file:
        return max(0, sum(1 for _ in file) - 1) * _room_of_a_socket()
    return 0


@functools.cache
def _room_of_a_socket() -> int:
    """Return how much a socket takes that nobody reads; seccomp.py lets nobody raise it.

    It takes messages until it is full, and the last may be as large as all of its room.
    """
    room = _SOCKET_BYTES
    with contextlib.suppress(OSError):
        room = int(Path("/proc/sys/net/core/wmem_default").read_text("ascii"))
    return 2 * room


def crowd(folders: list[str], limits: SandboxLimits) -> str:
    """Say `files` or `disk` when a tmpfs of the sandbox holds more than it may."""
    for folder in folders:
        with contextlib.suppress(OSError):
            there = os.statvfs(folder)
            if there.f_blocks * there.f_frsize > limits.disk_mib * _MIB:
                continue  # before the pivot this is still the host's file system
            if there.f_files - there.f_ffree > limits.files:
                return "files"
    return ""


def folder_crowd(folder: Path, limits: SandboxLimits) -> str:
    """Say the same of a plain folder, where nothing but counting helps; too deep is too many."""
    count = size = 0
    try:
        for taken in _sizes(str(folder), None, _DEEPEST):
            count, size = count + 1, size + taken
            if count > limits.files:
                return "files"
            if size > limits.disk_mib * _MIB:
                return "disk"
    except RecursionError:
        return "files"
    return ""


def _sizes(name: str, place: int | None, depth: int) -> Iterator[int]:
    """Yield the bytes of each entry in a folder and below it.

    It goes by descriptors, for the path of what lies deep may be too long to be opened.

    Raises:
        RecursionError: there are folders in folders beyond that depth.
    """
    if not depth:
        raise RecursionError
    with contextlib.suppress(OSError), _opened(name, place) as inner, os.scandir(inner) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):  # it is gone meanwhile
                yield entry.stat(follow_symlinks=False).st_blocks * 512
            if entry.is_dir(follow_symlinks=False):
                yield from _sizes(entry.name, inner, depth - 1)


@contextlib.contextmanager
def _opened(name: str, place: int | None) -> Iterator[int]:
    inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=place)
    try:
        yield inner
    finally:
        os.close(inner)


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to what may be gone already."""
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def kill_tree(root: int, patience_s: float) -> None:
    """Kill the descendants of a subreaper until none is left, then it: alone they would go astray.

    Args:
        root: a child of this process that adopts its orphans.
        patience_s: when to give up on descendants that fork faster than they are found.
    """
    kill_below(root, patience_s)
    kill(root)


def is_childless(pid: int) -> bool:
    """Tell whether a process has no child for sure; cheaper than a look at all processes.

    Not every kernel lists children (CONFIG_PROC_CHILDREN), and a list that others leave while it is
    read can lack some; but it is empty only where there was none.
    """
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                if file.read(1):
                    return False
    except OSError:
        return False
    return True


def kill_below(root: int, patience_s: float) -> bool:
    """Kill the descendants of a subreaper; tell whether none is left, in time."""
    deadline = time.monotonic() + patience_s
    while pids := [pid for pid in tree(root) if _runs(pid)]:
        if time.monotonic() > deadline:
            return False
        for pid in pids:
            kill(pid)
        time.sleep(0.01)  # the kernel needs a moment to take them away
    return True


def _runs(pid: int) -> bool:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[0] != b"Z"
    return False
