"""Made-up prompts and replies of the size that real ones have: a queue, and what answers it."""

from __future__ import annotations

import json
from collections.abc import Iterator

_FILE_CHARACTERS = 2900
_PROMPT_LINES = 24


def paths(step: int) -> tuple[str, str]:
    """Return the two files of a step, counted from 1."""
    return f"part{step}_data.py", f"part{step}_model.py"


def prompt(step: int) -> str:
    """Return the task of a step, about 2 kB."""
    lines = (
        f"- function {line} of part {step} scales the values that it is given, and sums them up"
        for line in range(1, _PROMPT_LINES + 1)
    )
    return f"Write part {step}, two files.\n" + "\n".join(lines)


def reply(step: int) -> str:
    """Return the reply to a step: two fenced Python files of about 3 kB each that parse."""
    fences = [f"```python path={path}\n{_module(path)}```" for path in paths(step)]
    return "Here are both files.\n\n" + "\n\n".join(fences) + "\n"


def queue_text(steps: int, *, context: str) -> str:
    """Return a queue file with prompts of about 2 kB, written in place."""
    queue = {
        "promptqueue": 1,
        "name": "bench",
        "role": {"text": "You write small Python modules and answer with the files asked for."},
        "defaults": {
            "context": context,
            "params": {"temperature": 0, "max_tokens": 4096, "seed": 1},
            "refine": {"turns": 0},
        },
        "steps": [_step(number) for number in range(1, steps + 1)],
    }
    return json.dumps(queue, indent=1)  # JSON is YAML


def _step(number: int) -> dict[str, object]:
    return {
        "id": f"part{number}",
        "task": prompt(number),
        "outputs": [{"path": path, "symbols": [f"{path[:-3]}_1"]} for path in paths(number)],
    }


def _module(path: str) -> str:
    text = f'"""Functions of {path}, written by no model."""\n\nimport math\n'
    for function in _functions(path[:-3]):
        text += function
        if len(text) > _FILE_CHARACTERS:
            break
    return text


def _functions(name: str) -> Iterator[str]:
    for number in range(1, 1000):
        yield (
            f"\n\ndef {name}_{number}(values: list[float], scale: float = {number}.5) -> float:\n"
            f'    """Return the sum number {number} of {name}, scaled and shifted."""\n'
            f"    shifted = [value * scale + {number} for value in values]\n"
            f"    if not shifted:\n"
            f'        raise ValueError("number {number} of {name} needs values")\n'
            f"    return math.fsum(shifted) / {number + 1}\n"
        )
