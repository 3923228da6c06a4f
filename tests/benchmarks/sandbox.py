"""Start of the sandbox with every layer, against bare bubblewrap in the same run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from promptqueue.verify.sandbox import SandboxLimits, open_sandbox, run
from tests.benchmarks.measure import run_child
from tests.benchmarks.report import Figure

_RUNS = 15
_BOUND_MS = 100.0


def figures() -> Iterator[Figure]:
    """Measure `/bin/true` in both, in turns."""
    sandbox, limits = open_sandbox(), SandboxLimits()
    bare_line = [sandbox.plan.bwrap, "--unshare-all", "--ro-bind", "/", "/", "--", "/bin/true"]
    ours, bare = [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(_RUNS):
            bare.append(run_child(bare_line).wall_s * 1e3)
            begin = time.perf_counter()
            run(sandbox, ["/bin/true"], code=Path(folder), limits=limits)
            ours.append((time.perf_counter() - begin) * 1e3)
    how = f"median of {_RUNS}; bare bubblewrap {median(bare):.1f} ms"
    yield Figure("sandbox start, /bin/true", median(ours), _BOUND_MS, "ms", how)
