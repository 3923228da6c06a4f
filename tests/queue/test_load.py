"""A queue file becomes a queue, or a list of all that is wrong with it, each with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptqueue.queue.load import load_queue
from promptqueue.queue.model import ContextEntry, Output, Refine, Text

from .conftest import TWO_STEPS, replaced

COMPLETE = """\
# yaml-language-server: $schema=./queue.schema.json
promptqueue: 1
name: lunar
reference: reference
endpoint: workstation
role: lunar/role.md.j2               # sent once, as the system message
inputs:                              # typed; --set language=en
  language: {type: str, choices: [ru, en], default: ru, description: of the prompts}
  num_classes: {type: int, default: 5, min: 2, max: 9}
defaults:
  model: small
  params: {temperature: 0.2, max_tokens: 4096}
  context: last
  refine: {turns: 2}
limits: {calls: 60, tokens: 200000, wall: 1h30m, usd: 2.00}
verify:
  preload: [math]
  question: 30
  limits: {wall: 2m, memory_mib: 512}
  pipeline: {command: [python, main.py], files: [out.json], wall: 1m}
steps:
  - id: preprocessing
    title: "[1/4] Preprocessing"
    template: lunar/preprocessing.md.j2
    outputs:
      - {path: preprocessing.py, symbols: [get_image_paths, load_image]}
    requirements: {rotation: "random rotation within ±15°", noise: "Gaussian noise, sigma 0.01"}
    checks: [lunar/checks/test_preprocessing.py]
    context: all
    refine: {turns: 3, samples: 4, on_red: stop, escalate: larger}
    model: large
    params: {seed: 1, stop: [END], extra: {top_k: 40}}
  - id: model
    data: The images are gray.
    task: Write the model.
    answer_format: One file.
    outputs: [{path: src/model.py}, {path: preprocessing.py, parts: true}]
    context: [{step: preprocessing, as: files}, {step: preprocessing}]
"""
COMPLETE_FILES = {
    "reference/model.py": "",
    "lunar/role.md.j2": "You write {{ inputs.language }}.",
    "lunar/preprocessing.md.j2": "{{ inputs.num_classes }} classes.",
    "lunar/checks/test_preprocessing.py": """\
import pytest

@pytest.mark.requirement("rotation", grade="outcome")
class TestRotation:
    @pytest.mark.requirement("noise")
    def test_noise(self): ...
