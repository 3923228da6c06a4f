"""What a prompt says of a requirement: the bullet with its name, and what is indented below."""

from __future__ import annotations

from promptqueue.queue.bullets import bullets, paragraphs

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

    assert paragraphs(text) == {
        "mean": "`mean(values)` returns it:\n1. sum",
        "Gate": "Class `Gate`:\n- a",
        "a": "Of `a`",
    }
