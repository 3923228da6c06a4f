"""What a step is told to mend: what is its own, and not what a red file brings that it imports."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from promptqueue.queue.load import load_queue
from promptqueue.run.judging import mendable
from promptqueue.run.verdict import Fault

LINE = Fault(("report",), (), "KeyError: 'mean'", "report.py:4")
INSISTED = Fault(("report",), (), "AssertionError: main() must return the report")
ERROR = Fault(("report",), (), "ValueError: no values")
MEASURED = Fault(("report",), ("a report",), "mean 2.0, 3.0 asked", "report.py")


@pytest.mark.parametrize(
    ("fault", "clear"), [(LINE, True), (INSISTED, True), (ERROR, False), (MEASURED, False)]
)
def test_what_is_clear_to_mend(fault: Fault, clear: bool) -> None:
    assert fault.clear is clear


@pytest.mark.parametrize("stats", [True, False])
def test_beside_a_red_file_only_what_is_clear_is_the_step_s_own(stats: bool) -> None:
    loaded = load_queue(Path(__file__).parents[1] / "packs" / "tiny" / "tiny.yaml")
    recorder = SimpleNamespace(directory=SimpleNamespace(blobs={}))
    job: Any = SimpleNamespace(
        loaded=loaded, verdicts={"median": stats}, faults={}, recorder=recorder, files={}
    )
    texts = {"report.py": "from stats import mean\n", "stats.py": "def mean(values): ...\n"}
    faults = (LINE, INSISTED, ERROR, MEASURED)

    left = mendable(job, loaded.queue.steps[1], faults, texts)

    assert left == (faults if stats else (LINE, INSISTED))
