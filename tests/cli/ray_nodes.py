"""A real Ray cluster on this machine, for the length of a test or of a measurement."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.cli.command import Shell

RAY = str(Path(sys.executable).with_name("ray"))


@contextlib.contextmanager
def head(shell: Shell) -> Iterator[str]:
    """Start the first node, of one worker, and yield its address."""
    address = f"127.0.0.1:{free_port()}"
    # short: a socket's path may have 107 characters
    folder = Path(f"/tmp/pq-{os.getpid()}")
    with node(
        shell, "--head", f"--port={address.partition(':')[2]}", "--node-ip-address=127.0.0.1",
        "--include-dashboard=false", f"--temp-dir={folder}",
    ):  # fmt: skip
        yield address
    shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def node(shell: Shell, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a node in a process group of its own, which can be killed as a machine can."""
    child = subprocess.Popen(
        [RAY, "start", "--block", "--num-cpus=1", "--object-store-memory=80000000",
         "--disable-usage-stats", *arguments],
        cwd=shell.folder, env=shell.environment(), start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        assert child.stdout is not None
        lines = []
        for line in child.stdout:
            lines.append(line)
            if "Ray runtime started" in line:
                break
        else:
            raise AssertionError("".join(lines))
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
