"""An error that small models make often comes with what mends it; the errors are Python's own."""

from __future__ import annotations

import pytest

from promptqueue.run.hints import hint_for


class Empty:
    def method(self, one: int) -> None: ...


ERRORS = (NameError, ImportError, AttributeError, TypeError, ValueError, ZeroDivisionError)
CASES = {
    "nothing": "import nothing at the top of the file, or set it before it is used",
    "from math import tau2": "tau2 does not exist there: use only what the task names",
    "import math; math.tau2": "tau2 does not exist there: use only what the task names",
    "import no_such": "there is no no_such: import only what the task names",
    "dict.fromkeys(key=1)": "",
    "sorted([], by=1)": "it has no argument by: call it exactly as the task writes it",
    "Empty().method(by=1)": "it has no argument by: call it exactly as the task writes it",
    "Empty().method()": "define and call it with exactly the arguments that the task writes",
    "Empty().method(1, 2)": "define and call it with exactly the arguments that the task writes",
    "Empty().method(1).size": "something is None: a function that ends without return gives None",
    "Empty().size": "set self.size in __init__ if the class is in this file; else use only what "
    "the task names",
    "a, b = [1]": "return, and take, exactly as many values as the task writes",
    "a, b = [1, 2, 3]": "return, and take, exactly as many values as the task writes",
    "1 / 0": "",
}


@pytest.mark.parametrize("code", CASES)
def test_an_error_comes_with_what_mends_it(code: str) -> None:
    with pytest.raises(ERRORS) as raised:
        exec(code, {"Empty": Empty})

    assert hint_for(f"{type(raised.value).__name__}: {raised.value}") == CASES[code]


@pytest.mark.parametrize(
    ("seen", "hint"),
    [
        (
            "ImportError: cannot import name 'split' from partially initialized module 'parts' "
            "(most likely due to a circular import)",
            "parts imports itself: define the name there",
        ),
        (
            'NotImplementedError: Module [Gate] is missing the required "forward" function',
            "forward must be indented, so that it stands inside the class",
        ),
        (
            "ruff: Undefined name `nn` (lines 1, 4)",
            "import nn at the top of the file, or set it before it is used",
        ),
        ("sigma 0.0210, 0.01 asked; largest value 1.000", ""),
    ],
)
def test_so_does_what_others_find(seen: str, hint: str) -> None:
    assert hint_for(seen) == hint
