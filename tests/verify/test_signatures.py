"""A declared signature against what a module defines; `inspect.signature` is the judge of calls."""

from __future__ import annotations

import pytest

from promptqueue.verify.signatures import signature_problems


@pytest.mark.parametrize(
    ("declared", "defined", "words"),
    [
        ("f(a, b)", "def f(a, b): ...", []),
        ("f(a, b=1)", "def f(a, b=2): ...", []),
        ("f(a)", "def f(a, extra=None): ...", []),
        ("f(a, b)", "def f(*args, **options): ...", []),
        ("f(a, *, b=1)", "def f(a, *, b=1): ...", []),
        ("f(a, *, b=1)", "def f(a, b=1): ...", []),
        ("f(a)", "async def f(a): ...", []),
        ("f", "def f(whatever): ...", []),
        ("F(a)", "class F:\n    def __init__(self, a): ...", []),
        ("F(a)", "class F: ...", []),
        ("f(a, b)", "def f(a): ...", ["f: it takes no 'b'"]),
        (
            "f(a, b)",
            "def f(b, a): ...",
            ["f: 'a' is parameter 2, not 1; 'b' is parameter 1, not 2"],
        ),
        ("f(a)", "def f(a, b): ...", ["f: it needs 'b', which nobody gives it"]),
        ("f(a=1)", "def f(a): ...", ["f: 'a' has no default"]),
        ("f(a)", "def f(a, *, b): ...", ["f: it needs 'b', which nobody gives it"]),
        ("f(a, *, b=1)", "def f(a): ...", ["f: it takes no 'b'"]),
        ("F(a)", "class F:\n    def __init__(self): ...", ["F: it takes no 'a'"]),
        ("f(a)", "f = print", []),
        ("f(a)", "\ufeffdef f(a): ...", []),
        ("f(a", "def f(b): ...", []),
    ],
)
def test_a_call_as_declared_is_taken_or_told(declared: str, defined: str, words: list[str]) -> None:
    assert [text for _, text in signature_problems(defined + "\n", [declared])] == words


def test_the_line_of_the_definition_is_named() -> None:
    assert [line for line, _ in signature_problems("x = 1\n\ndef f(): ...\n", ["f(a)"])] == [3]
