"""Makes one prompt of a queue: the data and tasks of all steps, and one answer format."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from jinja2 import ChoiceLoader, DictLoader

from promptqueue.chat.question import Params
from promptqueue.compare.arms import MONOLITH
from promptqueue.errors import UsageError
from promptqueue.queue.inputs import Value
from promptqueue.queue.load import LoadedQueue
from promptqueue.queue.model import Output, Queue, Refine, Step, StepResult, Turn
from promptqueue.queue.render import render_step
from promptqueue.queue.templates import LAYOUT, fenced, make_environment
from promptqueue.run.attribution import INFO
from promptqueue.run.fences import Block, find_blocks

_TAGS = re.compile(r"\{[{%#]")
_ASKED = """\
{% if self.data() | trim %}
{% block data_title %}## DATA{% endblock %}


{% block data %}{{ data | default("") }}{% endblock %}


{% endif %}
{% block task_title %}## TASK{% endblock %}


{% block task %}{{ task | default("") }}{% endblock %}
"""
"""The layout of a prompt without its answer format, which speaks of one reply to one step."""
_FORMAT = """{% block answer_format %}{{ answer_format | default("") }}{% endblock %}"""
_WHOLE = """\
{{% extends "{layout}" %}}
{{% block task_title %}}
Do all the tasks below, one after the other, and answer all of them in one reply. Where a task \
speaks of what was written before, it means what the tasks above it ask for. A file that several \
tasks change is returned once, as the last of them leaves it.
{{% endblock %}}
{{% block task %}}
{task}
{{% endblock %}}
{{% block answer_format_title %}}## ANSWER FORMAT{{% endblock %}}
"""


def as_monolith(
    loaded: LoadedQueue, inputs: Mapping[str, Value], *, given: frozenset[str]
) -> LoadedQueue:
    """Return a queue of one step that asks for everything, in the words of the steps.

    Of their answer formats it keeps the outline of each file, as the last step that returns the
    whole file has it, and what later steps change; what the prompt ends with is one answer format
    for all files. A template that does not extend the layout of promptqueue cannot be told from
    its answer format, and is kept whole.

    Args:
        loaded: the queue; no step has a context.
        inputs: that its prompts are written out with.
        given: names of the parameters that hold whatever the steps say.

    Raises:
        UsageError: the steps have different parameters.
        QueueFileError: a template cannot be rendered.
    """
    queue, steps = loaded.queue, loaded.queue.steps
    prompts = _rendered(with_templates(loaded, {LAYOUT: _ASKED}), inputs)
    formats = _rendered(with_templates(loaded, {LAYOUT: _FORMAT}), inputs)
    own = {name: text for name, text in formats.items() if text != prompts[name]}
    text = "\n\n".join([*_tasks(queue, prompts), *_outlines(queue, own)])
    task = _TAGS.sub(lambda mark: "{{ '" + mark[0] + "' }}", text)
    step = Step(
        id=MONOLITH,
        title="All at once",
        template=MONOLITH,
        outputs=_outputs(queue),
        requirements={k: v for step in steps for k, v in step.requirements.items()},
        checks=tuple(dict.fromkeys(check for step in steps for check in step.checks)),
        context="none",
        refine=_refine(queue),
        model=steps[0].model,
        params=_params(queue, given),
    )
    whole = replace(loaded, queue=queue.model_copy(update={"steps": (step,)}))
    return with_templates(whole, {MONOLITH: _WHOLE.format(layout=LAYOUT, task=task)})


def with_templates(loaded: LoadedQueue, texts: Mapping[str, str]) -> LoadedQueue:
    """Return the queue with these templates in place of those of the same names."""
    environment = make_environment(loaded.folder)
    assert loaded.environment.loader is not None
    environment.loader = ChoiceLoader([DictLoader(texts), loaded.environment.loader])
    return replace(loaded, environment=environment, sources={**loaded.sources, **texts})


def refuse_several_models(queue: Queue) -> None:
    """Refuse to make one prompt of steps that different models are asked.

    Raises:
        UsageError: it names them.
    """
    models = dict.fromkeys(step.model or queue.defaults.model for step in queue.steps)
    if len(models) > 1:
        names = ", ".join(name or "none" for name in models)
        raise UsageError(
            f"the steps of {queue.name} name different models ({names}), and one prompt is for "
            f"one of them: write it as {MONOLITH},model=NAME, or give --model"
        )


def _tasks(queue: Queue, prompts: Mapping[str, str]) -> Iterator[str]:
    """Yield what each step asks for, below its title."""
    for number, step in enumerate(queue.steps, 1):
        title = f"# {number}/{len(queue.steps)} {step.title or step.id}"
        yield f"{title}\n\n{prompts[step.id]}"


def _outputs(queue: Queue) -> tuple[Output, ...]:
    """Return the files of all steps, each whole: there is no version before."""
    last = {output.path: output for step in queue.steps for output in step.outputs}
    return tuple(output.model_copy(update={"parts": False}) for output in last.values())


def _outlines(queue: Queue, formats: Mapping[str, str]) -> Iterator[str]:
    """Yield the outline of each file that an answer format has one of."""
    found: dict[str, list[str]] = {}
    for step in queue.steps:
        blocks = find_blocks(formats.get(step.id, ""), step.outputs, cut=False)
        for output in step.outputs:
            outline = _outline(blocks, output.path)
            if not outline:
                continue
            earlier = found.get(output.path, []) if output.parts else []
            when = ", as a later task changes it" if earlier else ""
            found[output.path] = [*earlier, f"`{output.path}`{when}:\n\n{outline}"]
    if found:
        yield "# Outlines of the files, with exactly these names and signatures"
        yield from chain.from_iterable(found.values())


def _outline(blocks: Sequence[Block], path: str) -> str:
    """Return the fences for a file; the one that shows the reply's shape only if it is all."""
    own = [(block, block.claim) for block in blocks if block.claim and block.claim.path == path]
    shown = [block for block, claim in own if claim.found_by != INFO] or [block for block, _ in own]
    return "\n\n".join(fenced(block.text, block.language) for block in shown)


