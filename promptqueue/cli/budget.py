"""What a run has spent of its limits, in words."""

from __future__ import annotations

import time

from promptqueue.run.events import Spent

WARNING_SHARE = 0.8
"""From this part of a limit on, it is warned of."""


class Budget:
    """Follows what is spent, and knows which limits have been warned of."""

    def __init__(self) -> None:
        self._spent: Spent | None = None
        self._at = 0.0
        self._warned: set[str] = set()

    def take(self, spent: Spent) -> list[str]:
        """Take note of what is spent; return a warning for each limit that is nearly reached."""
        self._spent, self._at = spent, time.monotonic()
        new = [name for name in self._near() if name not in self._warned]
        self._warned.update(new)
        return [f"{self._share(name):.0%} of the limit {name}: {self._part(name)}" for name in new]

    def text(self) -> str:
        """Return every limit with what is spent of it; "" where there is none."""
        names = self._spent.limits if self._spent is not None else ()
        order = [name for name in ("tokens", "usd", "calls", "wall") if name in names]
        return " · ".join(map(self._part, order))

    def is_near(self) -> bool:
        """Tell whether a limit is nearly reached."""
        return bool(self._near())

    def _near(self) -> list[str]:
        names = self._spent.limits if self._spent is not None else ()
        return [name for name in names if self._share(name) >= WARNING_SHARE]

    def _share(self, name: str) -> float:
        assert self._spent is not None
        return self._amount(name) / self._spent.limits[name]

    def _amount(self, name: str) -> float:
        spent = self._spent
        assert spent is not None
        amounts = {"calls": spent.calls, "tokens": spent.tokens, "usd": spent.usd or 0.0}
        return amounts.get(name, spent.seconds + time.monotonic() - self._at)

    def _part(self, name: str) -> str:
        spent = self._spent
        assert spent is not None
        limit, amount = spent.limits[name], self._amount(name)
        if name == "wall":
            return f"{clock(amount)} of {clock(limit)}"
        if name == "usd":
            known = "unknown" if spent.usd is None else f"{amount:.{_digits(limit)}f}"
            return f"{known} of {limit:.{_digits(limit)}f} USD"
        return f"{amount:,.0f} of {limit:,.0f} {name}"


def clock(seconds: float) -> str:
    """Return a duration as 0:07, 12:30 or 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _digits(usd: float) -> int:
    """Return how many digits show a limit in full, and at least two that are not 0."""
    digits = 2
    while digits < 6 and (usd < 10 ** (1 - digits) or abs(round(usd, digits) - usd) > 1e-9):
        digits += 1
    return digits
