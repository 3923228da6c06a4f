"""A line belongs to the function, class or constant around it, which can be sent alone."""

from __future__ import annotations

import pytest

from promptqueue.run.units import unit_at
from tests.run.module import WHOLE


@pytest.mark.parametrize(
    ("line", "opening"),
    [
        (4, "SIZE ="),
        (7, "@staticmethod\ndef first(x):"),
        (10, "@staticmethod\ndef first(x):"),
        (17, "class Second:"),
        (21, "def last():"),
    ],
)
def test_a_line_belongs_to_what_stands_around_it(line: int, opening: str) -> None:
    unit = unit_at(WHOLE, line)

    assert unit is not None
    assert unit.opening == opening


@pytest.mark.parametrize("line", [0, 1, 19, 99])
def test_a_line_between_belongs_to_nothing(line: int) -> None:
    assert unit_at(WHOLE, line) is None


def test_an_opening_is_without_the_body_however_it_is_written() -> None:
    one_line = unit_at("def f(x, y=(1, 2)) -> int: return x\n", 1)
    several_lines = unit_at("class A(\n    B,\n    metaclass=C,\n):\n    x = 1\n", 2)

    assert (one_line, several_lines) == (
        ("f", "def f(x, y=(1, 2)) -> int:"),
        ("A", "class A(B, metaclass=C):"),
    )


def test_a_line_of_a_torn_definition_belongs_to_it() -> None:
    unit = unit_at(WHOLE.replace("return SIZE", "return {'size'"), 17)

    assert unit is not None
    assert unit.opening == "class Second:"


@pytest.mark.parametrize(
    ("text", "opening"),
    [
        ("LIMIT: int = 3\n", "LIMIT: int ="),
        ("FIRST = SECOND = 3\n", "FIRST = SECOND ="),
    ],
)
def test_a_constant_is_known_however_it_is_set(text: str, opening: str) -> None:
    unit = unit_at(text, 1)

    assert unit is not None
    assert unit.opening == opening
