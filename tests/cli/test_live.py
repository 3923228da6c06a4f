"""What a terminal shows while a reply streams in."""

from __future__ import annotations

import io

from rich.console import Console

from promptqueue.chat.message import Delta
from promptqueue.cli.live import LiveDisplay


def test_what_streams_in_steers_no_terminal() -> None:
    display, file = LiveDisplay(quiet=False), io.StringIO()

    display.show(Delta("x = '\x1b[2J\x1b]0;title\x07\x9b8m'\ny = 2\n"))
    Console(file=file, width=80).print(display)

    first, second, *_ = file.getvalue().splitlines()
    assert first.split() == ["x", "=", "'", "[2J", "]0;title", "8m'"]
    assert second == "  y = 2"
