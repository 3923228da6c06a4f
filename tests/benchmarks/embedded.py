"""The embedded model: its speed against the bare server, and the prompt tokens that it reads.

Needs an idle machine: llama.cpp's threads wait for each other, and a busy neighbour costs tenfold.
"""

from __future__ import annotations

import functools
import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptqueue.chat import llama_server
from promptqueue.chat.embedded import EmbeddedServer
from promptqueue.chat.weights import ensure_weights
from promptqueue.queue.load import load_queue
from promptqueue.queue.render import render_queue
from tests.benchmarks.measure import PAIRS, PROMPTQUEUE, PYTHON, interleave, ratio_of, run_child
from tests.benchmarks.report import Figure

_SCRIPT = str(Path(__file__).with_name("bare_llama.py"))
_SPEED_BOUND = 1.03
_PROMPT_BOUND = 1.02
_NOT_USABLE = 5
"""Exit code of a run whose replies lack something; what the model writes is not the question."""
_EVAL = re.compile(r"\|\s+eval time =.*/\s*(\d+) tokens \(.*?([\d.]+) tokens per second\)")

_TASK = """Write the module `stats.py` with the functions mean, median, variance and mode.
Each takes a list of numbers, has type hints and a docstring of one line, and raises ValueError
for an empty list. Import nothing.
"""
_AGAIN = """This is the module `stats.py`:

```python
def mean(values: list[float]) -> float:
    '''Return the arithmetic mean.'''
    if not values:
        raise ValueError("mean of an empty list")
    return sum(values) / len(values)


def median(values: list[float]) -> float:
    '''Return the value in the middle, or the mean of both.'''
    if not values:
        raise ValueError("median of an empty list")
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2 == 1:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def variance(values: list[float]) -> float:
    '''Return the mean squared distance from the mean.'''
    if not values:
        raise ValueError("variance of an empty list")
    centre = mean(values)
    return sum((value - centre) ** 2 for value in values) / len(values)
```

Send the whole file again, with one thing changed: every ValueError says `no values`, and nothing
else.
"""
_TURN = """Write the module `{name}.py` with one function `{name}(value: float) -> float`.
It is one of the parts of a small library for converting units of measurement, and follows the
same rules as every other part of the library:
- it takes one number, and returns one number of the other unit
- the factor stands in a constant at the top of the module, in capital letters, with its unit
- it has type hints, and a docstring of one line that names both units
- it does not round, does not print, and reads nothing from outside
- it imports nothing, neither from the standard library nor from the other parts
- a number that is not finite is handed through as it is; there are no checks and no exceptions
- it contains neither tests nor examples, nor a block that runs when the module is started
Answer with the file only, and write as little as these rules allow.
"""


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a reply was written."""

    tokens: int
    server_per_s: float
    """As llama.cpp says itself."""
    client_per_s: float
    """By the clock of whoever asked, from the first token on."""


def figures(pairs: int = PAIRS) -> Iterator[Figure]:
    """Measure the speed in pairs, and one conversation of four turns."""
    ensure_weights(lambda _progress: None)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        yield from _speed(Path(name), pairs, _TASK, "writing")
        yield from _speed(Path(name), pairs, _AGAIN, "sending a file again")
        yield _prompt_tokens(Path(name))


def _speed(folder: Path, pairs: int, task: str, doing: str) -> Iterator[Figure]:
    """Compare with a bare server, which guesses nothing."""
    queue = _write_queue(folder / "speed.yaml", {"stats": task})
    job = folder / "job.json"
    job.write_text(_job(queue), "utf-8")
    taken = interleave(
        functools.partial(_bare, job), functools.partial(_ours, queue), pairs=pairs, warm=False
    )
    server = ratio_of([(bare.server_per_s, ours.server_per_s) for bare, ours in taken])
    client = ratio_of([(bare.client_per_s, ours.client_per_s) for bare, ours in taken])
    counts = sorted({f"{bare.tokens} and {ours.tokens}" for bare, ours in taken})
    unit = f"tokens/s, {', '.join(counts)} tokens"
    yield Figure(
        f"bare server's speed to ours, {doing}, as the servers say",
        server.value,
        _SPEED_BOUND,
        how=server.told(unit, digits=2),
    )
    yield Figure(
        "the same by the clients' clocks",
        client.value,
        _SPEED_BOUND,
        how=client.told(unit, digits=2),
    )


def _ours(queue: Path) -> Speed:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        run = _run(queue, Path(name))
        [reply] = _replies(run)
        tokens, per_s = _EVAL.findall((run / "server.log").read_text("utf-8"))[-1]
    writing_s = reply["seconds"] - reply["first_token_s"]
    return Speed(int(tokens), float(per_s), reply["usage"]["completion"] / writing_s)


def _bare(job: Path) -> Speed:
    said = json.loads(run_child([PYTHON, _SCRIPT, str(job)]).output.splitlines()[-1])
    return Speed(said["tokens"], said["server_per_s"], said["client_per_s"])


def _job(queue: Path) -> str:
    """Return the settings of our server and the body of our request, for the bare one."""
    loaded = load_queue(queue)
    [messages] = render_queue(loaded, {}).values()
    params = loaded.queue.params_of(loaded.queue.steps[0])
    weights = ensure_weights(lambda _progress: None)
    job = {
        "model": str(weights),
        "context": EmbeddedServer(weights).context_tokens,
        "batch": llama_server.BATCH_TOKENS,
        "cache_mib": llama_server.PROMPT_CACHE_MIB,
        "body": {
            "messages": [{"role": each.role, "content": each.content} for each in messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            **params.given(),
        },
    }
    return json.dumps(job)


def _prompt_tokens(folder: Path) -> Figure:
    names = ("miles_to_metres", "pounds_to_grams", "gallons_to_litres", "inches_to_metres")
    tasks = {name: _TURN.format(name=name) for name in names}
    queue = _write_queue(folder / "turns.yaml", tasks)
    usages = [reply["usage"] for reply in _replies(_run(queue, folder))]
    evaluated = [usage["prompt"] - usage["cached"] for usage in usages]
    known = [0, *(usage["prompt"] + usage["completion"] for usage in usages[:-1])]
    new = [usage["prompt"] - before for usage, before in zip(usages, known, strict=True)]
    how = f"{_sum(evaluated)} evaluated, {_sum(new)} new; exact, whatever the load"
    return Figure(
        "prompt tokens read to new ones", sum(evaluated) / sum(new), _PROMPT_BOUND, how=how
    )


def _sum(counts: list[int]) -> str:
    return f"{' + '.join(map(str, counts))} = {sum(counts)}"


def _write_queue(path: Path, tasks: dict[str, str]) -> Path:
    queue = {
        "promptqueue": 1,
        "name": "bench",
        "role": {
            "text": "You write small Python modules. You answer only with the file asked for."
        },
        "defaults": {
            "context": "all",
            "params": {"temperature": 0, "max_tokens": 1000, "seed": 1},
            "refine": {"turns": 0},
        },
        "steps": [
            {"id": name, "task": task, "outputs": [{"path": f"{name}.py"}]}
            for name, task in tasks.items()
        ],
    }
    path.write_text(json.dumps(queue, indent=1), "utf-8")  # JSON is YAML
    return path


def _run(queue: Path, folder: Path) -> Path:
    """Run a queue on the embedded model and return its run directory."""
    runs = folder / f"runs-{queue.stem}"
    options = ["--endpoint", "embedded", "--runs", str(runs), "--out", str(folder / "out")]
    run_child([PROMPTQUEUE, "run", str(queue), *options], accepted=(0, _NOT_USABLE))
    return next(runs.glob("*/journal.jsonl")).parent


def _replies(run: Path) -> list[dict[str, Any]]:
    records = map(json.loads, (run / "journal.jsonl").read_text("utf-8").splitlines())
    return [record for record in records if record["event"] == "call.finished"]
