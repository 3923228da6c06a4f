"""From a step and what came before to the exact messages."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptqueue.chat.message import Message
from promptqueue.errors import QueueFileError
from promptqueue.queue.load import LoadedQueue, load_queue
from promptqueue.queue.model import StepResult, Turn
from promptqueue.queue.render import digest_of, render_queue, render_step

from .conftest import TWO_STEPS, replaced

THREE_STEPS = """\
promptqueue: 1
name: q
role: {text: " Be brief. "}
steps:
  - id: a
    task: Write a.
    outputs: [{path: a.py}]
  - id: b
    task: Write b.
    outputs: [{path: b.py}, {path: a.py}]
  - id: c
    task: Write c.
    outputs: [{path: c.md}]
"""
RESULTS = {
    "a": StepResult("a", (Turn("prompt a", "reply a"),), {"a.py": "A = 1\n"}),
    "b": StepResult(
        "b",
        (Turn("prompt b", "bad reply b"), Turn("again b", "reply b")),
        {"b.py": 'def f(x: int) -> int:\n    """Double."""\n    return x + x\n', "a.py": "A = 2\n"},
    ),
}
ROLE = Message("system", "Be brief.")
TURN_A = (Message("user", "prompt a"), Message("assistant", "reply a"))
TURNS_B = (
    Message("user", "prompt b"),
    Message("assistant", "bad reply b"),
    Message("user", "again b"),
    Message("assistant", "reply b"),
)
TASK_C = """\
## TASK

Write c.

## ANSWER FORMAT

Return this file, whole, in a fence that begins with its path:

```markdown path=c.md
...the whole file...
```
Write complete, working code; leave nothing out.
"""


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("", [*TURN_A, *TURNS_B]),
        ("    context: all\n", [*TURN_A, *TURNS_B]),
        ("    context: on\n", [*TURN_A, *TURNS_B]),
        ("    context: last\n", [*TURNS_B]),
        ("    context: none\n", []),
        ("    context: off\n", []),
        ("    context: []\n", []),
        ("    context: [{step: a}]\n", [*TURN_A]),
        ("    context: [{step: b, as: reply}, {step: a, as: reply}]\n", [*TURNS_B, *TURN_A]),
    ],
)
def test_context_decides_which_turns_travel_along(load, written: str, expected: list[Message]):
    loaded = load(THREE_STEPS + written)

    messages = render_step(loaded, loaded.queue.steps[2], {}, RESULTS)

    assert messages == (ROLE, *expected, Message("user", TASK_C))


A_NOW = """\
a.py, as it stands now:

```python path=a.py
A = 2
```
"""
B_NOW = '''\
b.py, as it stands now:

```python path=b.py
def f(x: int) -> int:
    """Double."""
    return x + x
```
'''
B_INTERFACE = '''\
b.py, which exists already; its interface:

```python
def f(x: int) -> int:
    """Double."""
    ...
```
'''


@pytest.mark.parametrize(
    ("context", "turns", "section"),
    [
        ("[{step: a, as: files}]", (), f"## CONTEXT\n\n{A_NOW}\n"),
        ("[{step: b, as: files}]", (), f"## CONTEXT\n\n{B_NOW}\n{A_NOW}\n"),
        (
            "[{step: b, as: interface}]",
            (),
            f"## CONTEXT\n\n{B_INTERFACE}\na.py, which exists already; its interface:\n\n"
            "```python\nA = 2\n```\n\n",
        ),
        ("[{step: a}, {step: a, as: files}]", TURN_A, f"## CONTEXT\n\n{A_NOW}\n"),
    ],
    ids=["latest body that a later step rewrote", "two files", "interface", "reply and files"],
)
def test_files_and_interfaces_stand_before_the_task(load, context: str, turns, section: str):
    loaded = load(THREE_STEPS + f"    context: {context}\n")

    messages = render_step(loaded, loaded.queue.steps[2], {}, RESULTS)

    assert messages == (ROLE, *turns, Message("user", section + TASK_C))


def test_a_file_that_holds_fences_stays_one_file(load):
    loaded = load(THREE_STEPS + "    context: [{step: a, as: files}]\n")
    results = {"a": StepResult("a", (Turn("p", "r"),), {"a.py": '"""\n```\n"""\n'})}

    prompt = render_step(loaded, loaded.queue.steps[2], {}, results)[-1].content

    assert '````python path=a.py\n"""\n```\n"""\n````\n' in prompt


def test_a_step_that_brought_no_files_adds_no_section(load):
    loaded = load(THREE_STEPS + "    context: [{step: a, as: files}]\n")

    messages = render_step(loaded, loaded.queue.steps[2], {}, {"a": StepResult("a", ())})

    assert messages == (ROLE, Message("user", TASK_C))


@pytest.mark.parametrize(
    ("parts", "prompt"),
    [
        pytest.param(
            "task: Do it.",
            "## TASK\n\nDo it.\n\n## ANSWER FORMAT\n\nReturn this file, whole, in a fence "
            "that begins with its path:\n\n```python path=a.py\n"
            "...the whole file...\n```\nWrite complete, working code; leave nothing out.\n",
            id="task",
        ),
        pytest.param(
            "data: Gray.\n    task: Do it.\n    answer_format: One file.",
            "## DATA\n\nGray.\n\n## TASK\n\nDo it.\n\n## ANSWER FORMAT\n\nOne file.\n",
            id="all three",
        ),
        pytest.param(
            "task: |\n\n      Do it.\n\n      Now.\n    answer_format: ' One file. '",
            "## TASK\n\nDo it.\n\nNow.\n\n## ANSWER FORMAT\n\nOne file.\n",
            id="blank lines around",
        ),
        pytest.param(
            "template: t.j2",
            "## DATA\n\nGray.\n\n## TASK\n\nDo it.\n\n## ANSWER FORMAT\n\nOne file.\n",
            id="extended",
        ),
        pytest.param("template: bare.j2", "Only this.\n", id="no layout"),
    ],
)
def test_the_layout_of_a_prompt(load, parts: str, prompt: str):
    files = {
        "t.j2": "{% extends 'promptqueue/layout.md.j2' %}\n"
        "{% block data %}Gray.{% endblock %}\n"
        "{% block task %}\nDo it.{% endblock %}\n"
        "{% block answer_format %}\nOne file.\n{% endblock %}\n",
        "bare.j2": "\n\n  Only this.\n\n",
    }
    loaded = load(replaced("task: Write a.", parts), files)

    assert render_queue(loaded, {})["a"] == (Message("user", prompt),)


def test_the_answer_format_names_every_file_and_its_symbols(load):
    queue = replaced("- {path: a.py}", "- {path: a.py, symbols: [f, G]}\n      - {path: x.toml}")

    assert render_queue(load(queue), {})["a"][0].content.endswith(
        "Return these files, each whole and in a fence of its own that begins with its path:\n\n"
        "```python path=a.py\n...the whole file, which defines f, G...\n```\n"
        "```toml path=x.toml\n...the whole file...\n```\n"
        "Write complete, working code; leave nothing out.\n"
    )


@pytest.mark.parametrize(
    ("outputs", "asked"),
    [
        (
            "[{path: a.py, parts: true}]",
            "Return this file, in a fence that begins with its path:\n\n",
        ),
        (
            "[{path: a.py, parts: true}, {path: b.md}]",
            "Return these files, each in a fence of its own that begins with its path:\n\n",
        ),
    ],
)
def test_the_answer_format_asks_for_what_changes(load, outputs: str, asked: str):
    queue = (
        f"{TWO_STEPS}  - id: c\n    task: Change it.\n    context: none\n    outputs: {outputs}\n"
    )

    (message,) = render_queue(load(queue), {})["c"]

    assert (
        f"{asked}```python path=a.py\n"
        "...only the functions and classes that change, each of them whole...\n```\n"
    ) in message.content


def test_the_role_is_the_system_message(load):
    loaded = load(
        TWO_STEPS + "role: r.j2\ninputs: {lang: {type: str, default: ru}}\n",
        {"r.j2": "\nYou write {{ inputs.lang }}.\n\n"},
    )

    assert [messages[0] for messages in render_queue(loaded, {"lang": "en"}).values()] == [
        Message("system", "You write en."),
        Message("system", "You write en."),
    ]


def test_a_template_sees_inputs_the_step_and_results(load):
    template = (
        "{{ inputs.n + 1 }} {{ step.id }} {{ step.requirements.x }} {{ steps.a.reply }} "
        "{{ steps.a.files['a.py'] | trim }} {{ steps.a.interface('a.py') | trim }}"
    )
    queue = replaced("task: Write b.", "template: t.j2\n    requirements: {x: why}")
    loaded = load(queue + "inputs: {n: {type: int, default: 1}}\n", {"t.j2": template})

    prompt = render_step(loaded, loaded.queue.steps[1], {"n": 41}, RESULTS)[-1].content

    assert prompt == "42 b why reply a A = 1 A = 1\n"


def test_the_reply_of_a_step_is_the_last_one():
    assert RESULTS["b"].reply == "reply b"
    assert StepResult("a", ()).reply == ""


def test_what_a_run_brings_is_a_placeholder_before_it(load):
    loaded = load(replaced("Write b.", "'{{ steps.a.files[\"a.py\"] }}'"))

    first, second = render_queue(loaded, {}).values()

    assert second[:2] == (
        first[-1],
        Message("assistant", "‹the reply of step a, known when it has run›"),
    )
    assert "## TASK\n\n‹a.py of step a, known when it has run›\n\n" in second[2].content


def test_what_a_run_has_brought_replaces_the_placeholder(load):
    rendered = render_queue(load(THREE_STEPS), {}, {"a": RESULTS["a"]})

    assert rendered["b"][:-1] == (ROLE, *TURN_A)
    assert rendered["c"][1:3] == TURN_A
    assert rendered["c"][-2].content == "‹the reply of step b, known when it has run›"


texts = st.text(st.characters(codec="utf-8"), max_size=30)


@given(st.lists(texts, min_size=2, max_size=2), st.booleans())
def test_with_context_all_each_step_continues_the_last(tmp_path_factory, replies, refined: bool):
    """Else the endpoint's prompt cache, which compares bytes, would be lost at every step."""
    loaded = three_steps(tmp_path_factory)
    results: dict[str, StepResult] = {}
    before: tuple[Message, ...] = ()
    for step, reply in zip(loaded.queue.steps, [*replies, ""], strict=True):
        messages = render_step(loaded, step, {}, results)
        assert messages[: len(before)] == before
        assert len(messages) == (len(before) or 1) + 1
        turns = (Turn(messages[-1].content, reply), *[Turn("again", "better")] * refined)
        results[step.id] = StepResult(step.id, turns, {"a.py": reply})
        before = (
            messages
            + tuple(
                message
                for turn in turns
                for message in (Message("user", turn.prompt), Message("assistant", turn.reply))
            )[1:]
        )


