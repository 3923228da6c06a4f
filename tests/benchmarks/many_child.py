"""Our side of `many`: the samples of one arm, asked for as `compare` asks, and not judged."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from promptqueue.chat.connect import Connection, connect
from promptqueue.chat.endpoints import EndpointChoice
from promptqueue.compare.arms import parse_arm
from promptqueue.compare.executors import at_once
from promptqueue.compare.taking import Ran, Task, Terms, ask
from promptqueue.compare.throttle import Throttle, ThrottledChat
from promptqueue.queue.load import load_queue
from promptqueue.run.prepare import prepare


def main() -> None:
    """Ask for all samples, and say how many replies came."""
    job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    store = Path(sys.argv[2])
    loaded = load_queue(Path(job["queue"]))
    choice = EndpointChoice(base_url=job["base_url"], model=job["model"])
    plan = prepare(loaded, choice, runs=store)
    terms = Terms(plan.inputs, plan.endpoint, plan.prices, job["model"], "", ())
    arm = parse_arm("full")
    tasks = [Task(arm, n, store / str(n), loaded) for n in range(1, job["count"] + 1)]
    answered = 0
    with connect(plan.endpoint, lambda _: None) as opened:
        chat = ThrottledChat(opened.chat, Throttle(job["at_once"]))
        connection = Connection(chat, opened.list_models)
        for _, ran in at_once(job["at_once"])(tasks, lambda task: ask(task, terms, connection)):
            assert isinstance(ran, Ran), ran
            assert ran.complete
            answered += ran.spending.calls
    print(json.dumps({"answered": answered}))


if __name__ == "__main__":
    main()
