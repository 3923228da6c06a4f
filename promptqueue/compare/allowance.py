"""What a comparison may spend as a whole: looked at whenever a run has ended."""

from __future__ import annotations

import time
from collections.abc import Iterable

from promptqueue.compare.sample import Spending
from promptqueue.errors import LimitReached
from promptqueue.queue.model import Limits


class Allowance:
    """The limits of a comparison; its clock starts now, all else counts what was spent before.

    The limits of a queue hold for each run of it; these are for all of them together.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits.given()
        self._begin = time.monotonic()
        self.reached: LimitReached | None = None
        """Nothing is begun any more; what is under way comes to its end, since it is paid for."""

    def look(self, runs: Iterable[Spending]) -> None:
        """Take note once a limit is reached.

        Args:
            runs: what each took, also those that have brought no sample.
        """
        if self.reached is None and self._limits:
            self.reached = self._found(list(runs))

    def refuse(self) -> None:
        """Begin nothing more once a limit is reached.

        Raises:
            LimitReached: it names the limit, what is spent and how to go on.
        """
        if self.reached is not None:
            raise self.reached

    def _found(self, spent: list[Spending]) -> LimitReached | None:
        amounts = {
            "calls": sum(each.calls for each in spent),
            "tokens": sum(each.tokens for each in spent),
            "usd": sum(each.usd or 0.0 for each in spent),
            "wall": time.monotonic() - self._begin,
        }
        for name, limit in self._limits.items():
            if amounts[name] >= limit:
                unit = " s" if name == "wall" else f" {name}"
                return LimitReached(
                    f"the limit {name} of the comparison is reached: {amounts[name]:,.6g}{unit} of "
                    f"{limit:,.6g}; what is there is kept: start the same command again, with a "
                    f"higher --limit {name} or without one"
                )
        return None
