"""Travels into the sandbox: ends whatever a question leaves running.

It imports nothing of promptqueue.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Let what a child leaves behind come home to this process, not to the first one."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def status_of(child: int, deadline: float) -> int | None:
    """Return the wait status of a child that closed its pipe; None while it still runs."""
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status
        time.sleep(0.005)
    return None


def end_all(child: int, *, alone: bool) -> None:
    """End the child and what it started; in a PID namespace of our own that is nearly everybody.

    Where there is none, others come home to this process as well, and the host ends them: without
    /proc they are not known here, and numbers could be those of the user's own processes.
    """
    for end in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            end(child, signal.SIGKILL)
    try:
        with contextlib.suppress(ChildProcessError):  # its end may have been waited for
            os.waitpid(child, 0)
        _reap()
        while alone:
            _sweep(child)
            _reap()
    except ChildProcessError:
        return  # nobody is left


def _reap() -> None:
    """Take the dead away; raises ChildProcessError where no child is left."""
    while os.waitpid(-1, os.WNOHANG)[0]:
        pass


def _sweep(child: int) -> None:
    """Kill every process but the first of the namespace, our parent and ourselves.

    Orphans come home to this process but cannot be listed (/proc is out of reach); numbers are
    given in order, so that none is above that of a process that is born now.
    """
    for pid in range(2, newest(child)):
        if pid not in (os.getpid(), os.getppid()):
            _kill_process(pid)
    time.sleep(0.001)


def _kill_process(pid: int) -> None:
    """Kill a process, never a thread: a number may be that of a thread of our own."""
    with contextlib.suppress(OSError):
        place = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(place, signal.SIGKILL)
        finally:
            os.close(place)


def newest(child: int) -> int:
    """Return the number of a process that is born now, or one that is higher than `child`."""
    try:
        born = os.fork()
    except OSError:  # there are as many as may be: a guess, and the next round knows
        return child + (1 << 16)
    if not born:
        os._exit(0)
    os.waitpid(born, 0)
    return born
