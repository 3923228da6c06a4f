"""What a sample keeps of its run: the journals are written by hand, with times that are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptqueue.compare.sample import notes_of, replies_of, spending_of
from promptqueue.run.journal import RunDirectory, create_run

USAGE = {"prompt": 10, "completion": 5, "cached": 0, "reasoning": 0, "estimated": False}


def finished(text: str, **more: object) -> dict[str, object]:
    reply = {"text": text, "finish_reason": "stop", "seconds": 2.0, "continuations": 0}
    return {"event": "call.finished", "at": "", "usage": USAGE, **reply, **more}


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    with_run = create_run(tmp_path, "q", {})
    with_run.close()
    return RunDirectory(with_run.path)


def told(monkeypatch: pytest.MonkeyPatch, *records: dict[str, object]) -> None:
    begun = {"event": "call.started", "at": "2026-01-01T00:00:00+00:00", "model": "m", "key": "k"}
    lines = [begun, *({"at": begun["at"], **record} for record in records)]
    monkeypatch.setattr(RunDirectory, "records", lambda _: iter(lines))


def test_attempts_that_were_made_again_are_counted(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = "2026-01-01T00:00:{:02}+00:00"
    failed = {"event": "call.failed", "failure": "degenerate", "message": "", "usage": USAGE}
    told(
        monkeypatch,
        {"event": "call.attempt", "at": at.format(1)},
        {**failed, "at": at.format(31)},
        {"event": "call.attempt", "at": at.format(32)},
        finished("a", at=at.format(34), finish_reason="length", continuations=3),
    )

    spent = spending_of(list(directory.records()), {})

    assert spent.endings == {"length": 1, "degenerate": 1, "continued": 3}
    assert spent.seconds == 30 + 2
    assert (spent.calls, spent.tokens) == (2, 30)


def test_replies_tell_copies_from_samples(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = []
    for texts in ("ab", "ab", "ac", ""):
        told(monkeypatch, *(finished(text) for text in texts))
        digests.append(replies_of(list(directory.records())))
    assert digests[0] == digests[1] != digests[2]
    assert digests[3] == ""


def test_what_the_endpoint_did_not_take_is_noted_once(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = {"event": "call.adapted", "what": "sends_temperature is now False"}
    told(monkeypatch, note, finished("a"), note)
    assert notes_of(list(directory.records())) == ("sends_temperature is now False",)
