"""What reading alone finds; the expected answers were written by hand."""

from __future__ import annotations

import pytest

from promptqueue.verify.lint import (
    is_python_module,
    missing_symbols,
    parse_problem,
    top_level_definitions,
)
from promptqueue.verify.placeholders import Placeholder, placeholders


@pytest.mark.parametrize(
    ("path", "text", "problem"),
    [
        pytest.param("a.py", "x = 1\n", None, id="python"),
        pytest.param("a.py", "", None, id="empty python"),
        pytest.param("a.py", "\ufeffx = 1\n", None, id="byte order mark"),
        pytest.param("a.py", "\ufeff\ufeffx = 1\n", "line 1: ", id="two byte order marks"),
        pytest.param(
            "a.py", "x = 1\ny = 'z\n", "line 2: unterminated string literal", id="line of the error"
        ),
        pytest.param(
            "a.py",
            '\n"""a\nb\n',
            "line 2: unterminated triple-quoted string literal",
            id="no place in brackets",
        ),
        pytest.param("a.pyi", "def f(:\n", "line 1: invalid syntax", id="stub"),
        pytest.param("a.PY", "1 1\n", "line 1: invalid syntax", id="suffix in capitals"),
        pytest.param("a.py", "x = 1\n\ny\0 = 2\n", "line 3: null byte", id="null byte"),
        pytest.param("a.py", r"x = '\d'", None, id="odd escape warns nobody"),
        pytest.param("a.py", "x = 1 is 1\n", None, id="odd comparison warns nobody"),
        pytest.param(
            "a.py", "-" * 100_000 + "1", "nested too deeply to be parsed", id="recursion in python"
        ),
        pytest.param("a.py", "x = '\ud800'", "utf-8", id="lone surrogate"),
        pytest.param("a.json", '{"a": [1]}', None, id="json"),
        pytest.param("a.json", '{\n"a" 1}', "line 2: Expecting ':' delimiter", id="bad json"),
        pytest.param(
            "a.json", "[" * 100_000, "nested too deeply to be parsed", id="recursion in json"
        ),
        pytest.param("a.json", "9" * 5000, "limit", id="huge number"),
        pytest.param("a.toml", "a = 1\n", None, id="toml"),
        pytest.param("a.toml", "a = 1\nb c\n", "line 2: Expected '='", id="bad toml"),
        pytest.param("a.toml", "a = 1\nb", "Expected '=' after a key", id="toml without a place"),
        pytest.param("a.yaml", "a: [1, 2]\n", None, id="yaml"),
        pytest.param("a.yml", "a: !tag 1\n---\nb: 2\n", None, id="yaml with tags and documents"),
        pytest.param("a.yml", "a: [\nb\n", "line 3: expected ',' or ']'", id="bad yaml"),
        pytest.param("a.yaml", '"\\UFFFFFFFF"', "too large", id="yaml that raises something odd"),
        pytest.param("a.txt", "def f(:", None, id="text always parses"),
        pytest.param("Makefile", "\0", None, id="no suffix"),
    ],
)
def test_says_what_does_not_parse(path: str, text: str, problem: str | None):
    found = parse_problem(path, text)

    if problem is None:
        assert found is None
    else:
        assert found is not None
        assert problem in found
        assert "\n" not in found


def test_a_problem_is_one_line_with_its_number_first():
    assert parse_problem("a.py", "y = 1\nx = (\n") == "line 2: '(' was never closed, in `x = (`"


def test_a_long_line_is_quoted_by_its_beginning():
    found = parse_problem("a.py", f"    def f({'a' * 500})\n        return 1\n") or ""
    assert "in `def f(aaa" in found
    assert found.endswith("a`")
    assert len(found) <= 200


def test_an_alias_bomb_is_only_composed():
    levels = ["a0: &a0 [x]"] + [
        f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 30)
    ]
    assert parse_problem("bomb.yaml", "\n".join(levels)) is None


