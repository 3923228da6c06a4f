"""Looking back: how long the commands take over a store of 1,000 runs with 50 events each."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from tests.benchmarks.measure import PROMPTQUEUE, PYTHON, run_child
from tests.benchmarks.report import Figure

_RUNS = 1000
_STEPS = 6
"""About 50 events."""
_TIMES = 7


def figures() -> Iterator[Figure]:
    """Measure each command; start-up is part of what the user waits for."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        runs, events = _store(folder)
        first, last = runs[0], runs[-1]
        how = f"{len(runs):,} runs with {events} events each"
        asking = ["--base-url", "http://127.0.0.1:1/v1", "--model", "mock"]
        for name, command, bound in (
            ("runs", ["runs"], 0.3),
            ("show RUN", ["show", last], 0.3),
            ("show RUN STEP", ["show", last, "part3"], 0.3),
            ("diff RUN RUN", ["diff", first, last], 0.3),
            ("plan QUEUE", ["plan", "q.yaml", *asking], 0.3),
            ("replay RUN", ["replay", last], 1.0),
        ):
            taken = _wall_s(folder, command)
            spread = f"{_TIMES} times, {min(taken):.2f} to {max(taken):.2f}"
            yield Figure(f"wall time of {name}", median(taken), bound, "s", f"{how}; {spread}")


def _wall_s(folder: Path, command: Sequence[str]) -> list[float]:
    command = [PROMPTQUEUE, *command, "--runs", "runs"]
    run_child(command, cwd=folder)
    return [run_child(command, cwd=folder).wall_s for _ in range(_TIMES)]


def _store(folder: Path) -> tuple[list[str], int]:
    """Run a queue once, and link what it left a thousand times under other names."""
    child = "tests.benchmarks.journal_child"
    run_child([PYTHON, "-m", child, "run", str(folder), "--steps", str(_STEPS)])
    made = next(folder.glob("runs/*/journal.jsonl")).parent
    events = len((made / "journal.jsonl").read_text("utf-8").splitlines())
    rest = made.name.split("-", 2)[2]
    names = [f"20260101-{number:06}-{rest}" for number in range(_RUNS)]
    for name in names:
        shutil.copytree(made, folder / "runs" / name, copy_function=os.link)
    shutil.rmtree(made)
    return names, events
