"""Runs a command and writes what it cost, as JSON: `launch.py FILE COMMAND …`.

In between for the sake of the memory: on Linux a new process begins with the peak of the one that
started it, and a benchmark that has imported torch is larger than most of what it measures.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main(path: str, *command: str) -> None:
    """Run the command to its end, with the pipes of this process."""
    begin = time.monotonic()
    child = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    spent = {
        "code": os.waitstatus_to_exitcode(status),
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "wall_s": time.monotonic() - begin,
        "peak_mib": usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10),
    }
    with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123 - it imports nothing it need not
        json.dump(spent, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