LAZY = [
    "# ... rest of the code",
    "# rest of the code",
    "# The rest of the code remains the same",
    "# rest of the class unchanged",
    "# rest of the training script here",
    "# existing code here",
    "# existing code",
    "# existing functions",
    "# existing class remains unchanged",
    "# rest of the file",
    "# ... existing code ...",
    "# previous methods unchanged",
    "# other methods remain unchanged",
    "# everything else stays the same",
    "# your code here",
    "# add your code here",
    "# implementation goes here",
    "# ... other methods",
    "# ...",
    "# …",
    "# forward() unchanged",
    "# (omitted for brevity)",
    "# code omitted",
    "# TODO: implement",
    "# TODO: implement this function",
    "# остальной код без изменений",
    "# ... (остальное как раньше)",
    "# остальная часть класса остаётся без изменений",
    "# остальные методы остаются без изменений",
    "# Остальной код модуля",
    "# прежний код",
    "# здесь ваш код",
    "# ... существующий код ...",
    "# опущено для краткости",
]


@pytest.mark.parametrize("comment", LAZY)
def test_finds_a_lazy_comment(comment: str):
    text = f"import torch\n\n\ndef f():\n    {comment}\n    return 1\n"

    assert placeholders(text) == (Placeholder(5, comment),)


OFTEN_HONEST = [
    "# Existing checkpoint file",
    "# existing files",
    "# Previous best model file",
    "# the file is unchanged",
    "# Old file stays",
    "# same logic as above",
    "# your class",
    "# No change",
    "# unchanged",
    "# (same as before)",
    "# same as above",
    "# same as the first layer",
    "# Без изменений",
    "# то же самое",
    "# так же, как раньше",
]
"""Words that stand for code where none follows, and otherwise say something of it."""


@pytest.mark.parametrize("comment", OFTEN_HONEST)
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("def f():\n    {}\n    return 1\n", id="above a statement"),
        pytest.param("def f():\n    {}\n    # more of it\n\n    return 1\n", id="further above"),
        pytest.param("{}\nx = 1\n", id="of a module"),
        pytest.param("if a:\n    x = 1\n{}\nelse:\n    x = 2\n", id="above a branch"),
        pytest.param("if a:\n    {}\n    pass\nx = 1\n", id="above an empty branch"),
        pytest.param(
            "try:\n    f()\nexcept E:\n    pass  {}\nx = 1\n", id="behind an empty branch"
        ),
        pytest.param("x = [\n    {}\n    y,\n]\n", id="in a list"),
    ],
)
def test_leaves_a_comment_on_real_code_alone(comment: str, text: str):
    assert placeholders(text.format(comment)) == ()


@pytest.mark.parametrize("comment", OFTEN_HONEST)
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            "def f():\n    x = 1\n    {}\n\n\ndef g():\n    return 1\n", id="last of a body"
        ),
        pytest.param("x = 1\n\n{}\n", id="last of a module"),
        pytest.param("def f():\n    {}\n    pass\n\n\nx = 1\n", id="above a stub"),
        pytest.param("def f(\n    a,\n):\n    ...  {}\nx = 1\n", id="behind a stub"),
        pytest.param("class A:\n    {}\n    ...\n", id="above the stub of a class"),
    ],
)
def test_finds_a_comment_that_stands_where_no_code_follows(comment: str, text: str):
    (found,) = placeholders(text.format(comment))

    assert found.text.removeprefix("...").strip() == comment


HONEST = [
    "# (B, C, H, W)",
    "# the rest of the pixels are zero",
    "# the rest of the dimensions stay the same",
    "# rest of the network",
    "# spatial size is unchanged",
    "# same padding as in the paper: https://example.org",
    "# Other imports",
    "# remaining classes",
    "# остальные классы",
    "# остальное заполняем нулями",
    "# код класса: 0 — без полипа",
    "# then ... and so on",
    "# TODO: try mixed precision",
    "# existing files are overwritten",
    "# x[..., 0] is the red channel",
    "# the code below runs on the GPU",
    "# here the code of each class is looked up",
]


@pytest.mark.parametrize("comment", HONEST)
def test_leaves_an_honest_comment_alone(comment: str):
    assert placeholders(f"def f():\n    {comment}\n    return 1\n") == ()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("class P(Protocol):\n    def f(self) -> int: ...\n", id="stub body"),
        pytest.param("y = x[..., 0]\n", id="ellipsis index"),
        pytest.param('"""Doc.\n\n# rest of the code\n"""\n', id="docstring"),
        pytest.param("s = '# existing code here'\n", id="string"),
        pytest.param("y = conv(x)  # same as before\n", id="comment behind code"),
        pytest.param("# [1,\n# ...\n# 9]\nx = 1\n", id="ellipsis within a longer comment"),
        pytest.param("x = 1\n# ...\n# 9]\nx = 1\n", id="ellipsis before a comment"),
        pytest.param("x = 1\n# [1,\n# ...\nx = 1\n", id="ellipsis behind a comment"),
        pytest.param("# [1,\n# ...", id="ellipsis at the end of a comment"),
        pytest.param("def f(:\n(\nrest of the code\n", id="words in a text without tokens"),
        pytest.param("# " + "x " * 80 + "for brevity\n", id="long comment"),
    ],
)
def test_leaves_honest_text_alone(text: str):
    assert placeholders(text) == ()


