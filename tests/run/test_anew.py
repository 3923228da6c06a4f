"""A question for one function, out of sight of what it was."""

from __future__ import annotations

import pytest

from promptqueue.queue.model import Output
from promptqueue.run.anew import rewritings
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

    def forward(self, x):
        y = self.gate(x)
        z = half(x)
        return [a + b for a, b in zip(
            y, z, strict=True)]


def half(x): return [each / 2 for each in x]


def mean(values):
    total = sum(values)
    return total / 2
'''
PROMPT = """## TASK

Write m.py.

- mean: the arithmetic mean
- other: something else
- third: something more

Class `Gate`:
1. forward returns the first of x

`forward(self, x)` of Net:
1. it adds

`half(x)` halves each

## ANSWER FORMAT

```python path=m.py
import os
<all of it>
```
"""
ZIP = Fault(("m",), (), "ValueError: zip() argument 2 is longer", "m.py:22")
NET = """## DATA

Of the file `m.py`:

```python
import os
LIMIT = 3

class Net:
    def __init__(self):
        self.gate = Gate(3)

    def forward(self, x):
        ...  # left out
```

## TASK

Write `forward` of Net, which is left out here, line by line as it is asked for:

`forward(self, x)` of Net:
1. it adds

## ANSWER FORMAT

Only this function, whole, and no other:

```python path=m.py
import os
class Net:
    def forward(self, x):
        <its lines>
```
"""


def asked(*faults: Fault, text: str = TEXT, prompt: str = PROMPT) -> list[str]:
    found = rewritings(faults, {"m.py": text}, [Output(path="m.py")], prompt)
    return [each.prompt for each in found]


def written(*faults: Fault, text: str = TEXT, prompt: str = PROMPT) -> list[str]:
    """Return what each question asks to be written."""
    lines = [line for said in asked(*faults, text=text, prompt=prompt) for line in said.split("\n")]
    return [line.split(",")[0] for line in lines if line.startswith("Write ")]


def test_the_function_is_shown_without_its_body_and_asked_for_as_the_prompt_does() -> None:
    assert asked(ZIP)[0] == NET


def test_after_it_come_those_that_feed_the_line() -> None:
    text = TEXT.replace("def half(x): return", "def half(x):\n    return")
    assert written(ZIP, text=text) == [
        "Write `forward` of Net",
        "Write `forward` of Gate",
        "Write `half`",
    ]
    assert written(ZIP) == [
        "Write `forward` of Net",
        "Write `forward` of Gate",
    ]  # no body of its own


@pytest.mark.parametrize(
    ("asked_for", "seen", "hint"),
    [
        (("it adds",), "it multiplies", "\n\n## ANSWER"),
        ((), "NameError: name 'z' is not defined", " (nothing here sets z: "),
    ],
    ids=["measured", "a name that is missing"],
)
def test_nothing_feeds_what_is_clear_and_it_is_told(
    asked_for: tuple[str, ...], seen: str, hint: str
) -> None:
    (said,) = asked(Fault(("m",), asked_for, seen, "m.py:22"))
    assert f"1. it adds\n\nAn earlier version failed: {seen}{hint}" in said


def test_what_the_task_says_of_the_file_goes_along() -> None:
    prompt = PROMPT.replace(
        "\n## ANSWER", "\nAll of `m.py` is fast.\n\n`n.py` is not.\n\n## ANSWER"
    )
    fault = Fault(("m",), ("it adds",), "it multiplies", "m.py:22")
    outputs = [Output(path="m.py"), Output(path="n.py")]
    (said,) = rewritings([fault], {"m.py": TEXT}, outputs, prompt)
    assert "1. it adds\n\nAll of `m.py` is fast.\n\nAn earlier version failed: " in said.prompt


def test_a_function_without_a_paragraph_is_asked_for_by_its_requirements() -> None:
    (said,) = asked(Fault(("mean",), ("the arithmetic mean",), "1.5", "m.py:30"))
    assert "asked for:\n\n- mean: the arithmetic mean\n\nAn earlier version failed: 1.5\n" in said
    assert "import os\ndef mean(values):\n    <its lines>\n```\n" in said
    assert asked(Fault(("mean", "other", "third"), (), "ValueError: odd", "m.py:30")) == []


def test_what_one_class_lacks_is_asked_for_in_the_others_as_well() -> None:
    lines = ["", "class Gate(M):", "    def __init__(self):", "        self.a = 1"]
    text = "\n".join([*lines, *(line.replace("Gate", "Net") for line in lines), ""])
    fault = Fault(("m",), (), "cannot assign module before Module.__init__() call", "m.py:8")
    found = list(
        rewritings([fault], {"m.py": text}, [Output(path="m.py")], f"{PROMPT}\n\n`Net`: a\n")
    )
    assert [each.key[:2] for each in found] == [("__init__", "Net"), ("__init__", "Gate")]


def test_a_figure_makes_no_other_question() -> None:
    faults = [Fault(("mean",), ("the mean",), seen, "m.py:30") for seen in ("1.5", "2.5")]
    keys = [
        [each.key for each in rewritings([fault], {"m.py": TEXT}, [Output(path="m.py")], PROMPT)]
        for fault in faults
    ]
    assert keys[0] == keys[1] != []


def test_a_figure_of_an_error_makes_no_other_question() -> None:
    seen = ("pipeline: the loss went 1.03 to 1", "pipeline: the loss went 0.5 to 0.25")
    keys = [
        [each.key for each in rewritings([fault], {"m.py": TEXT}, [Output(path="m.py")], PROMPT)]
        for fault in (Fault((), (), each, "m.py:22") for each in seen)
    ]
    assert keys[0] == keys[1] != []


def test_first_comes_what_lacks_a_name_that_the_task_says() -> None:
    prompt = PROMPT.replace("1. forward returns", "1. forward clamps and x.limits")
    found = rewritings([ZIP], {"m.py": TEXT}, [Output(path="m.py")], prompt)
    assert [each.key[:2] for each in found] == [
        ("forward", "Gate"),
        ("forward", "Net"),
        ("__init__", "Gate"),  # feeds nothing, but lacks it as well
    ]
    lacked = "x\n\nAn earlier version lacked `limits`.\n\n## ANSWER"
    assert [lacked in each.prompt for each in found] == [True, False, True]


def test_of_many_names_that_it_lacks_some_are_told() -> None:
    prompt = PROMPT.replace("1. it adds", "1. it adds b1(x), c(x), e(x), d(x), f(x), g(x)")
    (said,) = rewritings([ZIP], {"m.py": TEXT}, [Output(path="m.py")], prompt)[:1]
    assert "lacked `b1`, `c`, `d`, `e`, `f` and more.\n" in said.prompt


@pytest.mark.parametrize(
    ("seen", "order"),
    [
        ("ValueError: zip() argument 2 is longer", ["Net", "Gate", "mean"]),
        ("pipeline: the loss went 1 to 1", ["Net", "mean", "Gate"]),
    ],
)
def test_what_feeds_a_line_is_at_fault_for_its_error_rather_than_for_what_is_measured(
    seen: str, order: list[str]
) -> None:
    prompt = PROMPT.replace("`half(x)` halves each", "`mean(values)` is math.fsum(values) / 2")
    fault = Fault(("m",), (), seen, "m.py:22")
    found = rewritings([fault], {"m.py": TEXT}, [Output(path="m.py")], prompt)
    names = [each.key[0] if each.key == ("mean",) else each.key[1] for each in found]
    assert names == order


def test_what_lacks_a_name_is_asked_for_where_a_measurement_shows_elsewhere() -> None:
    fault = Fault(("m",), ("it adds",), "it multiplies", "m.py:22")
    prompt = PROMPT.replace("`half(x)` halves each", "`mean(values)` is math.fsum(values) / 2")
    found = rewritings([fault], {"m.py": TEXT}, [Output(path="m.py")], prompt)
    assert [each.key for each in found] == [("forward", "Net", "m"), ("mean",)]
    assert "An earlier version failed: it multiplies" in found[0].prompt
    assert "An earlier version failed" not in found[1].prompt
    assert "An earlier version lacked `fsum`.\n\n## ANSWER" in found[1].prompt


@pytest.mark.parametrize("at", ["m.py:3", "", "other.py:3", "m.py", "m.py:25"])
def test_there_is_none_for_a_fault_that_lies_in_no_function_with_a_body(at: str) -> None:
    assert asked(Fault(("mean",), ("the mean",), "1.5", at)) == []


def test_there_is_none_where_the_file_does_not_parse() -> None:
    assert asked(ZIP, text="x = = 1\n" + TEXT) == []


def test_there_is_none_where_the_body_begins_in_the_last_line_of_a_signature() -> None:
    text = TEXT.replace("def half(x): return", "def half(\n    x,\n    y=(),\n): return")
    prompt = PROMPT.replace("`half(x)` halves each", "`half(x)` is sorted(x)")
    assert written(ZIP, text=text, prompt=prompt) == [
        "Write `forward` of Net",
        "Write `forward` of Gate",
    ]


def test_what_a_body_begins_with_is_left_out_with_its_decorators() -> None:
    text = "def mean(values):\n    @cache\n    def inner():\n        pass\n    return inner\n"
    prompt = PROMPT.replace("`half(x)` halves each", "`mean(values)` is it")
    (said,) = asked(Fault((), (), "ValueError: x", "m.py:5"), text=text, prompt=prompt)
    assert "\ndef mean(values):\n    ...  # left out\n```\n" in said