""",
}


def test_every_key_arrives_in_the_model(load):
    loaded = load(COMPLETE, COMPLETE_FILES)
    queue = loaded.queue
    first, second = queue.steps

    assert loaded.warnings == ()
    assert (queue.promptqueue, queue.name, queue.reference) == (1, "lunar", "reference")
    assert (queue.endpoint, queue.role) == ("workstation", "lunar/role.md.j2")
    language, classes = queue.inputs["language"], queue.inputs["num_classes"]
    assert (language.type, language.default, language.choices) == ("str", "ru", ("ru", "en"))
    assert language.description == "of the prompts"
    assert (classes.type, classes.default, classes.min, classes.max) == ("int", 5, 2, 9)
    assert (queue.defaults.model, queue.defaults.context) == ("small", "last")
    assert (queue.defaults.params.temperature, queue.defaults.params.max_tokens) == (0.2, 4096)
    assert queue.defaults.refine == Refine(turns=2, samples=1)
    assert (queue.limits.calls, queue.limits.tokens) == (60, 200000)
    assert (queue.limits.wall, queue.limits.usd) == (5400, 2.0)
    assert (queue.verify.preload, queue.verify.question) == (("math",), 30)
    assert (queue.verify.limits.wall_s, queue.verify.limits.memory_mib) == (120, 512)
    pipeline = queue.verify.pipeline
    assert (pipeline.command, pipeline.files) == (("python", "main.py"), ("out.json",))
    assert pipeline.wall == 60
    assert (first.id, first.title) == ("preprocessing", "[1/4] Preprocessing")
    assert first.template == "lunar/preprocessing.md.j2"
    assert (first.data, first.task, first.answer_format) == (None, None, None)
    assert first.outputs == (
        Output(path="preprocessing.py", symbols=("get_image_paths", "load_image")),
    )
    assert first.requirements == {
        "rotation": "random rotation within ±15°",
        "noise": "Gaussian noise, sigma 0.01",
    }
    assert first.checks == ("lunar/checks/test_preprocessing.py",)
    assert (first.context, first.model) == ("all", "large")
    assert first.refine == Refine(turns=3, samples=4, on_red="stop", escalate="larger")
    assert (first.params.seed, first.params.stop) == (1, ("END",))
    assert first.params.extra == {"top_k": 40}
    assert (second.data, second.task) == ("The images are gray.", "Write the model.")
    assert (second.answer_format, second.template) == ("One file.", None)
    assert second.paths() == ("src/model.py", "preprocessing.py")
    assert [output.parts for output in second.outputs] == [False, True]
    assert second.context == (
        ContextEntry.model_validate({"step": "preprocessing", "as": "files"}),
        ContextEntry.model_validate({"step": "preprocessing", "as": "reply"}),
    )


def test_what_is_left_out_has_defaults(load):
    queue = load(TWO_STEPS).queue

    assert (queue.role, queue.reference, queue.endpoint, queue.inputs) == (None, None, None, {})
    assert queue.limits.model_dump() == {"calls": None, "tokens": None, "wall": None, "usd": None}
    assert queue.refine_of(queue.steps[0]) == Refine(turns=8, samples=1)
    assert queue.context_of(queue.steps[1]) == (ContextEntry(step="a"),)


def test_a_role_can_stand_in_place(load):
    assert load(TWO_STEPS + "role: {text: Be brief.}\n").queue.role == Text(text="Be brief.")


def test_parameters_of_a_step_lie_over_the_defaults(load):
    queue = load(COMPLETE, COMPLETE_FILES).queue

    assert queue.params_of(queue.steps[0]).given() == {
        "temperature": 0.2,
        "max_tokens": 4096,
        "seed": 1,
        "stop": ("END",),
    }


def test_a_step_wins_over_the_defaults(load):
    queue = load(
        replaced("  - id: b", "    params: {seed: 2}\n    refine: {turns: 9}\n  - id: b")
        + "defaults: {params: {seed: 1, top_p: 0.5}, refine: {turns: 5}}\n"
    ).queue
    first, second = queue.steps

    assert queue.params_of(first).given() == {"seed": 2, "top_p": 0.5}
    assert queue.params_of(second).given() == {"seed": 1, "top_p": 0.5}
    assert (queue.refine_of(first), queue.refine_of(second)) == (Refine(turns=9), Refine(turns=5))


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("90m", 5400), ("1h30m", 5400), ("45s", 45), ("2h", 7200), ("1h1m1s", 3661), ("30", 30)],
)
def test_reads_durations(load, written: str, seconds: float):
    assert load(TWO_STEPS + f"limits: {{wall: {written}}}\n").queue.limits.wall == seconds


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        ("all", "all"),
        ("none", "none"),
        ("last", "last"),
        ("on", "all"),
        ("off", "none"),
        ("'on'", "all"),
        ("'off'", "none"),
        ("true", "all"),
        ("false", "none"),
        ("[]", ()),
        ("", None),
    ],
)
def test_reads_context_rules(load, written: str, rule: object):
    assert load(TWO_STEPS + f"    context: {written}\n").queue.steps[1].context == rule


EXTENDED = """\
promptqueue: 1
name: q
inputs:
  lang: {type: str, default: ru}
defaults: {params: {seed: 1}}
limits: {calls: 1}
steps:
  - id: a
    task: Write a in {{ inputs.lang }}.
    outputs:
      - {path: a.py}
  - id: b
    task: Write b.
    outputs:
      - {path: b.py}
    refine: {turns: 1}
    context: [{step: a, as: reply}]
