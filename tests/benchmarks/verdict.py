"""What the checks of a step cost within a run, by a judge that has judged before."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from statistics import median

from promptqueue.queue.inputs import resolve_inputs
from promptqueue.queue.load import load_queue
from promptqueue.run.judge import contract_judge
from tests.benchmarks.measure import ROOT
from tests.benchmarks.report import Figure

_STEPS = ("preprocessing", "model")
_RUNS = 3
_BOUND_S = 10.0


def figures() -> Iterator[Figure]:
    """Judge a correct answer as a run does, several times by the same judge."""
    loaded = load_queue(ROOT / "prompts" / "lunar.yaml")
    answer = ROOT / "tests" / "lunar" / "styles" / "plain"  # of declared files alone
    texts = {path.name: path.read_text("utf-8") for path in sorted(answer.glob("*.py"))}
    inputs = resolve_inputs(loaded.queue)
    with contextlib.closing(contract_judge(loaded, inputs)) as judge:
        for step in loaded.queue.steps:
            if step.id not in _STEPS:
                continue
            taken = []
            for _ in range(_RUNS + 1):
                begin = time.perf_counter()
                verdict = judge.judge(step, texts)
                taken.append(time.perf_counter() - begin)
                if verdict.unmet:
                    raise RuntimeError(f"the answer does not meet {', '.join(verdict.unmet)}")
            first, *warm = taken
            how = f"median of {_RUNS}, {min(warm):.1f} to {max(warm):.1f}; the first {first:.1f}"
            yield Figure(f"checks of the step {step.id}, warm", median(warm), _BOUND_S, "s", how)
