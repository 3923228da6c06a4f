"""What a sample keeps of its run: records of a journal, with times that are known."""

from __future__ import annotations

import pytest

from promptqueue.chat.config import Price
from promptqueue.compare.sample import notes_of, replies_of, spending_of
from promptqueue.run.journal import Record

USAGE = {"prompt": 10, "completion": 5, "cached": 4, "reasoning": 0, "estimated": False}
AT = "2026-01-01T00:00:{:02}+00:00"
BEGUN: Record = {"event": "call.started", "at": AT.format(0), "model": "m", "key": "k"}


def finished(text: str, second: int = 0, **more: object) -> Record:
    reply = {"text": text, "finish_reason": "stop", "seconds": 2.0, "continuations": 0}
    return {"event": "call.finished", "at": AT.format(second), "usage": USAGE, **reply, **more}


def test_attempts_that_were_made_again_are_counted() -> None:
    failed = {"event": "call.failed", "failure": "degenerate", "message": "", "usage": USAGE}
    spent = spending_of(
        [
            BEGUN,
            {"event": "call.attempt", "at": AT.format(1)},
            {**failed, "at": AT.format(31)},
            {"event": "call.attempt", "at": AT.format(32)},
            finished("a", 34, finish_reason="length", continuations=3),
        ],
        {},
    )

    assert spent.endings == {"length": 1, "degenerate": 1, "continued": 3}
    assert spent.seconds == 30 + 2
    assert (spent.calls, spent.tokens) == (2, 30)


def test_what_an_earlier_run_has_answered_costs_nothing() -> None:
    prices = {"m": Price(input=1e6, output=10e6, cached=0.5e6)}
    attempt = {"event": "call.attempt", "at": AT.format(0)}
    records = [BEGUN, finished("a", origin="run"), BEGUN, attempt, finished("b")]
    spent = spending_of(records, prices)

    assert (spent.calls, spent.tokens, spent.seconds) == (1, 15, 2)
    assert spent.endings == {"stop": 1}
    assert spent.usd == pytest.approx(6 * 1 + 4 * 0.5 + 5 * 10)  # per million tokens
    assert spending_of(records, {}).usd is None


def test_replies_tell_copies_from_samples() -> None:
    one, same, other, none = (
        replies_of([BEGUN, *map(finished, texts)]) for texts in ("ab", "ab", "ac", "")
    )
    assert one == same != other
    assert none == ""


def test_what_the_endpoint_did_not_take_is_noted_once() -> None:
    note = {"event": "call.adapted", "what": "sends_temperature is now False"}
    assert notes_of([BEGUN, note, finished("a"), note]) == ("sends_temperature is now False",)
