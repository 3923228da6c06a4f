"""What a terminal shows while a reply streams in."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.live import Live

from promptqueue.chat.message import Delta
from promptqueue.cli.live import LiveDisplay
from promptqueue.cli.narrator import STOPPING


def test_what_streams_in_steers_no_terminal() -> None:
    display, file = LiveDisplay(quiet=False), io.StringIO()

    display.show(Delta("x = '\x1b[2J\x1b]0;title\x07\x9b8m'\ny = 2\n"))
    Console(file=file, width=80).print(display)

    first, second, *_ = file.getvalue().splitlines()
    assert first.split() == ["x", "=", "'", "[2J", "]0;title", "8m'"]
    assert second == "  y = 2"


@pytest.mark.parametrize("rows", [2, 4, 8, 30])
def test_however_low_a_terminal_is_the_status_is_seen(rows: int) -> None:
    display, file = LiveDisplay(quiet=False), io.StringIO()
    console = Console(file=file, width=80, height=rows, force_terminal=True)

    display.show(Delta("".join(f"line {number}\n" for number in range(20))))
    display.stopping()
    with Live(display, console=console, auto_refresh=False) as live:
        live.refresh()
        shown = file.getvalue()

    assert "writing" in shown
    assert STOPPING in shown
    assert shown.count("line") == min(8, rows - 2) * shown.count(STOPPING)
