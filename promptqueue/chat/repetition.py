"""Sees when a stream only repeats itself, so that the client can cut it off and ask again."""

from __future__ import annotations

import re

CYCLE_LINES = 8
"""Longest cycle of lines that is looked for."""
MIN_LINES = 24
"""Lines that a cycle must have filled: honest code has 20 equal lines, rarely more."""
MIN_CYCLES = 8
"""Copies of a cycle, which matters for the longer ones."""
COUNTED_LINES = 3
"""Shortest cycle looked for where copies differ in their numbers; shorter ones are tables."""
COUNTED_CYCLES = 24
"""Copies of such a cycle: nobody writes out so many layers by hand."""
PERIOD_CHARS = 120
"""Longest period of a loop without line breaks."""
LOOP_CHARS = 1200
"""Length that such a loop must have."""

_NUMBER = re.compile(r"\d+")


class RepetitionWatch:
    """Watches a text that grows piece by piece.

    Three faces were seen: the same lines over and over (the embedded model ended a prompt with
    one import line until the token limit), one line that never ends, and the same few lines
    under a number that counts up (layers `b2` to `b381`, four token caps long).
    Single lines that differ in a number are safe: those are tables.
    """

    def __init__(self) -> None:
        self._line = ""  # the current line, as far as it has come
        self._line_start = 0
        self._looked_at = 0  # length of the current line when it was last searched for a loop
        self._starts: list[int] = []  # offset of every complete line
        self._last: list[str] = []  # the last lines, newest first
        self._runs = [0] * (CYCLE_LINES + 1)  # per period: lines equal to the one a period ago
        self._marks = [0] * (CYCLE_LINES + 1)  # how many of these hold a letter or digit
        self._shapes: list[str] = []  # the last lines, newest first, every number replaced by 0
        self._counted = [0] * (CYCLE_LINES + 1)  # per period: lines of the shape a period ago
        self._found: tuple[int, int] | None = None

    @property
    def start(self) -> int:
        """Character offset where the first copy begins; 0 when nothing was found."""
        return self._found[0] if self._found else 0

    @property
    def first_copy_end(self) -> int:
        """Character offset where the first copy ends and its repetition begins."""
        return self._found[1] if self._found else 0

    def feed(self, text: str) -> bool:
        """Take the next piece and return whether the text has turned into a repetition."""
        if self._found:
            return True
        *complete, rest = text.split("\n")
        for line in complete:
            self._end_line(self._line + line)
            self._line = ""
            if self._found:
                return True
        self._line += rest
        if len(self._line) >= max(LOOP_CHARS, self._looked_at + PERIOD_CHARS):
            self._search_loop(self._line)
        return self._found is not None

    def _end_line(self, line: str) -> None:
        if len(line) >= LOOP_CHARS:
            self._search_loop(line)
        self._starts.append(self._line_start)
        self._line_start += len(line) + 1
        self._looked_at = 0
        marked = any(map(str.isalnum, line))
        for period, earlier in enumerate(self._last, start=1):
            if line == earlier:
                self._extend_run(period, marked=marked)
            else:
                self._runs[period] = self._marks[period] = 0
        self._last = [line, *self._last[: CYCLE_LINES - 1]]
        self._count_up(line)

    def _extend_run(self, period: int, *, marked: bool) -> None:
        self._runs[period] += 1
        self._marks[period] += marked
        length = self._runs[period] + period  # the first copy is no repetition of anything
        enough = length >= max(MIN_LINES, MIN_CYCLES * period)
        if enough and self._marks[period] and not self._found:
            first = len(self._starts) - length
            self._found = (self._starts[first], self._starts[first + period])

    def _count_up(self, line: str) -> None:
        """Look for a cycle whose copies differ in their numbers only."""
        shape = _NUMBER.sub("0", line)
        for period, earlier in enumerate(self._shapes, start=1):
            self._counted[period] = self._counted[period] + 1 if shape == earlier else 0
        self._shapes = [shape, *self._shapes[: CYCLE_LINES - 1]]
        if max(self._counted) < COUNTED_CYCLES:  # nearly always
            return
        table = max(self._counted[1:COUNTED_LINES])  # a table has every longer period as well
        for period in range(COUNTED_LINES, CYCLE_LINES + 1):
            length = self._counted[period] + period
            if length >= COUNTED_CYCLES * period and table < period and not self._found:
                first = len(self._starts) - length
                self._found = (self._starts[first], self._starts[first + period])

    def _search_loop(self, line: str) -> None:
        """Look for a period in the last characters of a line; `str.find` does it at C speed."""
        self._looked_at = len(line)
        tail = line[-LOOP_CHARS:]
        period = tail.find(tail[: LOOP_CHARS - PERIOD_CHARS], 1)
        if period < 0 or tail[period:] != tail[:-period]:
            return
        if not any(map(str.isalnum, tail[:period])):  # a ruler
            return
        first = len(line) - LOOP_CHARS
        while first and line[first - 1] == line[first - 1 + period]:
            first -= 1
        self._found = (self._line_start + first, self._line_start + first + period)