"""


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ("name: q", "name: q\nnmae: q", "3:1", "unknown key 'nmae'; did you mean 'name'?"),
        (
            "name: q",
            "name: q\nwhy: q",
            "3:1",
            "unknown key 'why'; known here: promptqueue, name, reference, role, inputs, endpoint, "
            "defaults, limits, verify, steps",
        ),
        ("default: ru", "defualt: ru", "4:21", "unknown key 'defualt'; did you mean 'default'?"),
        ("params: {", "param: {", "5:12", "unknown key 'param'; did you mean 'params'?"),
        ("seed", "sede", "5:21", "unknown key 'sede'; did you mean 'seed'?"),
        ("calls: 1", "call: 1", "6:10", "unknown key 'call'; did you mean 'calls'?"),
        (
            "    task: Write b.",
            "    task: Write b.\n    promt: x",
            "14:5",
            "unknown key 'promt'; known here: id, title, template, data, task, answer_format, "
            "outputs, requirements, checks, context, refine, model, params",
        ),
        (
            "{path: b.py}",
            "{path: b.py, symbol: [f]}",
            "15:22",
            "unknown key 'symbol'; did you mean 'symbols'?",
        ),
        ("turns: 1", "turn: 1", "16:14", "unknown key 'turn'; did you mean 'turns'?"),
        ("as: reply", "form: reply", "17:25", "unknown key 'form'; known here: step, as"),
    ],
    ids=[
        "top", "far from any", "input", "defaults", "params", "limits", "step", "output",
        "refine", "context entry",
    ],
)  # fmt: skip
def test_unknown_keys_are_errors(refuse, old: str, new: str, place: str, message: str):
    lines = refuse(replaced(old, new, EXTENDED)).split("\n")

    assert lines[0] == f"q.yaml:{place}: {message}"
    assert lines[2].index("^") == 4 + int(place.split(":")[1]) - 1


@pytest.mark.parametrize(
    ("old", "new", "place", "key"),
    [
        ("promptqueue: 1\n", "", "1:1", "promptqueue"),
        ("name: q\n", "", "1:1", "name"),
        ("  - id: b\n    task", "  - task", "12:5", "id"),
        ("{path: b.py}", "{symbols: [f]}", "15:9", "path"),
        ("    outputs:\n      - {path: b.py}\n", "", "12:5", "outputs"),
        ("{step: a, as: reply}", "{as: reply}", "17:15", "step"),
        ("{type: str, default: ru}", "{default: ru}", "4:9", "type"),
    ],
    ids=["version", "name", "id", "path", "outputs", "step of a context", "type of an input"],
)
def test_missing_keys_are_errors(refuse, old: str, new: str, place: str, key: str):
    message = refuse(replaced(old, new, EXTENDED))

    assert message.startswith(f"q.yaml:{place}: the key {key!r} is missing here")
    assert message.endswith("\n1 problem in q.yaml")


A_TEXT = "the input 'n' is a text (in quotes, where it looks like something else), not false"
A_NUMBER = "the input 'n' is a whole number, such as 5, not 'x'"
A_LIST = "a list (`[...]`, or lines that begin with `- `) is needed here"
NO_NAME = "is no name; use letters, digits, - and _, beginning with a letter"
TOO_LONG = "a number has at most 100 digits; put a text in quotes"
NO_VALUE = "this key has no value; write one, or remove the key"


@pytest.mark.parametrize(
    ("added", "column", "message"),
    [
        ("    title: 5", 12, "a text is needed here, not 5"),
        ("    title: yes", 12, "a text is needed here, not true"),
        ("    title: [x]", 12, "a text is needed here, not a list"),
        ("    requirements: {x: {y: z}}", 23, "a text is needed here, not a mapping"),
        ("    requirements: {x: }", 23, NO_VALUE),
        ("    requirements: {my req: x}", 20, f"'my req' {NO_NAME}"),
        (
            "    requirements: [x]", 19,
            "a mapping (lines of `key: value`) is needed here, not a list",
        ),
        ("    checks: c.py", 13, f"{A_LIST}, not 'c.py'"),
        (
            "    refine: 3",
            13,
            "a mapping with the keys turns, samples, on_red, escalate is needed here, not 3",
        ),
        ("    refine: {turns: yes}", 21, "a whole number is needed here, not true"),
        ("    refine: {turns: -1}", 21, "this must be at least 0, not -1"),
        ("    refine: {samples: 101}", 23, "this must be at most 100, not 101"),
        ("    params: {temperature: hot}", 27, "a number is needed here, not 'hot'"),
        ("    params: {temperature: 3}", 27, "this must be at most 2, not 3"),
        ("    params: {top_p: 0}", 21, "this must be more than 0, not 0"),
        ("    params: {seed: 1.5}", 20, "a whole number is needed here, not 1.5"),
        ("    params: {stop: END}", 20, f"{A_LIST}, not 'END'"),
        (
            "    context: everything", 14,
            "'everything' is no context rule; write all, none, last, or a list of "
            "{step: ID, as: reply|files|interface}",
        ),
        ("    context: [a]", 15, "a mapping with the keys step, as is needed here, not 'a'"),
        (
            "    context: [{step: a, as: code}]", 29,
            "this must be 'reply', 'files' or 'interface', not 'code'",
        ),
        ("role: [x]", 7, "the role is the name of a template file, or `{text: ...}` in place"),
        ("role: {text: 5}", 14, "a text is needed here, not 5"),
        ("limits:", 8, NO_VALUE),
        ("limits: {calls: 0}", 17, "this must be at least 1, not 0"),
        ("limits: {calls: yes}", 17, "a whole number is needed here, not true"),
        ("limits: {tokens: 200k}", 18, "a whole number is needed here, not '200k'"),
        ("limits: {calls: 1" + "0" * 100 + "}", 17, TOO_LONG),
        ("    params: {seed: 0x" + "f" * 84 + "}", 20, TOO_LONG),  # 16 ** 84 has 102 digits
        ("limits: {usd: yes}", 15, "a number is needed here, not true"),
        ("limits: {usd: .inf}", 15, "a number is needed here, not inf"),
        (
            "limits: {wall: 90 minutes}", 16,
            "'90 minutes' is not a duration; write 90m, 1h30m or 45s",
        ),
        ("limits: {wall: 1:30}", 16, "'1:30' is not a duration; write 90m, 1h30m or 45s"),
        ("limits: {wall: yes}", 16, "a number is needed here, not true"),
        ("limits: {wall: 0s}", 16, "this must be more than 0, not '0s'"),
        ("endpoint: http://host/v1", 11, f"'http://host/v1' {NO_NAME}"),
        (
            "endpoint: " + "a" * 65, 11,
            f"a name has at most 64 characters; shorten '{'a' * 60}'...",
        ),
        ("inputs: {n: 5}", 13, "a mapping with the keys type, default, choices, min, max, "
         "description is needed here, not 5"),
        ("inputs: {n: {type: string}}", 20,
         "this must be 'str', 'int', 'float' or 'bool', not 'string'"),
        ("inputs: {n: {type: str, default: [1]}}", 34,
         "a value is a text, a number, or one of true and false"),
        ("inputs: {n: {type: int, default: x}}", 34, A_NUMBER),
        ("inputs: {n: {type: int, choices: [1, x]}}", 38, A_NUMBER),
        ("inputs: {n: {type: str, choices: [no]}}", 35, A_TEXT),
        ("inputs: {n: {type: str, choices: [a, no, b], default: b}}", 38, A_TEXT),
        ("inputs: {n: {type: str, choices: [no], default: no}}", 35, A_TEXT),
        ("inputs: {n: {type: str, choices: [a], default: b}}", 48,
         "the input 'n' is one of a, not 'b'"),
        ("inputs: {n: {type: int, max: 2, default: 3}}", 42, "the input 'n' is at most 2, not 3"),
        ("inputs: {n: {type: int, min: 5, max: 2}}", 30, "no number is at least 5 and at most 2"),
        ("inputs: {n: {type: int, min: .nan}}", 30, "a number is needed here, not nan"),
        ("inputs: {n: {type: float, max: .inf}}", 32, "a number is needed here, not inf"),
        ("inputs: {n: {type: str, min: 3}}", 25,
         "only a number has a min, and this input is a str; remove it"),
        ("inputs: {n: {type: bool, max: 3}}", 26,
         "only a number has a max, and this input is a bool; remove it"),
        ("inputs: {n: {type: str, choices: []}}", 34, "the list is empty; name the choices"),
        ("defaults: {context: [{step: a}]}", 21,
         "the default is all, none or last; name single steps at the step that needs them"),
    ],
)  # fmt: skip
def test_wrong_values_are_named_in_words_of_the_file(refuse, added, column, message):
    assert refuse(TWO_STEPS + added + "\n") == (
        f"q.yaml:12:{column}: {message}\n    {added}\n    {' ' * (column - 1)}^\n"
        "1 problem in q.yaml"
    )


@pytest.mark.parametrize(
    ("old", "new", "start"),
    [
        ("promptqueue: 1", "promptqueue: 2", "q.yaml:1:14: this must be 1, not 2"),
        ("name: q", "name: my queue", f"q.yaml:2:7: 'my queue' {NO_NAME}"),
        ("name: q", "name: очередь", f"q.yaml:2:7: 'очередь' {NO_NAME}"),
        ("id: a", "id: 1st", f"q.yaml:4:9: '1st' {NO_NAME}"),
        ("id: a", "id: 1", "q.yaml:4:9: a text is needed here, not 1"),
        ("id: b", "id: a", "q.yaml:8:9: the step id 'a' is taken by step 1; ids are unique"),
        (
            "{path: a.py}", "a.py",
            "q.yaml:7:9: a mapping with the keys path, symbols, parts is needed here, not 'a.py'",
        ),
        ("\n      - {path: a.py}", " a.py", f"q.yaml:6:14: {A_LIST}, not 'a.py'"),
        ("\n      - {path: a.py}", " {path: a.py}", f"q.yaml:6:14: {A_LIST}, not a mapping"),
        ("\n      - {path: a.py}", " []", "q.yaml:6:14: the list is empty; it needs at least one"),
        ("\n      - {path: a.py}", "", f"q.yaml:6:13: {NO_VALUE}"),
        (
            "{path: a.py}", "{path: a.py}\n      - {path: a.py}",
            "q.yaml:8:16: 'a.py' is declared twice in this step",
        ),
        (
            "{path: a.py}", "{path: a.py, parts: true}",
            "q.yaml:7:29: no earlier step writes 'a.py', whose other parts would stay;",
        ),
        (
            "{path: a.py}", "{path: a.md, parts: true}",
            "q.yaml:7:29: 'a.md' is no Python file; only of these parts can be told",
        ),
        (
            "    task: Write a.\n", "",
            "q.yaml:4:5: the step has no prompt; give it `template: FILE` or `task: |`",
        ),
        ("task: Write a.", "template: 5", "q.yaml:5:15: a text is needed here, not 5"),
        ("task: Write a.", "task: ' '", "q.yaml:5:11: the task is empty; say what is to be done"),
        (
            "task: Write a.", "data: x",
            "q.yaml:4:5: the step has no prompt; give it `template: FILE` or `task: |`",
        ),
        (
            "task: Write a.", "task: x\n    template: t.j2",
            "q.yaml:4:5: `template` excludes `data`, `task` and `answer_format`; keep one way",
        ),
    ],
)  # fmt: skip
def test_wrong_steps(refuse, old: str, new: str, start: str):
    message = refuse(replaced(old, new))

    assert message.startswith(start)
    assert message.endswith("\n1 problem in q.yaml")


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd", "../x.py", "a/../b.py", "C:/x.py", "'a\\b.py'", "a//b.py", "./a.py",
        ".git/config", "src/.env", "~/x.py", "''", ".", "a/", '"a\\0b"', '"a\\nb"', '"a\\eb"',
        "a`b.py", "'*.py'", "' a.py'",
    ],
)  # fmt: skip
def test_unsafe_output_paths_are_refused(refuse, path: str):
    message = refuse(replaced("{path: a.py}", f"{{path: {path}}}"))

    assert message.startswith("q.yaml:7:16: ")
    assert "is not a plain relative path; write something like model.py or data/load.py" in message


@pytest.mark.parametrize("path", ["a.py", "src/model.py", "данные.txt", "a b.py", "Makefile"])
def test_plain_output_paths_are_taken(load, path: str):
    assert load(replaced("path: a.py", f"path: {path}")).queue.steps[0].paths() == (path,)


def test_every_problem_is_told_at_once(refuse):
    queue = """\
