"""Many conversations at once, as `compare` has them, against a bare AsyncOpenAI loop and peers.

Ours renders, journals, extracts, parses and writes every conversation; the loop only collects the
texts, and peers keep their own records. Nothing is judged on any side.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
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
_PEER = str(Path(__file__).with_name("peer_many.py"))
_PEERS = ("litellm", "langgraph", "inspect_ai")
_RECORDLESS = "litellm"
_PEERS_PYTHON = os.environ.get("MANY_PEERS_PYTHON", PYTHON)
"""A Python that has the peers; the project itself does not need them."""


def figures() -> Iterator[Figure]:
    """Measure 100 conversations, and 500."""
    for count in (100, 500):
        yield from _figures(count)


def peer_figures() -> Iterator[Figure]:
    """Measure 100 conversations beside each peer that is installed."""
    for peer in _PEERS:
        found = f"import importlib.util as u; print(u.find_spec({peer!r}) is not None)"
        if run_child([_PEERS_PYTHON, "-c", found]).output.strip() != "True":
            print(f"{peer} is not installed; MANY_PEERS_PYTHON may name a Python that has it")
            continue
        with _prepared(100) as job:
            theirs = functools.partial(_spent, [_PEERS_PYTHON, "-P", _PEER], job, peer)
            ours = functools.partial(_spent, [PYTHON, _OURS], job)
            pairs = interleave(ours, theirs, pairs=_PAIRS)
        bound = None if peer == _RECORDLESS else 1.0
        cpu = ratio_of([(one.cpu_s, other.cpu_s) for one, other in pairs])
        wall = ratio_of([(one.wall_s, other.wall_s) for one, other in pairs])
        peak = ratio_of([(one.peak_mib, other.peak_mib) for one, other in pairs])
        yield Figure(f"CPU, ours against {peer}", cpu.value, bound, how=cpu.told("s", digits=2))
        yield Figure(f"wall time, ours against {peer}", wall.value, bound,
                     how=wall.told("s", digits=2))  # fmt: skip
        yield Figure(f"memory, ours against {peer}", peak.value, bound, how=peak.told("MiB"))


def _figures(count: int) -> Iterator[Figure]:
    with _prepared(count) as job:
        pairs = interleave(
            functools.partial(_spent, [PYTHON, _OURS], job),
            functools.partial(_spent, [PYTHON, _BARE], job),
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


@contextlib.contextmanager
def _prepared(count: int) -> Iterator[Path]:
    """Start an endpoint, and yield a file that says what is to be asked there."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, mock_endpoint() as endpoint:
        folder = Path(name)
        queue = folder / "q.yaml"
        queue.write_text(queue_text(_STEPS, context="all"), "utf-8")
        job = folder / "job.json"
        job.write_text(_job(queue, endpoint, count), "utf-8")
        yield job


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


def _spent(command: Sequence[str], job: Path, *more: str) -> Spent:
    with tempfile.TemporaryDirectory(prefix="bench-", dir=job.parent) as store:
        spent = run_child([*command, str(job), store, *more])
    last = spent.output.splitlines()[-1]
    assert json.loads(last)["answered"] == json.loads(job.read_text())["count"] * _STEPS
    return spent