def _rendered(loaded: LoadedQueue, inputs: Mapping[str, Value]) -> dict[str, str]:
    known: dict[str, StepResult] = {}
    texts = {}
    for step in loaded.queue.steps:
        texts[step.id] = render_step(loaded, step, inputs, known)[-1].content.strip()
        known[step.id] = _to_come(step)
    return texts


def _to_come(step: Step) -> StepResult:
    """Return what the prompt of a later step sees of one that is answered in the same reply."""
    files = {path: f"(the {path} that you write above)" for path in step.paths()}
    return StepResult(step.id, (Turn("", "(what you write above)"),), files)


def _refine(queue: Queue) -> Refine:
    """Return as many turns as all steps have together, and as many samples as one of them."""
    rules = [queue.refine_of(step) for step in queue.steps]
    turns, samples = sum(rule.turns for rule in rules), max(rule.samples for rule in rules)
    return rules[-1].model_copy(update={"turns": turns, "samples": samples})


def _params(queue: Queue, given: frozenset[str]) -> Params:
    """Return the parameters of all steps, with room for all of their replies."""
    all_params = [queue.params_of(step) for step in queue.steps]
    first, caps = all_params[0], [params.max_tokens for params in all_params]
    for name in Params.model_fields.keys() - given - {"max_tokens", "seed"}:
        values = [getattr(params, name) for params in all_params]
        if any(value != values[0] for value in values):
            shown = ", ".join(str(value) for value in values)
            raise UsageError(
                f"the steps of {queue.name} have different values of {name} ({shown}), and one "
                f"prompt has one of them: write it as {MONOLITH},{name}=VALUE"
            )
    known = [cap for cap in caps if cap is not None]
    return Params(max_tokens=sum(known)).over(first) if len(known) == len(caps) else first