promptqueue: 2
nmae: q
inputs: {lang: ru}
steps:
  - id: my step
    task: In {{ inputs.lang }}, {{ wrong }}
    outputs: [{path: /a.py}, b.py]
    context: [{as: code}]
  - id: b
    template: gone.j2
    data: x
    outputs: []
    checks: [gone.py]
  - plain
"""
    # by hand: line, column, first words; the use of `lang` is no problem, its declaration is
    expected = [
        "1:1: the key 'name' is missing here",
        "1:14: this must be 1, not 2",
        "2:1: unknown key 'nmae'; did you mean 'name'?",
        "3:16: a mapping with the keys type,",
        "5:9: 'my step' is no name;",
        "6:36: the variable 'wrong' is undefined;",
        "7:22: '/a.py' is not a plain relative path;",
        "7:30: a mapping with the keys path, symbols, parts is needed here, not 'b.py'",
        "8:15: the key 'step' is missing here",
        "8:20: this must be 'reply', 'files' or 'interface', not 'code'",
        "9:5: `template` excludes `data`, `task` and `answer_format`; keep one way",
        "12:14: the list is empty; it needs at least one entry",
        "13:14: the check 'gone.py' is no readable file;",
        "14:5: a mapping with the keys id,",
    ]

    message = refuse(queue)

    found = [line for line in message.split("\n") if line.startswith("q.yaml:")]
    assert len(found) == len(expected), message
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(f"q.yaml:{start}")
    assert message.endswith("\n14 problems in q.yaml")


@pytest.mark.parametrize("key", ["task", "template"])
@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("name: q", "name: q\n{}: x", "3:1"),
        ("{path: b.py}", "{{path: b.py, {}: x}}", "11:22"),
    ],
    ids=["of the queue", "of an output"],
)
def test_a_prompt_in_the_wrong_place_hides_nothing_else(refuse, key, old, new, place):
    message = refuse(replaced(old, new.format(key)).replace("Write a.", "'{{ nme }}'"))

    assert f"q.yaml:{place}: unknown key {key!r}; " in message
    assert "the variable 'nme' is undefined" in message
    assert message.endswith("\n2 problems in q.yaml")


def test_a_whole_message(refuse):
    queue = replaced("id: b", "id: b\n    taks: x").replace("{path: a.py}", "{pth: a.py}")

    assert (
        refuse(queue)
        == """\
