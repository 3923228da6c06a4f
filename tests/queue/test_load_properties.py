"""Whatever is wrong with a queue file, its user reads a message and no traceback."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from promptqueue.errors import PromptQueueError
from promptqueue.queue.inputs import resolve_inputs
from promptqueue.queue.load import load_queue
from promptqueue.queue.render import render_queue

QUEUE: dict[str, Any] = {
    "promptqueue": 1,
    "name": "q",
    "role": {"text": "Be brief."},
    "inputs": {"lang": {"type": "str", "choices": ["ru", "en"], "default": "ru"}},
    "defaults": {"params": {"seed": 1}, "context": "last", "refine": {"turns": 2}},
    "limits": {"calls": 9, "wall": "1h"},
    "verify": {"preload": ["math"], "limits": {"wall": 9}},
    "steps": [
        {"id": "a", "task": "In {{ inputs.lang }}.", "outputs": [{"path": "a.py"}]},
        {
            "id": "b",
            "data": "{{ steps.a.files['a.py'] }}",
            "task": "Change it.",
            "outputs": [{"path": "a.py", "symbols": ["f(x)"], "parts": True}],
            "requirements": {"x": "why"},
            "context": [{"step": "a", "as": "files"}],
        },
    ],
}
KEYS = ["template", "task", "data", "steps", "inputs", "context", "params", "path", "id", "nme"]
"""Put in wherever a mapping does not have them."""


def places(data: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where something can be replaced or added: keys and indices from the root."""
    keys = [*dict.fromkeys([*data, *KEYS])] if isinstance(data, dict) else range(len(data))
    yield from ((*at, key) for key in keys)
    for key, value in data.items() if isinstance(data, dict) else enumerate(data):
        if isinstance(value, dict | list):
            yield from places(value, (*at, key))


def changed(place: tuple[Any, ...], value: Any) -> str:
    data = copy.deepcopy(QUEUE)
    holder: Any = data
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    return yaml.safe_dump(data, sort_keys=False)


@pytest.mark.parametrize("value", ["{{ nme }}", [{}]], ids=["text", "list"])
def test_a_queue_with_one_odd_value_is_rendered_or_refused(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "q.yaml"
    for place in places(QUEUE):
        path.write_text(changed(place, value), "utf-8")
        with suppress(PromptQueueError):  # nothing else may be raised
            loaded = load_queue(path)
            render_queue(loaded, resolve_inputs(loaded.queue))
