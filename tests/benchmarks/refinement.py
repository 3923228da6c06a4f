"""What a turn of refinement costs by itself: from a reply to its checks, from them to a request."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from unittest import mock

from promptqueue.chat.config import Config
from promptqueue.chat.connect import Connection
from promptqueue.chat.endpoints import EndpointChoice, resolve_endpoint
from promptqueue.chat.message import ChatEvent, Request
from promptqueue.queue.inputs import resolve_inputs
from promptqueue.queue.load import load_queue
from promptqueue.queue.model import Step
from promptqueue.run.judge import requirements_of
from promptqueue.run.plan import Plan
from promptqueue.run.session import execute
from promptqueue.run.verdict import Fault, Judgement
from tests.benchmarks.measure import ROOT
from tests.benchmarks.report import Figure
from tests.scripted import ScriptedChat, fence

_BOUND_MS = 50.0
_RUNS = 15
_CALLS = 12


class _Timed:
    """Judges all as red at once, answers at once, and times what lies between, both ways."""

    contract = "scripted"

    def __init__(self, plan: Plan) -> None:
        self._queue = plan.loaded.queue
        source = (ROOT / "reference_impl/lunar/preprocessing.py").read_text("utf-8")
        replies = [fence("preprocessing.py", f"{source}\n# {n}") for n in range(_CALLS)]
        self._chat = ScriptedChat([*replies])
        self._replied = self._before_checks_s = 0.0
        self._judged: float | None = None
        self.turns_ms: list[float] = []

    def judge(self, step: Step, texts: Mapping[str, str]) -> Judgement:
        self._before_checks_s = time.perf_counter() - self._replied
        names = requirements_of(self._queue, step)
        faults = tuple(
            Fault((name,), (f"what the prompt asks: {name}",), f"{name} is not there", "")
            for name in names
        )
        self._judged = time.perf_counter()
        return Judgement((), names, faults, 1, self.contract)

    def close(self) -> None:
        """Nothing is kept running."""

    def ask(self, request: Request) -> Iterator[ChatEvent]:
        if self._judged is not None:
            after_s = time.perf_counter() - self._judged
            self.turns_ms.append((self._before_checks_s + after_s) * 1e3)
            self._judged = None
        for event in self._chat.ask(request):
            self._replied = time.perf_counter()
            yield event


def figures() -> Iterator[Figure]:
    """Refine the first step of the lunar queue, red to the end, and stop there."""
    taken = [each for _ in range(_RUNS) for each in _turns_ms()]
    how = f"median of {len(taken)} turns, {min(taken):.1f} to {max(taken):.1f}; no model, no checks"
    yield Figure("own work of a refinement turn", median(taken), _BOUND_MS, "ms", how)


def _turns_ms() -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        plan = _plan(Path(folder))
        timed = _Timed(plan)
        connection = Connection(timed, lambda: ("mock",))
        judge = mock.patch("promptqueue.run.session._judge", return_value=(timed, ()))
        with judge, contextlib.suppress(IndexError):  # the script ends with the last answer
            for _ in execute(plan, lambda _log: contextlib.nullcontext(connection)):
                pass
        if not timed.turns_ms:
            raise RuntimeError("no turn of refinement was asked for")
        return timed.turns_ms


def _plan(folder: Path) -> Plan:
    choice = EndpointChoice(base_url="http://127.0.0.1:1/v1")
    endpoint = resolve_endpoint(choice, config=Config(), environ={})
    loaded = load_queue(ROOT / "prompts" / "lunar.yaml")
    return Plan(
        loaded,
        resolve_inputs(loaded.queue),
        endpoint,
        folder / "out",
        folder / "runs",
        model="mock",
    )
