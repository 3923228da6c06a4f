"""One queue in one folder, with a scripted chat and a judge that reads marks: for tests of runs."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from promptqueue.chat.config import Profile
from promptqueue.chat.connect import Connection
from promptqueue.chat.endpoints import Endpoint
from promptqueue.queue.inputs import resolve_inputs
from promptqueue.queue.load import LoadedQueue, load_queue
from promptqueue.queue.model import Step
from promptqueue.run.correction import Correction
from promptqueue.run.events import Event, RunFinished
from promptqueue.run.journal import Record, RunDirectory
from promptqueue.run.judge import requirements_of
from promptqueue.run.plan import Plan
from promptqueue.run.session import execute
from promptqueue.run.verdict import Fault, Judgement
from tests.scripted import ScriptedChat, fence

QUEUE = """
    promptqueue: 1
    name: tiny
    role: {text: You write Python.}
    defaults: {params: {temperature: 0, seed: 5, max_tokens: 100}, refine: {turns: 2}}
    steps:
      - id: one
        task: Write one.py.
        outputs: [{path: one.py, symbols: [one]}]
      - id: two
        task: Write two.py.
        outputs: [{path: two.py}]
    """
ONE = fence("one.py", "def one():\n    return 1")
TWO = fence("two.py", "x = 2")
REMOTE = Endpoint("url", "test", Profile(base_url="http://127.0.0.1:9/v1"))


@dataclass(frozen=True, slots=True)
class MarkJudge:
    """Stands where the contract is run: it finds met what a text says of itself, `# meets NAME`."""

    loaded: LoadedQueue
    inputs: Mapping[str, Any]
    contract: str = "marks"

    def judge(self, step: Step, texts: Mapping[str, str]) -> Judgement:
        """Return what the texts say that they meet."""
        said = {line for text in texts.values() for line in text.splitlines()}
        names = requirements_of(self.loaded.queue, step)
        met = tuple(name for name in names if f"# meets {name}" in said)
        unmet = tuple(name for name in names if name not in met)
        faults = tuple(Fault((name,), (f"do {name}",), f"no {name}") for name in unmet)
        return Judgement(met, unmet, faults, seed=1, contract=self.contract)

    def close(self) -> None:
        """Keep nothing running."""


class Bench:
    """One queue in one folder, run as often as a test likes."""

    def __init__(self, folder: Path, queue: str = QUEUE, **plan: Any) -> None:
        self.folder = folder
        self.queue_path = folder / "q.yaml"
        self.queue_path.write_text(textwrap.dedent(queue), "utf-8")
        self.plan_options = plan
        self.chat = ScriptedChat([])
        self.script = ScriptedChat
        self.events: list[Event] = []
        self.on_event: Callable[[Event], None] = lambda event: None

    def run(
        self, *script: Any, resume: bool = False, correction: Correction | None = None
    ) -> list[Event]:
        """Run with these answers; events also of a run that fails are in `events`."""
        self.chat = self.script(list(script))
        self.events = []
        plan = self.plan()
        latest = self.directory().path if resume or correction else None
        with mock.patch.multiple(
            "promptqueue.run.session", contract_judge=MarkJudge, why_not=lambda loaded: ""
        ):
            for event in execute(plan, self._connect, resume=latest, correction=correction):
                self.events.append(event)
                self.on_event(event)
        return self.events

    def plan(self) -> Plan:
        """Return what a run is to do."""
        loaded = load_queue(self.queue_path)
        return Plan(
            loaded=loaded,
            inputs=resolve_inputs(loaded.queue),
            endpoint=REMOTE,
            out=self.folder / "out",
            runs=self.folder / "runs",
            model="m",
            **self.plan_options,
        )

    def refine(self, step: str, text: str, *script: Any, rerun: bool = False) -> list[Event]:
        """Correct a step of the latest run, with these answers."""
        return self.run(*script, correction=Correction(step, text, rerun=rerun))

    @contextlib.contextmanager
    def _connect(self, log_path: Path) -> Iterator[Connection]:
        yield Connection(self.chat, lambda: ("m",))

    def directory(self) -> RunDirectory:
        return RunDirectory(max((self.folder / "runs").glob("*/run.json")).parent)

    def text(self, name: str) -> str:
        return (self.folder / "out" / name).read_text("utf-8")

    def kinds(self) -> list[str]:
        return [record["event"] for record in self.directory().records()]

    def records(self, kind: str) -> list[Record]:
        return [record for record in self.directory().records() if record["event"] == kind]

    def finished(self) -> RunFinished:
        assert isinstance(self.events[-1], RunFinished)
        return self.events[-1]
