"""Streaming: CPU of one event, read by our client against openai's own stream parser."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

from tests.benchmarks.measure import PYTHON, interleave, ratio_of, run_child
from tests.benchmarks.mock_endpoint import MockEndpoint, mock_endpoint
from tests.benchmarks.replies import reply
from tests.benchmarks.report import Figure

_EVENTS = 1500
_BOUND = 0.25


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the events come."""

    name: str
    model: str
    replies: int


_PACES = (
    Pace("as fast as 89 ms a reply", f"mock;chunks={_EVENTS};gap=0.000026", 10),
    Pace("one by one, 2,000 a second", f"mock;chunks={_EVENTS};gap=0.0005", 3),
)
"""The slower one wakes the reader for every event, and most of that is the cost of waking."""


def figures() -> Iterator[Figure]:
    """Measure each pace."""
    with mock_endpoint() as endpoint:
        for pace in _PACES:
            yield _figure(pace, endpoint)


def _figure(pace: Pace, endpoint: MockEndpoint) -> Figure:
    pairs = interleave(
        functools.partial(_event_us, "ours", pace, endpoint),
        functools.partial(_event_us, "openai", pace, endpoint),
        warm=False,  # each child reads one reply before it measures
    )
    ratio = ratio_of(pairs)
    name = f"CPU of an event, {pace.name}"
    return Figure(name, ratio.value, _BOUND, how=ratio.told("µs", digits=1))


def _event_us(reader: str, pace: Pace, endpoint: MockEndpoint) -> float:
    module = "tests.benchmarks.stream_reader"
    counts = [str(pace.replies), str(_EVENTS)]
    command = [PYTHON, "-m", module, reader, endpoint.base_url, pace.model, *counts]
    event_us, characters = map(float, run_child(command).output.split())
    assert characters == len(reply(1))  # a reader that skips something would be fast
    return event_us