q.yaml:7:9: the key 'path' is missing here
          - {pth: a.py}
            ^
q.yaml:7:10: unknown key 'pth'; did you mean 'path'?
          - {pth: a.py}
             ^
q.yaml:9:5: unknown key 'taks'; did you mean 'task'?
        taks: x
        ^
3 problems in q.yaml"""
    )


def test_files_are_found_from_the_folder_of_the_queue_file(write):
    files = {"q.yaml": COMPLETE, **COMPLETE_FILES}
    write("x", {f"prompts/{name}": text for name, text in files.items()})

    assert load_queue("prompts/q.yaml").folder == Path("prompts")


@pytest.mark.parametrize("symbol", ["f(x", "b)", "f x", "2f", "f(x,,)", "", "f(1)"])
def test_a_symbol_is_a_name_or_a_call(refuse, symbol: str):
    text = refuse(replaced("- {path: a.py}", f"- {{path: a.py, symbols: ['{symbol}']}}"))

    assert f"{symbol!r} is neither a name nor name(arguments); write something like" in text


@pytest.mark.parametrize("signs", [3_000, 100_000])
def test_a_symbol_that_python_cannot_parse_is_shortened(refuse, signs: int):
    text = refuse(replaced("path: a.py", f"path: a.py, symbols: ['f(x={'-' * signs}1)']"))

    assert f"'f(x={'-' * 56}'... is neither a name nor name(arguments);" in text


@pytest.mark.parametrize("number", ["0x" + "f" * 5000, "-0" + "7" * 6000])
def test_a_number_that_python_cannot_write_is_a_problem(refuse, number: str):
    assert TOO_LONG in refuse(TWO_STEPS + f"    params: {{temperature: {number}}}\n")


@pytest.mark.parametrize("symbol", ["f", "F", "größe", "f()", "f(x: int, *, y=(1, 2)) -> str"])
def test_a_symbol_may_tell_its_arguments(load, symbol: str):
    queue = load(replaced("- {path: a.py}", f"- {{path: a.py, symbols: ['{symbol}']}}")).queue

    assert queue.steps[0].outputs[0].symbols == (symbol,)
