"""Statements share lines, and classes are laid out in many ways."""

from __future__ import annotations

import pytest

from promptqueue.run.splice import spliced

METHODS = "    def f(self): ...\n\n    def g(self): ...\n"
LONG_HEAD = "@mark(\n" + "    1,\n" * 30 + ")\nclass A:\n"


@pytest.mark.parametrize(
    ("whole", "part", "expected"),
    [
        pytest.param(
            "class A: 'Old.'; x = 1; y = 2\n",
            "class A: 'New.'; x = 3; y = 4\n",
            "class A:\n    'New.'\n    x = 3\n    y = 4\n",
            id="all in one line",
        ),
        pytest.param(
            f"class A:\n    'Old.'; x = 1\n\n{METHODS}",
            "class A:\n    'New.'\n\n    def f(self): return 1\n",
            f"class A:\n    'New.'\n    x = 1\n\n{METHODS}".replace("...", "return 1", 1),
            id="beside the docstring",
        ),
        pytest.param(
            f"{LONG_HEAD}{METHODS}",
            "class A:\n    def f(self): return 1\n",
            f"{LONG_HEAD}{METHODS}".replace("...", "return 1", 1),
            id="under a long head",
        ),
        pytest.param(
            f"class A:\n{METHODS}",
            "class A:\n  def f(self):\n    return '''\n  a\n    b'''\n",
            f"class A:\n{METHODS}".replace(
                "f(self): ...", "f(self):\n      return '''\n  a\n    b'''"
            ),
            id="a text of several lines",
        ),
        pytest.param(
            f"class A:\n\f{METHODS}",
            "class A:\n    def f(self): return 1\n    def h(self): ...\n",
            "class A:\n    def h(self): ...\n\n" + METHODS.replace("...", "return 1", 1),
            id="behind a form feed",
        ),
    ],
)
def test_of_a_class_nothing_is_lost_however_it_is_laid_out(
    whole: str, part: str, expected: str
) -> None:
    mended = spliced(f"{whole}\n\ndef last(): ...\n", part)

    assert mended == f"{expected}\n\ndef last(): ...\n"
    compile(mended, "mended.py", "exec")
