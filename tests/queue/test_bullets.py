"""What a prompt says of a requirement: the bullet with its name, and what is indented below."""

from __future__ import annotations

import pytest

from promptqueue.queue.bullets import (
    bullets,
    names_used,
    paragraph_of,
    paragraphs,
    remarks,
)

TEXT = """Do this:

- one: first line
  1. then this
     and that

- two: alone
not indented
* three: with a star
- no name here
"""


def test_a_bullet_ends_where_nothing_is_indented_below_it() -> None:
    assert bullets(TEXT) == {
        "one": "first line\n  1. then this\n     and that",
        "two": "alone",
        "three": "with a star",
    }


def test_a_bullet_deeper_in_a_prompt_keeps_its_shape() -> None:
    assert bullets("    - one: a\n      - b\n    c\n") == {"one": "a\n  - b"}


def test_a_name_may_hold_a_hyphen_as_a_requirement_may() -> None:
    assert bullets("- exact-mean: a\n-mean: b\n- -x: c\n") == {"exact-mean": "a", "mean": "b"}


def test_a_paragraph_speaks_of_what_it_begins_with() -> None:
    text = (
        "`mean(values)` returns it:\n1. sum\n\nClass `Gate`:\n- a\n\n`mean(x)`\n\n`m.py`:\n\nOf `a`"
    )

    text += "\n\n- loss: class `Loss`, a number\n  1. sum\n- odd: the `Loss`\n"
    assert paragraphs(text) == [
        ("mean", "`mean(values)` returns it:\n1. sum"),
        ("Gate", "Class `Gate`:\n- a"),
        ("mean", "`mean(x)`"),
        ("a", "Of `a`"),
        ("Loss", "class `Loss`, a number\n  1. sum"),
        ("Loss", "the `Loss`"),
    ]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("forward", "Net"), "`forward(x)` of Net:\n1. net"),
        (("forward", "Gate"), "Class `Gate`:\n1. a gate, of Net"),
        (("forward", "Other"), "`forward(x)`: any"),
        (("train", "Net"), "`train()` sets a mode"),
        (("Net",), ""),
        (("forward",), "`forward(x)` of Net:\n1. net"),
    ],
    ids=" ".join,
)
def test_a_method_has_the_paragraph_of_its_own_class(names: tuple[str, ...], said: str) -> None:
    text = (
        "`forward(x)` of Net:\n1. net\n\nClass `Gate`:\n1. a gate, of Net\n\n`train()` sets a mode"
    )
    if names[-1] == "Other":
        text += "\n\n`forward(x)`: any"
    assert paragraph_of(text, names, {"Net", "Gate", "Other"}) == said


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ("1. `total` is 0, `a, b` the rest", set()),
        ("total grows by loss.item() * len(x)", {"item", "len"}),
        ("an nn.Linear with bias=False, once more", {"Linear"}),
        ("where a == b (see the lines above)", set()),
        ("val_split, then Conv2d, ReLU, layer4 and 2 more", {"Conv2d", "ReLU"}),
        ("of `util.py` (e.g. x.T), i.e. of m.py.", {"T"}),
        ("the last. Then e-4, F1, 3.5 or ±15", set()),
        ("первая строка: `сумма`, затем x.mean()", {"mean"}),
        ("sum(x)\n- early_stop: of other(x)\n2. zip(x)", {"sum", "zip"}),
    ],
)
def test_a_paragraph_uses_what_it_calls_or_takes_from_something(said: str, names: set[str]) -> None:
    assert names_used(said) == names


def test_a_remark_speaks_of_the_file_as_a_whole() -> None:
    prompt = """You write Python.

## DATA

There is none.

## TASK

Write `m.py` and `n.py`.

`mean(values)` returns it:
1. sum

In `m.py`:
- mean: of all

Both use `mean`.

Flags of `m.py`:
--size 3, --name x

Nothing is binary here.

1. first
2. then

```python
x = 1

y = 2
```

## ANSWER FORMAT

The code, whole.

Alone.
"""
    flags, binary = "Flags of `m.py`:\n--size 3, --name x", "Nothing is binary here."
    assert remarks(prompt, {"mean", "m", "n.py"}) == [flags, binary]
    assert remarks(prompt, {"mean", "m.py"}) == [binary]
    assert remarks("Write it.\n\nAnd more.", ()) == []
