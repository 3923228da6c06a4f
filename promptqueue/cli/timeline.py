"""The timeline of a run: for each call a bar, as long as it took, and what it waited for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promptqueue.run.past import History

_BAR = 40
"""Characters of a bar: a line fits 80 columns."""


def timeline_lines(history: History) -> Iterator[str]:
    """Yield for each call when it began, how long it took, and what it waited for."""
    from promptqueue.cli.narrator import clock

    asked = (call for call in history.calls if call.ended and not call.reused)
    made = sorted(asked, key=lambda call: call.started)
    if not made:
        yield "this run asked nothing"
        return
    begin = _time(made[0].started)
    whole = max(0.001, _time(made[-1].ended) - begin)
    for call in made:
        start, took = _time(call.started) - begin, _time(call.ended) - _time(call.started)
        left = min(_BAR - 1, int(_BAR * start / whole))
        bar = " " * left + "█" * max(1, round(_BAR * took / whole))
        label = f"{call.step[:14]} {call.turn}"
        yield f"{clock(start):>7}  {label:16} {bar[:_BAR]:{_BAR}} {clock(took):>7}"
        yield from (f"{'':9}waited {seconds:.0f} s: {reason}" for seconds, reason in call.waits)
        yield from (f"{'':9}failed: {failure}" for failure in call.failures)


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
