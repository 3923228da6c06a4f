"""What the split costs: questions through the sandboxed worker, against the same in one process."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from promptqueue.queue.verification import Verification
from promptqueue.verify.candidate import Candidate, CandidateError
from promptqueue.verify.sandbox import open_sandbox
from promptqueue.verify.snapshot import Copy
from promptqueue.verify.worker_process import WorkerProcess
from tests.benchmarks.measure import PROMPTQUEUE, ROOT, interleave, ratio_of, run_child
from tests.benchmarks.report import Figure

_PAIRS = 5
_QUESTIONS = 20
_LIMIT_S = 1.0
_CODE = """
import torch

def step(size):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU(), torch.nn.Conv2d(16, 8, 3))
    loss = net(torch.rand(4, 3, size, size)).square().mean()
    loss.backward()
    return net[0].weight.grad

def hang():
    while True:
        pass
"""
_PROBES = """
def step(candidate, size):
    return {"gradient": candidate.model.step(size)}

def hang(candidate):
    candidate.model.hang()
"""
_IN_ONE_PROCESS = f"""
import sys
sys.path.insert(0, sys.argv[1])
import code_under_test
for _ in range({_QUESTIONS}):
    code_under_test.step(96)
"""


def figures() -> Iterator[Figure]:
    """Measure a small contract with torch, a question that hangs, and the first red line."""
    yield _split()
    yield _hang()
    yield _first_red()


def _split() -> Figure:
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch, "code_under_test.py").write_text(_CODE)
        bare = [sys.executable, "-c", _IN_ONE_PROCESS, scratch]
        split = [sys.executable, "-m", "tests.benchmarks.split"]
        pairs = interleave(
            lambda: run_child(split).wall_s, lambda: run_child(bare).wall_s, pairs=_PAIRS
        )
    ratio = ratio_of(pairs)
    name = f"wall time of {_QUESTIONS} questions with torch, split against one process"
    return Figure(name, ratio.value, 1.7, how=ratio.told("s", 1, digits=2))


def _hang() -> Figure:
    with _candidate() as candidate:
        candidate.ask("probes.step", size=16)
        begin = time.perf_counter()
        with suppress(CandidateError):
            candidate.ask("probes.hang", _LIMIT_S)
        over = time.perf_counter() - begin - _LIMIT_S
    if over < 0:
        raise RuntimeError("the question that was to hang did not")
    return Figure("what a hung question costs over its time", over, 1.0, "s")


def _first_red() -> Figure:
    with tempfile.TemporaryDirectory() as scratch:
        pack = ROOT / "tests" / "packs" / "tiny"
        for path in (pack / "reference").glob("*.py"):
            Path(scratch, path.name).write_text(path.read_text() + "x = never_defined\n")
        command = [PROMPTQUEUE, "verify", scratch, "--queue", str(pack / "tiny.yaml")]
        taken = []
        for _ in range(_PAIRS):
            script = f"""
import subprocess, time
begin = time.monotonic()
child = subprocess.Popen({command!r}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
while b"never_defined" not in (line := child.stdout.readline()):
    assert line, "ended without the finding"
print(time.monotonic() - begin)
child.kill()
"""
            taken.append(float(run_child([sys.executable, "-c", script]).output))
    middle = sorted(taken)[len(taken) // 2]
    return Figure("first red finding of the static gates", middle, 1.0, "s", f"median of {_PAIRS}")


@contextmanager
def _candidate() -> Iterator[Candidate]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        code = folder / "code"
        code.mkdir()
        (code / "model.py").write_text(_CODE)
        (folder / "probes.py").write_text(_PROBES)
        settings = Verification(preload=("torch",))
        worker = WorkerProcess(open_sandbox(), Copy(code), settings)
        with Candidate(worker, folder, settings, seed=1) as candidate:
            yield candidate


def _ask_all() -> None:
    with _candidate() as candidate:
        for _ in range(_QUESTIONS):
            candidate.ask("probes.step", size=96)


if __name__ == "__main__":
    _ask_all()
