"""What a template needs is known before any call, and what it must not do it cannot do."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptqueue.errors import QueueFileError
from promptqueue.queue.inputs import resolve_inputs
from promptqueue.queue.render import render_queue
from promptqueue.queue.templates import fenced

from .conftest import TWO_STEPS, replaced

INPUTS = "inputs:\n  lang: {type: str, default: ru}\n"
TEMPLATE = replaced("task: Write b.", "template: t.j2")
SEES = "a template sees inputs, step and steps"
AT_THE_FOLDER = "names start at the folder of the queue file, and never lead out of it"


@pytest.mark.parametrize(
    ("template", "message", "column"),
    [
        ("x\nhello {{ nme }}\n", f"2:10: the variable 'nme' is undefined; {SEES}", 10),
        ("nme {{ 1 }} nme {{ nme }}", f"1:20: the variable 'nme' is undefined; {SEES}", 20),
        ("nme {{ a }}", "1:8: the variable 'a' is undefined; write steps.a", 8),
        (
            "{% set q = 1 %}nme {{ q }} nme {{ nme }}",
            f"1:35: the variable 'nme' is undefined; {SEES}",
            35,
        ),
        ("{{ input.lang }}", "1:4: the variable 'input' is undefined; did you mean 'inputs'?", 4),
        ("{{ lang }}", "1:4: the variable 'lang' is undefined; write inputs.lang", 4),
        ("{{ lipsum() }}", f"1:4: the variable 'lipsum' is undefined; {SEES}", 4),
        ("{{ [1, 2] | random }}", "1:1: template: no filter 'random'", 1),
        ("{{ foo() }}", f"1:4: the variable 'foo' is undefined; {SEES}", 4),
        ("x\n\n  {{ inputs.lng }}", "3:13: no input 'lng' is declared; did you mean 'lang'?", 13),
        ("{{ inputs['lng'] }}", "1:12: no input 'lng' is declared; did you mean 'lang'?", 12),
        (
            "{% set x = {'lng': 1} %}{{ x.lng }} {{ inputs.lng }}",
            "1:47: no input 'lng' is declared; did you mean 'lang'?",
            47,
        ),
        ("{% if 0 %}{{ inputs.lng }}{% endif %}", "1:21: no input 'lng' is declared; did you", 21),
        ("x {{ steps.zz.reply }}", "1:12: no step 'zz'; there is 'a'", 12),
        (
            "x {{ steps.b.reply }}",
            "1:12: the step 'b' has no result yet when this prompt is written; move it up",
            12,
        ),
        (
            "{{ steps.a.intrface('a.py') }}",
            "1:12: the result of a step has no 'intrface'; did you mean 'interface'?",
            12,
        ),
        (
            "{{ steps.a.files['b.py'] }}",
            "1:19: the step 'a' has no file 'b.py'; did you mean 'a.py'?",
            19,
        ),
        (
            "a.py {{ steps['a'].interface('aa.py') }}",
            "1:31: the step 'a' has no file 'aa.py'; did you mean 'a.py'?",
            31,
        ),
        (
            "{% extends 'promptqueue/layout.md.j2' %}\n{% block tsk %}x{% endblock %}",
            "2:1: template: promptqueue/layout.md.j2 has no block 'tsk'; did you mean 'task'?",
            1,
        ),
        (
            "{% extends 'promptqueue/layout.md.j2' %}\n\n  Do.\n{% block data %}{% endblock %}",
            "3:3: template: this stands in no block, and of a template that extends another only "
            "blocks are shown; put it into one, as {% block task %}",
            3,
        ),
        (
            "{% extends 'promptqueue/layout.md.j2' %}\n{{ step.title }} a",
            "2:1: template: this stands in no block,",
            1,
        ),
        ("{{ step.titel }}", "1:9: a step has no 'titel'; did you mean 'title'?", 9),
        ("x\n  {{ 1 | fence }}", "2:3: template: no filter 'fence'; did you mean 'fenced'?", 3),
        ("{% if 0 %}\n{{ 1 | fence }}{% endif %}", "2:1: template: no filter 'fence'; did you", 1),
        ("{% if 1 is foo %}{% endif %}", "1:1: template: no test 'foo'", 1),
        ("x\n{{ }}", "2:1: template: Expected an expression, got 'end of print statement'", 1),
        ("x\n{% endif %}", "2:1: template: Encountered unknown tag 'endif'.", 1),
        ("{% if 1 %}\na", "2:1: template: Unexpected end of template.", 1),
        ("x\n{# abc", "2:1: template: Missing end of comment tag", 1),
        (
            "x\n{% include 'no.j2' %}",
            f"2:1: the template 'no.j2' does not exist; {AT_THE_FOLDER}",
            1,
        ),
        (
            "{% include ['no.j2', 'nor.j2'] %}",
            "1:1: the template 'no.j2' or 'nor.j2' does not exist;",
            1,
        ),
        ("{% import 'no.j2' as n %}", "1:1: the template 'no.j2' does not exist;", 1),
        ("{% from 'no.j2' import n %}", "1:1: the template 'no.j2' does not exist;", 1),
        ("{% include '../q.yaml' %}", "1:1: the template '../q.yaml' does not exist;", 1),
        (
            "{% extends 'promptqueue/layot.md.j2' %}",
            "1:1: the template 'promptqueue/layot.md.j2' does not exist; built in are "
            "promptqueue/layout.md.j2 and promptqueue/context.md.j2",
            1,
        ),
        ("{% include 'latin.j2' %}", "1:1: the template 'latin.j2' is not UTF-8 text", 1),
        ("{{ " + "(" * 5000 + ")" * 5000 + " }}", "1:1: template: nested too deeply", 1),
        ("{{ " + "1" * 5000 + " }}", "1:1: template: a number in it has too many digits", 1),
        ("{{ 0x" + "f" * 5000 + " }}", "1:1: template: a number in it has too many digits", 1),
        ("{% if 1 %}" * 3000 + "{% endif %}" * 3000, "1:1: template: nested too deeply", 1),
        ("a\x0cb\n\u2028\n{{ nme }}\n", "3:4: the variable 'nme' is undefined;", 4),
        ("a\r\nb\r\n{{ nme }}\r\n", "3:4: the variable 'nme' is undefined;", 4),
        (
            "{% extends 'promptqueue/layout.md.j2' %}\n{% block task %}\n{{ nme }}\n{% endblock %}",
            "3:4: the variable 'nme' is undefined;",
            4,
        ),
    ],
    ids=lambda value: re.sub(r"\W+", " ", value)[:30].strip() if isinstance(value, str) else "",
)
def test_faults_are_found_unrendered(refuse, template: str, message: str, column: int):
    text = refuse(TEMPLATE + INPUTS, {"t.j2": template, "latin.j2": b"\xe9"})

    assert text.startswith(f"t.j2:{message}")
    assert text.endswith("\n1 problem in q.yaml")
    assert text.split("\n")[2] == " " * (4 + column - 1) + "^"


def test_a_fault_in_a_partial_is_named_there_and_once(refuse):
    queue = replaced("task: Write a.", "template: t.j2", TEMPLATE)
    files = {"t.j2": "{% include 'parts/p.j2' %}\n", "parts/p.j2": "a\n\n  {{ nme }}\n"}

    assert refuse(queue, files) == (
        f"parts/p.j2:3:6: the variable 'nme' is undefined; {SEES}\n"
        "      {{ nme }}\n"
        "         ^\n"
        "1 problem in q.yaml"
    )


@pytest.mark.parametrize(
    ("written", "line", "column"),
    [
        ("task: |\n      one\n      two {{ nme }}", 7, 14),
        ("task: |-\n      one\n\n      {{ nme }}", 8, 10),
        ("task: |\n\n\n      one {{ nme }}", 8, 14),
        ("task: | # why\n      {{ nme }}", 6, 10),
        ("task: &t |\n      {{ nme }}", 6, 10),
        ("task: >\n      one\n      two {{ nme }}", 7, 14),
        ("task: >\n      one\n\n\n      two {{ nme }}", 9, 14),
        ("task: '{{ nme }}'", 5, 15),
        ('task: "a\\n\\nb {{ nme }}"', 5, 22),
        ("task: one\n      two\n      {{ nme }}", 7, 10),
        ("task: x\n    data: 'a {{ nme }}'", 6, 17),
        ("task: x\n    answer_format: |\n      {{ nme }}", 7, 10),
        ("task: |\n      {% if x %}\n      {% endfor %}", 7, 7),
        ("task: >\n      one\n\n      {% if x %}\n      {% endfor %}", 5, 5),
    ],
    ids=[
        "block", "strip", "blank lines first", "comment", "anchor", "folded",
        "folded with blank lines", "one line", "escapes", "plain over lines", "data",
        "answer format", "syntax", "syntax in a folded text",
    ],
)  # fmt: skip
def test_the_place_of_a_text_in_the_queue_file(refuse, written: str, line: int, column: int):
    text = refuse(replaced("task: Write a.", written))

    assert text.startswith(f"q.yaml:{line}:{column}: ")
    shown, caret = text.split("\n")[1:3]
    assert shown == "    " + replaced("task: Write a.", written).split("\n")[line - 1]
    assert caret == " " * (4 + column - 1) + "^"


@pytest.mark.parametrize("name", ["steps.a.reply", "step.id"])
def test_the_role_sees_only_inputs(refuse, name: str):
    message = refuse(TWO_STEPS + f"role: {{text: '{{{{ {name} }}}}'}}\n")

    assert "the role is sent before any step; it sees only inputs" in message


@pytest.mark.parametrize(
    "template",
    [
        "{% set a = 1 %}{{ a }}{% set b %}x{% endset %}{{ b }}",
        "{% for i in [1] %}{{ i }}{{ loop.index }}{% endfor %}",
        "{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %}",
        "{% for step in [{'other': 1}] %}{{ step.other }}{% endfor %}",
        "{% macro m(x, y=2) %}{{ x }}{{ y }}{{ varargs }}{% endmacro %}{{ m(1) }}",
        "{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}x{% endcall %}",
        "{% with z = 1 %}{{ z }}{% endwith %}",
        "{% set ns = namespace(n=1) %}{% set ns.n = 2 %}{{ ns.n }}",
        "{{ range(3) | list }}{{ dict(a=1).a }}",
        "{% import 'm.j2' as m %}{{ m.f() }}{% from 'm.j2' import f as g, h %}{{ g() }}{{ h() }}",
        "{% set mine = 1 %}{% include 'uses_mine.j2' %}",
        "{% include 'no.j2' ignore missing %}",
        "{% include ['no.j2', 'm.j2'] %}",
        "{% extends 'promptqueue/layout.md.j2' %}{% block task %}{{ super() }}{% endblock %}",
        "{% extends 'p.j2' %}{% block task %}{% block own %}x{% endblock %}{% endblock %}",
        "{% extends 'p.j2' %}{% block more %}x{% endblock %}",
        "above\n{% extends 'p.j2' %}\n{# why #}\n{% set x = 1 %}\n\n{% block more %}{% endblock %}",
        "{{ steps.a.interface('a.py') }}{{ steps.a.files['a.py'].upper() }}",
        "{{ step.title }}{{ step.outputs[0].path }}{{ step.requirements.items() | list }}",
        "{{ steps.a.reply }}{{ steps['a'].files['a.py'] }}{{ steps.a.turns[0].prompt }}",
        "{% for path, text in steps.a.files.items() %}{{ path }}{{ text }}{% endfor %}",
        "{{ steps.a.files.get('b.py', 'none') }}",
        "{% set name = 'a' %}{{ steps[name].reply }}",
        "{# {{ nme }} #}{% raw %}{{ nme }}{% endraw %}",
    ],
)
def test_sound_templates_are_not_flagged(load, template: str):
    files = {
        "t.j2": template,
        "m.j2": "{% macro f() %}f{% endmacro %}{% macro h() %}h{% endmacro %}",
        "uses_mine.j2": "{{ mine }}",
        "p.j2": "{% extends 'promptqueue/layout.md.j2' %}"
        "{% block data %}{% block more %}{% endblock %}{% endblock %}",
    }

    loaded = load(TEMPLATE, files)

    assert loaded.warnings == ()
    render_queue(loaded, {})


def test_an_unused_input_is_a_warning(load):
    (warning,) = load(TWO_STEPS + INPUTS).warnings

    assert str(warning) == (
        "q.yaml:13:3: warning: no template uses the input 'lang'; remove it, or write "
        "{{ inputs.lang }}\n"
        "      lang: {type: str, default: ru}\n"
        "      ^"
    )


def test_the_way_out_for_an_unused_input_is_one(load):
    inputs = INPUTS.replace("lang", "my-lang")
    (warning,) = load(TWO_STEPS + inputs).warnings
    advised = warning.message.partition("or write ")[2]

    assert advised == '{{ inputs["my-lang"] }}'
    loaded = load(TEMPLATE + inputs, {"t.j2": advised})
    assert loaded.warnings == ()
    assert render_queue(loaded, {"my-lang": "ru"})["b"][-1].content == "ru\n"


@pytest.mark.parametrize(
    "files",
    [
        {"t.j2": "{{ inputs.lang }}"},
        {"t.j2": "{{ inputs['lang'] }}"},
        {"t.j2": "{% include 'p.j2' %}", "p.j2": "{{ inputs.lang }}"},
        {"t.j2": "{% if inputs.lang == 'ru' %}x{% endif %}"},
    ],
    ids=["name", "item", "partial", "condition"],
)
def test_a_used_input_is_no_warning(load, files: dict[str, str]):
    assert load(TEMPLATE + INPUTS, files).warnings == ()


PICKLE = "{% set b = 'cos\\nsystem\\n(S\"touch owned\"\\ntR.'.encode() %}"
ARGUMENTS = "(b, content_type='pickle', allow_pickle=True)"


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ '' | attr('__class__') }}",
        "{{ ''['__cla' ~ 'ss__'] }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{% set s = step %}{{ s.__init__.__globals__ }}",
        "{% set i = inputs %}{{ i._values }}",
        "{{ (inputs | attr('_values')) }}",
        "{{ steps.a.interface.__globals__ }}",
        "{{ steps.a.interface.__func__ }}",
        "{{ steps.a.files.update({'a.py': 'x'}) }}",
        "{{ step.requirements.clear() }}",
        "{{ self.__init__ }}",
        "{{ range(10**9) | list }}",
        PICKLE + "{% set s = step %}{{ s.parse_raw" + ARGUMENTS + " }}",
        PICKLE + "{{ (step | attr('parse_raw'))" + ARGUMENTS + " }}",
        PICKLE + "{% set n = 'parse_raw' %}{{ step[n]" + ARGUMENTS + " }}",
        PICKLE + "{{ step.outputs[0].parse_raw" + ARGUMENTS + " }}",
        PICKLE + "{{ step.params.parse_raw" + ARGUMENTS + " }}",
        "{% set s = step %}{{ s.parse_file('q.yaml') }}",
        "{% set s = step %}{{ s.model_copy() }}",
        "{{ '{0.parse_raw}'.format(step) }}",
        "{{ [step] | map(attribute='parse_raw') | first }}",
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # parse_raw must not end in one
def test_the_sandbox_ends_escapes_in_an_error(load, tmp_path, template: str):
    with pytest.raises(QueueFileError, match=r"is unsafe\.|The sandbox blocks"):
        render_queue(load(TEMPLATE + INPUTS, {"t.j2": template}), {"lang": "ru"})

    assert not (tmp_path / "owned").exists()


def test_prompts_never_show_addresses(load):
    loaded = load(
        TEMPLATE + INPUTS, {"t.j2": "{{ inputs }} {% for s in steps %}{{ s }}{% endfor %}"}
    )

    assert render_queue(loaded, {"lang": "ru"})["b"][-1].content == "lang a\n"


@pytest.mark.parametrize("name", ["items", "keys", "values", "get", "pop", "copy"])
def test_names_of_methods_are_good_names(load, name: str):
    queue = TWO_STEPS.replace("id: a", f"id: {name}").replace(
        "Write b.", f"'{{{{ steps.{name}.reply }}}} {{{{ inputs.{name} }}}}'"
    )
    loaded = load(queue + f"inputs: {{{name}: {{type: str, default: V}}}}\n")

    prompt = render_queue(loaded, resolve_inputs(loaded.queue))["b"][-1].content

    assert f"‹the reply of step {name}, known when it has run› V\n" in prompt


def test_a_folder_named_as_the_package_is_the_users(load, refuse):
    files = {"t.j2": "{% include 'promptqueue/mine.j2' %}", "promptqueue/mine.j2": "mine"}

    assert load(TEMPLATE, files).sources["promptqueue/mine.j2"] == "mine"
    assert refuse(TEMPLATE, files | {"promptqueue/mine.j2": "{{ nme }}"}).startswith(
        "promptqueue/mine.j2:1:4: the variable 'nme' is undefined"
    )


@pytest.fixture
def digest(load):
    files = {"t.j2": "{% include 'p.j2' %}{{ steps.a.reply }}", "p.j2": "part", "other.j2": "x"}

    def digest_with(queue: str = TEMPLATE, **changed: str) -> str:
        return load(queue, files | {f"{name}.j2": text for name, text in changed.items()}).digest

    return digest_with


@pytest.mark.parametrize(
    "change",
    [
        {"queue": TEMPLATE + "# a comment\n"},
        {"t": "{% include 'p.j2' %}{{ steps.a.reply }}!"},
        {"p": "Part"},
        {"p": "part\n"},
    ],
    ids=["queue file", "template", "partial", "line end"],
)
def test_the_digest_changes_with_the_text(digest, change: dict[str, str]):
    assert digest(**change) != digest()


def test_the_digest_depends_on_nothing_else(digest, load, monkeypatch, tmp_path):
    before = digest()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    assert digest(other="y") == before
    monkeypatch.chdir(elsewhere)
    assert len(before) == 64
    assert digest() == before


def test_text_cannot_move_between_files_unnoticed(load):
    queue = replaced("task: Write b.", "template: a.j2")

    def digest(**texts: str) -> str:
        files = {f"{name}.j2": text for name, text in texts.items()}
        return load(queue, {**files, "a.j2": "{% include 'c.j2' %}{% include 'd.j2' %}"}).digest

    assert digest(c="xy", d="z") != digest(c="x", d="yz")


@pytest.mark.parametrize(
    ("text", "info", "expected"),
    [
        ("x = 1\n", "python", "```python\nx = 1\n```"),
        ("", "", "```\n\n```"),
        ("```\nx\n```", "", "````\n```\nx\n```\n````"),
        ("  `````", "md", "``````md\n  `````\n``````"),
        ("a ```` b", "", "```\na ```` b\n```"),
        ("> ```", "", "````\n> ```\n````"),
        ("a\r```", "", "````\na\r```\n````"),
    ],
)
def test_fences(text: str, info: str, expected: str):
    assert fenced(text, info) == expected


LINE_END = re.compile(r"\r\n|\r|\n")


def content_of_fence(markdown: str) -> list[str]:
    """Read a fence as CommonMark 0.31 does (4.5): the lines until one closes it, or all."""
    opening, *lines = LINE_END.split(markdown)
    ticks = len(opening) - len(opening.lstrip("`"))
    for number, line in enumerate(lines):
        if re.fullmatch(rf" {{0,3}}`{{{ticks},}}[ \t]*", line):
            return lines[:number] if number == len(lines) - 1 else ["closed early"]
    return ["never closed"]


PIECES = [
    "```",
    "`",
    "````",
    " ",
    "   ",
    "\t",
    "> ",
    "~~~",
    "a",
    "\n",
    "\r",
    "\x0b",
    "\x85",
    "\u2028",
]


@given(st.lists(st.sampled_from(PIECES)).map("".join) | st.text())
def test_a_fence_never_closes_early(text: str):
    assert content_of_fence(fenced(text)) == LINE_END.split(text.rstrip("\n") + "\n")[:-1]
