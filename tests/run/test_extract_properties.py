"""What holds for every reply, whatever a model writes."""

from __future__ import annotations

import re

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptqueue.queue.model import Output
from promptqueue.run.extract import IssueKind, extract_modules
from promptqueue.verify.lint import is_python_module, missing_symbols, parse_problem
from promptqueue.verify.placeholders import placeholders

DECLARED = ("model.py", "utils.py", "data/load.py", "notes.txt", "conf.toml", "README.md")
FINISH = st.sampled_from(["stop", "stop", "length", "degenerate"])
OUTPUTS = st.lists(
    st.builds(
        Output,
        path=st.sampled_from(DECLARED),
        symbols=st.sampled_from([(), ("Net",), ("f(x)", "g")]),
        parts=st.booleans(),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda output: output.path,
)
FRAGMENTS = [
    *("```", "````", "~~~", "`", "```python", "```python path=model.py", "~~~python utils.py"),
    *("```json", "```text", "```path=../x.py", "```python:/etc/model.py", "```py title='model.py'"),
    *("    ```", "> ```python", "> ", "- ```python path=model.py", "  ", "\t", "1. ", ">"),
    *("**model.py**", "# file: model.py", "# utils.py", "File: data/load.py", "Here is model.py:"),
    *("import os", "def f(x):", "    return x", "class Net:", "    pass", "x = (", '"""', "'''"),
    *("# ... rest of the code", "...", "Some words.", "Слова о файле.", "{", "}", "a = 1", "\\"),
    *("<think>", "</think>", "<thinking>", "\ufeff", "\0", "\x0c", "\u2028", "\ud800", "", "", ""),
]
FENCY = st.lists(st.sampled_from(FRAGMENTS), max_size=40).flatmap(
    lambda parts: st.sampled_from(["\n", "\r\n", "\r", ""]).map(lambda end: end.join(parts))
)
OPENERS = st.sampled_from(
    [
        *("```python path={0}\n", "```python path={0}\n", "```{0}\n", "# file: {0}\n"),
        *("**{0}**\n```python\n", "Here is {0}:\n```\n", "```python\n# {0}\n", "```\n", ""),
    ]
)
BODIES = st.sampled_from(
    [
        *("class Net:\n    pass\n", "def f(x):\n    return x\n\n\ng = f\n", "x = 1\n"),
        *("def f(x):\n    return 1\n", "# ... rest of the code\n", "x = (\n", "\n"),
    ]
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, list[Output]]:
    """Draw what is declared and a reply: of any text, of pieces of replies, or with its files."""
    outputs = draw(OUTPUTS)
    opened = st.builds(str.format, OPENERS, st.sampled_from([each.path for each in outputs]))
    body = st.lists(BODIES, min_size=1, max_size=3, unique=True).map("".join)
    block = st.tuples(opened, body, st.sampled_from(["```\n", "```\n", ""])).map("".join)
    blocks = st.lists(block | FENCY, min_size=1, max_size=4).map("".join)
    closed = st.lists(block, min_size=1, max_size=3).map("\n".join)
    return draw(st.one_of(closed, blocks, FENCY, st.text(max_size=200))), outputs


BEFORE = st.sampled_from(["x\n" * 30, "class Net:\n    pass\n\n\ndef f(x):\n    return x\n"])


@settings(max_examples=400)
@given(cases(), FINISH, BEFORE, st.booleans())
def test_no_reply_raises_or_brings_a_foreign_path(case, finish, before, parts):
    reply, outputs = case
    declared = {output.path for output in outputs}

    found = extract_modules(
        reply,
        outputs,
        finish_reason=finish,
        previous=dict.fromkeys(declared, before),
        parts=parts,
    )

    assert found.modules.keys() <= declared
    lost = {issue.path for issue in found.issues if issue.kind is IssueKind.MISSING}
    assert lost == declared - found.modules.keys()
    assert all(issue.path in declared for issue in found.issues if issue.fatal)
    assert all("\n" not in issue.message for issue in found.issues)
    for path, module in found.modules.items():
        assert module.path == path
        assert module.text.strip()
        assert module.text.endswith("\n")
        assert "\r" not in module.text


@settings(max_examples=200)
@given(cases(), FINISH)
def test_a_usable_file_is_what_it_is_declared_to_be(case, finish):
    reply, outputs = case
    found = extract_modules(reply, outputs, finish_reason=finish)

    spoilt = {issue.path for issue in found.issues if issue.fatal}
    for output in outputs:
        if output.path not in spoilt:
            text = found.modules[output.path].text
            assert parse_problem(output.path, text) is None
            assert not output.path.endswith(".py") or not missing_symbols(text, output.symbols)


LINES = st.sampled_from(
    [
        *("import os", "x = 1", "y = 'Привет'  ", "def f(x):\n    return x", "", "", "\t"),
        *('"""\n```python path=model.py\nf()\n```\n"""', "s = '''\n~~~\n````\n'''", "t = '`~`'"),
        *("# file: utils.py", "# model.py", "class Net:\n    '''Doc.\n\n    ```\n    '''\n"),
        *("def broken(:", "z = (", "'''", "> quoted", "- listed", "1. numbered", "<think>"),
    ]
)
TEXTS = st.lists(LINES, min_size=1, max_size=12).map("\n".join).filter(str.strip)
FREE_TEXTS = (
    st.text(
        st.characters(blacklist_characters="\r\ufeff", blacklist_categories=("Cs",)), min_size=1
    )
    .filter(str.strip)
    .map(lambda text: text + "\n" * (not text.endswith("\n")))
)
PATHS = st.sampled_from(DECLARED)
FILES = st.dictionaries(PATHS, TEXTS | FREE_TEXTS, min_size=1, max_size=4).map(
    lambda files: {path: text.rstrip("\n") + "\n" for path, text in files.items()}
)


def fence_over(text: str, mark: str) -> str:
    """Return a fence longer than any run of fence marks in the text."""
    runs = re.findall(r"`+|~+", text)
    return mark * max(3, 1 + max(map(len, runs), default=0))


def well_formed(files: dict[str, str], mark: str, between: str) -> str:
    blocks = []
    for path, text in files.items():
        fence = fence_over(text, mark)
        blocks.append(f"{fence}python path={path}\n{text}{fence}\n")
    return between + between.join(blocks) + between


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(FILES, st.sampled_from("`~"), st.sampled_from(["", "\n", "Some words.\n\n", "Слова:\n"]))
def test_a_well_formed_reply_round_trips(files, mark, between):
    outputs = [Output(path=path) for path in files]

    found = extract_modules(well_formed(files, mark, between), outputs)

    assert {path: module.text for path, module in found.modules.items()} == files
    assert all(module.found_by == "info" for module in found.modules.values())


@settings(max_examples=200)
@given(FILES, st.sampled_from("`~"), st.sampled_from(["  ", "    ", "\t"]))
def test_a_well_formed_reply_round_trips_out_of_a_list(files, mark, indent):
    # The first line of a file stands at the margin; that is how its indentation is told apart.
    files = {path: "#\n" + text for path, text in files.items()}
    reply = "".join(f"{indent}{line}\n" for line in well_formed(files, mark, "").split("\n")[:-1])

    found = extract_modules(f"- item\n\n{reply}", [Output(path=path) for path in files])

    assert {path: module.text for path, module in found.modules.items()} == files


@settings(max_examples=200)
@given(st.one_of(st.text(max_size=100), FENCY), st.sampled_from(["py", "json", "toml", "yaml"]))
def test_reading_a_file_never_raises(text, suffix):
    problem = parse_problem(f"a.{suffix}", text)

    assert problem is None or (problem and "\n" not in problem)
    assert all(text.split("\n")[item.line - 1] for item in placeholders(text))
    assert missing_symbols(text, ["no such name"]) == ("no such name",)
    assert is_python_module(text) in (True, False)
