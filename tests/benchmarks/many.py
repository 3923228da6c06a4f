"""Many conversations at once, as `compare` has them, against a bare AsyncOpenAI loop.

Ours renders, journals, extracts, parses and writes every conversation; the loop only collects the
texts. Nothing is judged on either side.
"""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from promptqueue.queue.load import load_queue
from promptqueue.queue.render import render_queue
from tests.benchmarks.measure import PYTHON, Spent, interleave, ratio_of, run_child
from tests.benchmarks.mock_endpoint import MockEndpoint, mock_endpoint
from tests.benchmarks.replies import queue_text
from tests.benchmarks.report import Figure

_STEPS = 4
_PAIRS = 3
_AT_ONCE = 100
_BOUNDS = {"CPU": 2.0, "wall time": 1.8}
_MOST_MIB = 120
_OURS = str(Path(__file__).with_name("many_child.py"))
_BARE = str(Path(__file__).with_name("bare_many.py"))


def figures() -> Iterator[Figure]:
    """Measure 100 conversations, and 500."""
    for count in (100, 500):
        yield from _figures(count)


def _figures(count: int) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="bench-") as name, mock_endpoint() as endpoint:
        folder = Path(name)
        queue = folder / "q.yaml"
        queue.write_text(queue_text(_STEPS, context="all"), "utf-8")
        job = folder / "job.json"
        job.write_text(_job(queue, endpoint, count), "utf-8")
        pairs = interleave(
            functools.partial(_spent, _OURS, job, folder),
            functools.partial(_spent, _BARE, job, folder),
            pairs=_PAIRS,
        )
    what = f"{count} conversations, {_AT_ONCE} at once"
    cpu = ratio_of([(ours.cpu_s, bare.cpu_s) for ours, bare in pairs])
    wall = ratio_of([(ours.wall_s, bare.wall_s) for ours, bare in pairs])
    yield Figure(f"CPU of {what}", cpu.value, _BOUNDS["CPU"], how=cpu.told("s", digits=2))
    yield Figure(f"wall time of {what}", wall.value, _BOUNDS["wall time"],
                 how=wall.told("s", digits=2))  # fmt: skip
    peak = ratio_of([(ours.peak_mib, _MOST_MIB) for ours, _ in pairs])
    yield Figure(f"memory of {what}", peak.value, 1.0, how=f"{peak.first:.0f} MiB of {_MOST_MIB}")


def _job(queue: Path, endpoint: MockEndpoint, count: int) -> str:
    loaded = load_queue(queue)
    rendered = list(render_queue(loaded, {}).values())
    return json.dumps(
        {
            "queue": str(queue),
            "base_url": endpoint.base_url,
            "model": "mock",
            "params": loaded.queue.params_of(loaded.queue.steps[0]).given(),
            "role": rendered[0][0].content,
            "prompts": [messages[-1].content for messages in rendered],
            "count": count,
            "at_once": _AT_ONCE,
        }
    )


def _spent(script: str, job: Path, folder: Path) -> Spent:
    with tempfile.TemporaryDirectory(prefix="bench-", dir=folder) as store:
        spent = run_child([PYTHON, script, str(job), store])
    assert json.loads(spent.output)["answered"] == json.loads(job.read_text())["count"] * _STEPS
    return spent
