"""A turn that asks for functions again, out of sight of what they were."""

from __future__ import annotations

from promptqueue.queue.model import Output
from promptqueue.run.anew import Anew, anew
from promptqueue.run.verdict import Fault

TEXT = '''import os

LIMIT = 3


class Gate:
    def __init__(self, size):
        self.size = size

    def forward(self, x):
        """Let something through."""
        return x[: self.size]


class Net:
    def __init__(self):
        self.gate = Gate(3)
        self.other = Gate(4)

    def forward(self, x):
        y = self.gate(x)
        z = half(x)
        w = self.other(x)
        return [a + b for a, b in zip(
            y, z, strict=True)]


def half(x): return [each / 2 for each in x]


def mean(values):
    total = sum(values)
    return total / 2
'''
PROMPT = """## TASK

Write m.py.

Class `Gate`:
1. forward returns the first of x

`forward(self, x)` of Net:
1. it adds

`mean(values)` returns the arithmetic mean

## ANSWER FORMAT

```python path=m.py
import os
<all of it>
```
"""
OUTPUTS = [Output(path="m.py")]


def asked(*faults: Fault, text: str = TEXT, prompt: str = PROMPT) -> Anew | None:
    return anew(faults, {"m.py": text}, OUTPUTS, prompt)


def test_a_function_is_left_out_and_asked_for_as_the_prompt_does() -> None:
    found = asked(Fault(("m",), ("the mean",), "1.5 for [1, 2, 3]", "m.py:32"))

    assert found is not None
    assert found.files == {
        "m.py": TEXT.replace(
            "    total = sum(values)\n    return total / 2\n", "    ...  # left out\n"
        )
    }
    assert found.prompt == (
        "Some functions failed, and are left out of your files:\n\n"
        "- 1.5 for [1, 2, 3]\n\n"
        "Write these functions anew, line by line as the task asks for it:\n\n"
        "`mean(values)` returns the arithmetic mean\n\n"
        "Send only these functions, each whole, and the imports they need:\n\n"
        "```python path=m.py\nimport os\ndef mean(values):\n    <its lines>\n```\n"
    )


def test_what_feeds_the_line_that_failed_is_asked_for_with_it() -> None:
    text = TEXT.replace("def half(x): return", "def half(x):\n    return")

    found = asked(Fault(("m",), (), "ValueError: zip() argument 2 is longer", "m.py:24"), text=text)

    assert found is not None
    assert found.files["m.py"].count("...  # left out") == 3
    assert "self.size = size" in found.files["m.py"]
    assert "sum(values)" in found.files["m.py"]
    assert "Class `Gate`:\n1. forward returns the first of x\n\n`forward(self, x)` of Net:" in (
        found.prompt
    )
    assert found.prompt.endswith(
        "import os\nclass Gate:\n    def forward(self, x):\n        <its lines>\n"
        "class Net:\n    def forward(self, x):\n        <its lines>\n"
        "def half(x):\n    <its lines>\n```\n"
    )


def test_of_what_was_measured_and_of_a_missing_name_only_the_function_is_asked_for() -> None:
    for fault in (
        Fault(("m",), ("adds",), "it multiplies", "m.py:24"),
        Fault(("m",), (), "NameError: name 'z' is not defined", "m.py:24"),
    ):
        found = asked(fault)
        assert found is not None
        assert found.files["m.py"].count("...  # left out") == 1
        assert (
            "    def forward(self, x):\n        ...  # left out\n\n\ndef half"
            in (found.files["m.py"])
        )


def test_two_methods_of_a_class_are_asked_for_in_one() -> None:
    faults = [
        Fault((name,), (f"do {name}",), f"no {name}", f"m.py:{n}")
        for name, n in (("b", 24), ("a", 16))
    ]

    found = asked(*faults)

    assert found is not None
    assert found.prompt.count("class Net:") == 1
    assert found.prompt.index("def __init__(self):") < found.prompt.index(
        "def forward(self, x):\n        <"
    )


def test_there_is_none_where_a_fault_lies_in_no_function_of_these_files() -> None:
    located = Fault(("m",), ("the mean",), "1.5", "m.py:32")
    for at in ("m.py:3", "", "other.py:3", "m.py", "m.py:28"):  # a constant ... one line
        assert asked(located, Fault(("n",), (), "ValueError: odd", at)) is None
    assert asked() is None
    assert asked(located, text="def mean(:\n") is None
