"""A child that runs a queue with scripted answers, or loads a journal, and says what it took."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import time
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from promptqueue.chat.config import Config
from promptqueue.chat.connect import Connection
from promptqueue.chat.endpoints import EndpointChoice, resolve_endpoint
from promptqueue.chat.message import (
    Answered,
    AttemptStarted,
    ChatEvent,
    Delta,
    Reply,
    Request,
    Usage,
)
from promptqueue.queue.load import load_queue
from promptqueue.queue.model import Limits
from promptqueue.run.journal import RunDirectory
from promptqueue.run.ledger import Ledger
from promptqueue.run.plan import Plan
from promptqueue.run.session import execute
from tests.benchmarks.replies import queue_text, reply


def main() -> None:
    """Print the result as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("act", choices=_ACTS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--context", default="none")
    parser.add_argument("--events", type=int, default=10_000)
    options = parser.parse_args()
    print(json.dumps(_ACTS[options.act](options)))


def _run(options: argparse.Namespace) -> dict[str, Any]:
    """Run the queue and count the fsyncs."""
    plan = _plan(options)
    syncs = _count_syncs()
    calls = _execute(plan)
    return {"fsyncs": next(syncs), "calls": calls}


def _grow(options: argparse.Namespace) -> dict[str, Any]:
    """Run the queue, and repeat what its journal says under other keys until it is long."""
    plan = _plan(options)
    _execute(plan)
    short = [*RunDirectory(_run_in(plan.runs)).records()]
    path = options.folder / "grown"
    path.mkdir()
    directory = RunDirectory(path, write=True)
    for number in range(options.events):
        record = short[number % len(short)]
        data = {name: value for name, value in record.items() if name not in _OF_THE_LINE}
        if "key" in data:
            data["key"] = f"{number:064x}"
        directory.append(**data)
    directory.close()
    return {"run": str(path), "bytes": directory.journal_path.stat().st_size}


_OF_THE_LINE = frozenset({"seq", "prev", "at"})


def _peak(options: argparse.Namespace) -> dict[str, Any]:
    """Run the queue and find the most memory that it took beyond the loaded queue."""
    plan = _plan(options)
    tracemalloc.start()
    _execute(plan)
    _, peak = tracemalloc.get_traced_memory()
    return {"peak": peak}


def _load(options: argparse.Namespace) -> dict[str, Any]:
    """Read a journal as `promptqueue resume` does: check the chain, then fold it."""
    begin = time.perf_counter()
    directory = RunDirectory(options.folder, write=True)
    opened = time.perf_counter()
    ledger = Ledger(Limits()).fold(directory.records())
    folded = time.perf_counter()
    directory.close()
    return {"load_s": folded - opened, "resume_s": folded - begin, "answers": len(ledger.answers)}


_ACTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "run": _run,
    "grow": _grow,
    "peak": _peak,
    "load": _load,
}


def _plan(options: argparse.Namespace) -> Plan:
    options.folder.mkdir(parents=True, exist_ok=True)
    queue = options.folder / "q.yaml"
    queue.write_text(queue_text(options.steps, context=options.context), "utf-8")
    choice = EndpointChoice(base_url="http://127.0.0.1:1/v1")
    endpoint = resolve_endpoint(choice, config=Config(), environ={})
    folder = options.folder
    return Plan(load_queue(queue), {}, endpoint, folder / "out", folder / "runs", model="mock")


def _execute(plan: Plan) -> int:
    chat = _ScriptedChat()
    connection = Connection(chat, lambda: ("mock",))
    for _ in execute(plan, lambda _log: contextlib.nullcontext(connection)):
        pass
    return chat.calls


def _run_in(runs: Path) -> Path:
    return next(runs.glob("*/journal.jsonl")).parent


class _ScriptedChat:
    """Answers the n-th request with the n-th made-up reply, at once."""

    def __init__(self) -> None:
        self.calls = 0

    def ask(self, request: Request) -> Iterator[ChatEvent]:
        self.calls += 1
        text = reply(self.calls)
        yield AttemptStarted(1)
        middle = len(text) // 2
        for piece in (text[:middle], text[middle:]):
            yield Delta(piece)
        usage = Usage(sum(len(message.content) for message in request.messages) // 4, 1500)
        yield Answered(Reply(text, "stop", usage, "mock", seconds=0.1, first_token_s=0.05))


def _count_syncs() -> Iterator[int]:
    """Wrap what makes files durable; the next value of the result is how often it was called."""
    counter = count()
    for name in ("fsync", "fdatasync"):
        setattr(os, name, _counted(getattr(os, name), counter))
    return counter


def _counted(act: Callable[[int], None], counter: Iterator[int]) -> Callable[[int], None]:
    def counted(fd: int) -> None:
        next(counter)
        act(fd)

    return counted


if __name__ == "__main__":
    main()
