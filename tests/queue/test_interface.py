"""An interface shows what a caller needs, and no bodies."""

from __future__ import annotations

import warnings

import pytest

from promptqueue.queue.interface import interface_of
from promptqueue.queue.model import StepResult

MODULE = '''\
"""Tools."""
import math
from os import path as p
LIMIT: int = 3

@cached
def area(r: float, *, unit="m") -> float:
    """Return the area."""
    return math.pi * r * r

async def wait(*args, **kwargs):
    await something()

class Shape(Base):
    """A shape."""
    sides = 3

    def grow(self, by=1):
        """Grow."""
        self.size += by

class Empty:
    pass

if __name__ == "__main__":
    print(area(1))
'''
INTERFACE = '''\
"""Tools."""
import math
from os import path as p
LIMIT: int = 3

@cached
def area(r: float, *, unit='m') -> float:
    """Return the area."""
    ...

async def wait(*args, **kwargs):
    ...

class Shape(Base):
    """A shape."""
    sides = 3

    def grow(self, by=1):
        """Grow."""
        ...

class Empty:
    pass
'''


def test_keeps_signatures_and_docstrings():
    assert interface_of(MODULE) == INTERFACE


@pytest.mark.parametrize(
    "source", ["def f(:\n", "a\0b", "-" * 100_000 + "1"], ids=["syntax", "zero byte", "deep"]
)
def test_what_does_not_parse_is_returned_as_it_is(source: str):
    assert interface_of(source) == source


def test_odd_escapes_of_foreign_code_warn_nobody():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert interface_of("x = '\\d'\ny = 1 is 1\n") == "x = '\\\\d'\ny = 1 is 1\n"


def test_what_is_defined_in_one_way_or_another_is_shown() -> None:
    source = (
        "try:\n    import fast\nexcept ImportError:\n    def fast(x):\n        return x * 2\n"
        "if fast:\n    def make(size):\n        return size + 1\nelse:\n    make = None\n"
    )
    shown = interface_of(source)
    assert "def make(size):" in shown
    assert "def fast(x):" in shown
    assert "return" not in shown


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.json", '{"a": [1, 2]}\n'),
        ("requirements.txt", "numpy  # fast\n"),
        ("a.md", "x\n\n\ny\n"),
    ],
)
def test_a_file_that_is_no_python_is_its_own_interface(path: str, text: str) -> None:
    """Much of what is none parses as Python, and would come back in other words."""
    assert StepResult("a", (), {path: text}).interface(path) == text


def test_what_cannot_be_written_again_is_shown_as_it_is() -> None:
    source = "TOTAL = " + " + ".join(["1"] * 700) + "\n"
    assert interface_of(source) == source
