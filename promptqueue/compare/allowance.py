"""What a comparison may spend as a whole: looked at whenever a sample is there."""

from __future__ import annotations

import time
from collections.abc import Sequence

from promptqueue.compare.sample import Sample
from promptqueue.errors import LimitReached
from promptqueue.queue.model import Limits


class Allowance:
    """The limits of a comparison; its clock starts now, all else counts what was spent before.

    The limits of a queue hold for each run of it; these are for all of them together.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits.given()
        self._begin = time.monotonic()

    def check(self, samples: Sequence[Sample]) -> None:
        """Refuse to go on once a limit is reached.

        Args:
            samples: all that are there.

        Raises:
            LimitReached: it names the limit, what is spent and how to go on.
        """
        spent = [sample.spending for sample in samples]
        amounts = {
            "calls": sum(each.calls for each in spent),
            "tokens": sum(each.tokens for each in spent),
            "usd": sum(each.usd or 0.0 for each in spent),
            "wall": time.monotonic() - self._begin,
        }
        for name, limit in self._limits.items():
            if amounts[name] >= limit:
                unit = " s" if name == "wall" else f" {name}"
                raise LimitReached(
                    f"the limit {name} of the comparison is reached: {amounts[name]:,.6g}{unit} of "
                    f"{limit:,.6g}; what is there is kept: start the same command again, with a "
                    f"higher --limit {name} or without one"
                )
