"""Finds the sentence of a prompt that asks for a requirement: the bullet that opens with its id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from promptqueue.queue.bullets import bullets
from promptqueue.queue.inputs import Value
from promptqueue.queue.load import LoadedQueue
from promptqueue.queue.model import Step
from promptqueue.queue.render import render_queue


@dataclass(frozen=True, slots=True)
class Sentence:
    """What a prompt says of one requirement."""

    text: str
    at: str
    """File and line of the template, or of the queue where the task stands there."""


def sentences(
    loaded: LoadedQueue, inputs: Mapping[str, Value]
) -> Mapping[tuple[str, str], Sentence]:
    """Return step and requirement to the bullet `- id: …` of the prompt, where it has one.

    Of bullets in several languages it is the one that these inputs bring into the prompt.

    Raises:
        QueueFileError: a template cannot be rendered.
    """
    found: dict[tuple[str, str], Sentence] = {}
    prompts = render_queue(loaded, inputs)
    for step in loaded.queue.steps:
        prompt = prompts[step.id][-1].content
        told = bullets(prompt)
        for name in step.requirements:
            if name in told:
                text = told[name].partition("\n")[0]
                found[step.id, name] = Sentence(text, _place(loaded, step, name, text))
    return found


def _place(loaded: LoadedQueue, step: Step, name: str, text: str) -> str:
    """Return where the bullet stands; a line that templates fill in is told by its beginning."""
    file = step.template or loaded.path.name
    lines = enumerate(loaded.sources.get(file, "").splitlines(), 1)
    own = [(number, said) for number, line in lines if (said := bullets(line).get(name))]
    if not own:
        return file
    number, _ = max(own, key=lambda each: _common(each[1], text))
    return f"{file}:{number}"


def _common(one: str, other: str) -> int:
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
