"""A pytest that ends with the process that asked for it, whatever that died of.

`python -m promptqueue.verify.pytest_process PARENT ARGUMENT...` is `python -m pytest ARGUMENT...`.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
import traceback
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1
"""Of prctl(2): the signal that the kernel sends when the parent is gone."""
BROKEN = 3
"""As pytest says it of itself."""


def die_with(parent: int) -> None:
    """Have the kernel end this process with its parent; only Linux does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def run_here(arguments: Sequence[str]) -> int:
    """Do what `python -m pytest` does, and return its exit code."""
    sys.argv = ["pytest", *arguments]
    try:
        runpy.run_module("pytest", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        return int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    return BROKEN


if __name__ == "__main__":
    die_with(int(sys.argv[1]))
    sys.exit(run_here(sys.argv[2:]))