def three_steps(tmp_path_factory, cache: dict[str, LoadedQueue] = {}) -> LoadedQueue:  # noqa: B006
    if not cache:
        path = tmp_path_factory.mktemp("three") / "q.yaml"
        path.write_text(THREE_STEPS)
        cache["loaded"] = load_queue(path)
    return cache["loaded"]


MESSAGES = [Message("system", 'Sei "kurz".\n'), Message("user", "±15° \\ é 😀")]
CANONICAL = (
    '[{"role":"system","content":"Sei \\"kurz\\".\\n"},{"role":"user","content":"±15° \\\\ é 😀"}]'
)


def test_the_digest_is_that_of_canonical_json():
    assert json.loads(CANONICAL) == [{"role": m.role, "content": m.content} for m in MESSAGES]
    assert digest_of(MESSAGES) == hashlib.sha256(CANONICAL.encode("utf-8")).hexdigest()
    # printf %s '[{"role":"user","content":"x"}]' | sha256sum
    assert digest_of([Message("user", "x")]) == (
        "aa97aaaade8ba2434d8f425b2568ff44673185dedebbb248eede8324edd582a1"
    )


BOOM = "a\n\n{{ 1 // 0 }}\n"


@pytest.mark.parametrize(
    ("queue", "files", "message"),
    [
        pytest.param(
            replaced("task: Write b.", "template: t.j2"),
            {"t.j2": BOOM},
            "t.j2:3: the template cannot be rendered: ZeroDivisionError: integer division or "
            "modulo by zero",
            id="template",
        ),
        pytest.param(
            replaced("task: Write b.", "template: t.j2"),
            {"t.j2": "x\n{% include 'p/p.j2' %}", "p/p.j2": BOOM},
            "p/p.j2:3: the template cannot be rendered: ZeroDivisionError: integer division or "
            "modulo by zero",
            id="partial",
        ),
        pytest.param(
            replaced("task: Write b.", "template: t.j2"),
            {
                "t.j2": "{% import 'm.j2' as m %}\n{{ m.f() }}",
                "m.j2": "{% macro f() %}\n{{ 1 // 0 }}{% endmacro %}",
            },
            "m.j2:2: the template cannot be rendered: ZeroDivisionError: integer division or "
            "modulo by zero",
            id="macro",
        ),
        pytest.param(
            replaced("Write b.", "|\n      one\n      {{ 1 // 0 }}"),
            {},
            "q.yaml:11: the template cannot be rendered: ZeroDivisionError: integer division or "
            "modulo by zero",
            id="block",
        ),
        pytest.param(
            replaced("Write b.", "\"one\\n{{ {}['x'] }}\""),
            {},
            "q.yaml:9: the template cannot be rendered: 'dict object' has no attribute 'x'",
            id="one line",
        ),
        pytest.param(
            TWO_STEPS + "role:\n  text: |\n    {{ 1 // 0 }}\n",
            {},
            "q.yaml:14: the template cannot be rendered: ZeroDivisionError: integer division or "
            "modulo by zero",
            id="role",
        ),
        pytest.param(
            replaced("Write b.", "|\n      one\n      {% include 'p.j2' %}"),
            {"p.j2": BOOM},
            "p.j2:3: the template cannot be rendered: ZeroDivisionError: integer division or "
            "modulo by zero",
            id="partial of a text in place",
        ),
        pytest.param(
            replaced("Write b.", "|\n      {{ steps.a.interface('b' + '.py') }}"),
            {},
            "q.yaml:10: the template cannot be rendered: the step 'a' has no file 'b.py'; "
            "its files: 'a.py'",
            id="file of another step",
        ),
        pytest.param(
            replaced("task: Write b.", "template: t.j2"),
            {"t.j2": "{% set name = 'no.j2' %}\n{% include name %}"},
            "t.j2:2: the template cannot be rendered: the template 'no.j2' does not exist",
            id="computed name",
        ),
        pytest.param(
            replaced("task: Write b.", "template: t.j2"),
            {"t.j2": "x\n{% include 't.j2' %}"},
            "t.j2:2: the template cannot be rendered: it includes itself, or a macro calls "
            "itself, without end",
            id="without end",
        ),
        pytest.param(
            replaced("task: Write b.", "template: t.j2"),
            {"t.j2": "x\n{{ late }}{% set late = 1 %}"},
            "t.j2:2: the template cannot be rendered: 'late' is undefined",
            id="set too late",
        ),
    ],
)  # fmt: skip
def test_an_error_while_rendering_names_file_and_line(load, queue, files, message: str):
    loaded = load(queue, files)

    with pytest.raises(QueueFileError) as caught:
        render_queue(loaded, {})

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("printed", "way_out"),
    [
        ("steps.a", "the result of a step is no text; name one of its parts, as .reply"),
        ("steps.a.files", 'a mapping is no text; name one of its parts, as ["a.py"], or add'),
        ("steps.a.turns", "a list of turns is no text; name a part of one of them, as [0].reply"),
        ("steps.a.turns[0]", "a turn is no text; name one of its parts, .prompt or .reply"),
        ("steps.a.interface", "a function is no text; call it, with its arguments in brackets"),
        ("['a'] | map('upper')", "this is no text but what filters like map give; add | join"),
        ("cycler('a', 'b')", "a Cycler is no text"),
        ("steps.a | tojson", "TypeError: StepResult is nothing that JSON knows"),
        (r"'\ud83d'", "half of a character; write the whole of it"),
    ],
)
def test_what_is_no_text_is_refused_before_it_is_sent(load, printed: str, way_out: str):
    template = f"one\n{{{{ {printed} }}}}"
    loaded = load(replaced("task: Write b.", "template: t.j2"), {"t.j2": template})

    with pytest.raises(QueueFileError) as caught:
        render_queue(loaded, {})

    assert str(caught.value).startswith(f"t.j2:2: the template cannot be rendered: {way_out}")


@pytest.mark.parametrize("folder", ["prompts", "/absolute"])
def test_the_file_of_an_error_is_found_from_any_folder(write, tmp_path, folder: str):
    base = str(tmp_path / "absolute") if folder == "/absolute" else folder
    queue = replaced("task: Write b.", "template: t.j2")
    write(
        "x", {f"{base}/q.yaml": queue, f"{base}/t.j2": "{% include 'p.j2' %}", f"{base}/p.j2": BOOM}
    )

    with pytest.raises(QueueFileError) as caught:
        render_queue(load_queue(f"{base}/q.yaml"), {})

    assert str(caught.value).startswith(f"{base}/p.j2:3: the template cannot be rendered: ")
