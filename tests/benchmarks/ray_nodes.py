"""`compare` by one worker of a Ray cluster, against one conversation at a time without it.

The pack is the tiny one, the endpoint scripted; samples are asked for, judged and kept as always.
What it takes until the first sample is there (Ray starts a worker, which imports) is left out.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.measure import ratio_of
from tests.benchmarks.report import Figure
from tests.cli.command import Shell
from tests.cli.ray_nodes import head
from tests.cli.test_compare import PACK, model
from tests.fake_endpoint import FakeEndpoint

_SAMPLES = 13
_PAIRS = 3
_SHARE = 0.9


def figures() -> Iterator[Figure]:
    """Measure the time of a sample on both sides, in turn."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, FakeEndpoint(default=model) as fake:
        shell = Shell(Path(name), {"RAY_USAGE_STATS_ENABLED": "0"})
        shutil.copytree(PACK, shell.folder / "pack")
        shell.configure(fake.base_url)
        with head(shell) as address:
            far = ("--executor", "ray", "--ray-address", address)
            near = ("--concurrency", "1")
            pairs = [
                (_sample_s(shell, f"far{n}", *far), _sample_s(shell, f"near{n}", *near))
                for n in range(_PAIRS)
            ]
    ratio = ratio_of(pairs)
    how = f"{ratio.told('s', digits=2)}; {_SAMPLES - 1} samples each"
    yield Figure("time of a sample on a Ray worker, against without", ratio.value, 1 / _SHARE,
                 how=how)  # fmt: skip


def _sample_s(shell: Shell, store: str, *arguments: str) -> float:
    command = [sys.executable, "-u", "-m", "promptqueue", "compare", "pack/tiny.yaml",
               "--endpoint", "test", "--arm", "full", "-n", str(_SAMPLES),
               "--store", store, *arguments]  # fmt: skip
    with subprocess.Popen(
        command, cwd=shell.folder, env=shell.environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        times, lines = [], []
        for line in child.stdout:
            lines.append(line)
            if re.match(r"\[\d+/\d+\] ", line):
                times.append(time.monotonic())
    if child.returncode or len(times) != _SAMPLES:
        raise RuntimeError("".join(lines))
    return (times[-1] - times[0]) / (_SAMPLES - 1)
