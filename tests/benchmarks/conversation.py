"""A whole run of four steps, against a bare script over the openai client doing the same calls.

Ours renders, journals, extracts and writes; the script only collects the text.
"""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from promptqueue.queue.load import load_queue
from promptqueue.queue.render import render_queue
from tests.benchmarks.measure import PROMPTQUEUE, PYTHON, interleave, ratio_of, run_child
from tests.benchmarks.mock_endpoint import MockEndpoint, mock_endpoint
from tests.benchmarks.replies import paths, queue_text
from tests.benchmarks.report import Figure

_STEPS = 4
_PAIRS = 11
_SCRIPT = str(Path(__file__).with_name("bare_client.py"))


@dataclass(frozen=True, slots=True)
class Conversation:
    """What one conversation took."""

    cpu_s: float
    """Of the whole process, start-up included."""
    wall_s: float
    """From the arrival of the first request at the endpoint until the last reply is processed."""


def figures() -> Iterator[Figure]:
    """Measure CPU and wall time of the same pairs."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, mock_endpoint() as endpoint:
        folder = Path(name)
        queue = folder / "q.yaml"
        queue.write_text(queue_text(_STEPS, context="all"), "utf-8")
        job = folder / "job.json"
        job.write_text(_job(queue, endpoint), "utf-8")
        pairs = interleave(
            functools.partial(_ours, queue, endpoint),
            functools.partial(_script, job, endpoint),
            pairs=_PAIRS,
        )
    cpu = ratio_of([(ours.cpu_s, script.cpu_s) for ours, script in pairs])
    wall = ratio_of([(ours.wall_s, script.wall_s) for ours, script in pairs])
    yield Figure("CPU of a run of 4 steps", cpu.value, 1.3, how=cpu.told("ms", 1e3))
    yield Figure("wall time of it after start-up", wall.value, 1.05, how=wall.told("ms", 1e3))


def _job(queue: Path, endpoint: MockEndpoint) -> str:
    """Return what the script needs to send the very requests that the queue leads to."""
    loaded = load_queue(queue)
    rendered = list(render_queue(loaded, {}).values())
    params = loaded.queue.params_of(loaded.queue.steps[0])
    job = {
        "base_url": endpoint.base_url,
        "model": "mock",
        "params": params.given(),
        "role": rendered[0][0].content,
        "prompts": [messages[-1].content for messages in rendered],
    }
    return json.dumps(job)


def _ours(queue: Path, endpoint: MockEndpoint) -> Conversation:
    asked = len(endpoint.arrivals())
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        runs, out = folder / "runs", folder / "out"
        options = ["--base-url", endpoint.base_url, "--model", "mock"]
        options += ["--runs", str(runs), "--out", str(out)]
        spent = run_child([PROMPTQUEUE, "run", str(queue), *options], cwd=folder)
        expected = {path for step in range(1, _STEPS + 1) for path in paths(step)}
        assert expected <= {path.name for path in out.iterdir()}
        end = _end_of(next(runs.glob("*/journal.jsonl")))
    return Conversation(spent.cpu_s, end - _first_arrival(endpoint, asked))


def _script(job: Path, endpoint: MockEndpoint) -> Conversation:
    asked = len(endpoint.arrivals())
    spent = run_child([PYTHON, _SCRIPT, str(job)])
    end = float(json.loads(spent.output)["end"])
    return Conversation(spent.cpu_s, end - _first_arrival(endpoint, asked))


def _end_of(journal: Path) -> float:
    last = json.loads(journal.read_text("utf-8").splitlines()[-1])
    assert last["event"] == "run.finished"
    assert last["complete"]
    return datetime.fromisoformat(last["at"]).timestamp()


def _first_arrival(endpoint: MockEndpoint, asked_before: int) -> float:
    arrivals = endpoint.arrivals()[asked_before:]
    assert len(arrivals) == _STEPS  # no cache and no retry may change what is compared
    return arrivals[0]
