"""A question is known by all that decides its answer: what was answered once is found again."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from promptqueue.chat.message import Message, Params, Request, Usage

ASKED = Request(
    (Message("system", 'Sei "kurz".'), Message("user", "±15° 😀\n")),
    "m",
    Params(temperature=0.0, stop=("END",), extra={"top_k": 5, "min_p": 0.1}),
    sample=2,
)
# By hand: sorted keys, nothing that was not set. Runs of earlier versions are found by it.
CANONICAL = (
    '{"messages":[{"content":"Sei \\"kurz\\".","role":"system"},'
    '{"content":"±15° 😀\\n","role":"user"}],"model":"m",'
    '"params":{"extra":{"min_p":0.1,"top_k":5},"stop":["END"],"temperature":0.0},"sample":2}'
)


def test_the_key_is_the_digest_of_canonical_json() -> None:
    assert ASKED.canonical() == CANONICAL
    assert ASKED.key() == hashlib.sha256(CANONICAL.encode("utf-8")).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        {"messages": ASKED.messages[::-1]},
        {"messages": (Message("user", 'Sei "kurz".'), ASKED.messages[1])},
        {"model": "n"},
        {"params": Params(temperature=0.0, stop=("END",))},
        {"params": Params(seed=1).over(ASKED.params)},
        {"sample": 3},
    ],
    ids=["order", "role", "model", "extra", "seed", "sample"],
)
def test_whatever_decides_the_answer_changes_the_key(change: dict[str, Any]) -> None:
    assert replace(ASKED, **change).key() != ASKED.key()


def test_parameters_laid_over_others_win_one_by_one() -> None:
    base = Params(temperature=0.5, seed=1, extra={"top_k": 1, "min_p": 0.1})
    over = Params(temperature=0.0, extra={"top_k": 2})
    assert over.over(base) == Params(temperature=0.0, seed=1, extra={"top_k": 2, "min_p": 0.1})


def test_usage_adds_up_and_stays_an_estimate() -> None:
    told = Usage(1, 2, cached=3, reasoning=4)
    assert told + Usage(10, 20, cached=30, reasoning=40, estimated=True) == Usage(
        11, 22, cached=33, reasoning=44, estimated=True
    )
    assert not (told + told).estimated