def test_comments_two_lines_off_are_no_neighbours():
    text = "# first\n\n# ...\n\n# last\n"

    assert [item.line for item in placeholders(text)] == [3]


def test_a_comment_is_told_as_one_printable_line():
    (found,) = placeholders("x = 1\n# \x1b[2K\x1b[8m\x9b\u202e left out for brevity\n")

    assert found.text == "# [2K [8m left out for brevity"


@pytest.mark.parametrize("body", ["pass", "..."])
def test_finds_a_lazy_comment_behind_an_empty_body(body: str):
    found = placeholders(f"def f():\n    {body}  # same as before\n")

    assert [item.line for item in found] == [2]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("def f(:\n  '''\n# rest of the code\n", id="broken python"),
        pytest.param("{\n\n// ... existing code ...\n", id="another language"),
        pytest.param("<p '''>\n\n<!-- rest of the code -->\n", id="markup"),
    ],
)
def test_reads_lines_where_tokens_cannot_be_had(text: str):
    assert [item.line for item in placeholders(text)] == [3]


MODULE = """
import os.path
import numpy as np
from json import loads, dumps as write
import sys

CONST = 1
a, (b, *c) = CONST, (2, 3)
typed: int = 1
bare: int

class Net:
    inner = 1
    def method(self): ...

async def fetch(): ...

def f():
    local = 1

if CONST:
    in_if = 1
elif a:
    in_elif = 1
else:
    def in_else(): ...

try:
    import torch
except ImportError:
    torch = None
    in_except = 1
finally:
    in_finally = 1

with open(0) as handle:
    in_with = 1

for i in c:
    in_for = i

match a:
    case 1:
        in_case = 1
"""


DEFINED = """os np loads write sys CONST a b c typed Net fetch f in_if in_elif in_else torch
in_except in_finally handle in_with i in_for in_case"""
UNDEFINED = "path numpy dumps bare inner method local Missing json"


@pytest.mark.parametrize("name", DEFINED.split())
def test_knows_what_the_top_level_defines(name: str):
    assert missing_symbols(MODULE, [name]) == ()


@pytest.mark.parametrize("name", UNDEFINED.split())
def test_knows_what_the_top_level_does_not_define(name: str):
    assert missing_symbols(MODULE, [name]) == (name,)


def test_only_the_name_of_a_symbol_counts():
    assert missing_symbols("def f(): ...", ["f(x, y=(1, 2))", "g(x)", "h", "g"]) == ("g", "h")


@pytest.mark.parametrize(
    "text", ["from evaluation import *\n", "try:\n    from fast import *\nexcept E:\n    pass\n"]
)
def test_what_a_star_imports_may_be_any_name(text: str):
    assert missing_symbols(text, ["evaluate(model, loader)"]) == ()


def test_a_byte_order_mark_hides_no_name():
    assert missing_symbols("\ufeffdef f(): ...\n", ["f", "g"]) == ("g",)


def test_a_module_that_does_not_parse_defines_nothing():
    assert missing_symbols("def f(:\n", ["f"]) == ("f",)


def test_a_long_chain_of_elif_is_walked():
    text = "if x: pass\n" + "elif x: pass\n" * 300 + "else: y = 1\n"
    assert missing_symbols(text, ["y"]) == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import x\n", True),
        ("x = 1\n", True),
        ("def f(): ...\n", True),
        ("Sorry\n", False),
        ("f(x)\n", False),
        ("I cannot do that.\n", False),
        ("# only a comment\n", False),
        ("", False),
    ],
)
def test_tells_a_module_from_prose(text: str, *, expected: bool):
    assert is_python_module(text) is expected


def test_definitions_are_functions_and_classes_only():
    assert top_level_definitions("import x\ny = 1\ndef f(): ...\nclass C: ...\n") == {"f", "C"}
