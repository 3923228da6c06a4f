"""What a run has asked, got and spent so far: a fold over its journal, and its limits."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from promptqueue.chat.config import Price
from promptqueue.chat.message import Request, Usage
from promptqueue.errors import LimitReached
from promptqueue.queue.model import Limits
from promptqueue.run.events import Spent
from promptqueue.run.journal import Record
from promptqueue.run.records import usage_paid
from promptqueue.run.steering import Action


class TimeIsUp(BaseException):
    """Raised into a run, wherever it waits, by who keeps its time; no `Exception`, as
    KeyboardInterrupt is none: what stands between must not take it for a failure of its own.
    """

    def __init__(self) -> None:
        super().__init__("the limit wall is reached")


@dataclass(slots=True)
class Ledger:
    """Answers by key, and totals over all sessions of a run."""

    limits: Limits
    prices: Mapping[str, Price] = field(default_factory=dict)
    flagged: frozenset[str] = frozenset()
    """Names of the limits that the command line gave."""
    answers: dict[str, Record] = field(default_factory=dict)
    """Key of a request to the journal's record of its answer; texts stay on disk."""
    decisions: dict[str, tuple[Action, str]] = field(default_factory=dict)
    """Key of a request to what the user decided about its answer: action, digest of the text."""
    verdicts: dict[str, Record] = field(default_factory=dict)
    """Key of files and requirements to the verdict on them."""
    replaced: set[str] = field(default_factory=set)
    """Digests of the texts of others that earlier sessions wrote over."""
    calls: int = 0
    """Requests that left, whatever became of them."""
    usage: Usage = field(default_factory=lambda: Usage(0, 0))
    usd: float = 0.0
    unpriced: bool = False
    """Some tokens came from a model without a known price."""
    earlier_s: float = 0.0
    """Wall time of earlier sessions."""
    finished: bool = False
    started: float = field(default_factory=time.monotonic)
    _session: tuple[float, float] | None = None

    def fold(self, records: Iterable[Record]) -> Ledger:  # noqa: C901 - one line per kind
        """Read what the journal says; the run goes on where it stopped."""
        model, key = "", ""
        for record in records:
            event = record["event"]
            self._clock(event, record["at"])
            if event == "call.started":
                model, key = record["model"], record["key"]
            elif event == "call.attempt":
                self.calls += 1
            elif event == "file.written":
                self.replaced.add(record["old"])
            elif event == "step.judged":
                self.verdicts[record["key"]] = record["verdict"]
            elif event == "step.steered":
                self.decisions[record["key"]] = (record["action"], record["text"])
            elif event in ("call.finished", "call.failed"):
                paid = usage_paid(record)
                if paid is not None:
                    self.add(model, paid)
                if event == "call.finished":
                    self.answers[key] = record
            self.finished = event == "run.finished"
        if self._session:
            self.earlier_s += self._session[1] - self._session[0]
        self.started = time.monotonic()
        return self

    def add(self, model: str, usage: Usage) -> None:
        """Count the tokens of one attempt."""
        self.usage += usage
        price = self.prices.get(model)
        if price is None:
            self.unpriced = True
        else:
            self.usd += price.of(usage.prompt, usage.completion, usage.cached)

    def seconds(self) -> float:
        """Return the wall time of the run over all its sessions."""
        return self.earlier_s + time.monotonic() - self.started

    def spent(self) -> Spent:
        """Return what is spent, and of how much."""
        return Spent(
            calls=self.calls,
            tokens=self.usage.prompt + self.usage.completion,
            usd=None if self.unpriced else self.usd,
            seconds=self.seconds(),
            limits=self.limits.given(),
        )

    def check_limits(
        self, request: Request, prompt_tokens: int, *, cap: int | None = None, pending: Usage
    ) -> None:
        """Refuse a request that could go beyond a limit.

        Args:
            request: what is about to be sent.
            prompt_tokens: its estimated length.
            cap: most tokens of its reply, if that is not the cap of the request.
            pending: tokens that are spent and not counted yet.

        Raises:
            LimitReached: it names the limit, what is spent and how to go on.
        """
        if self.limits.calls is not None and self.calls >= self.limits.calls:
            raise self._reached("calls", f"{self.calls} calls were made")
        self.check_wall()
        most = Usage(prompt_tokens, cap or request.params.max_tokens or 0)
        self._check_tokens(pending, most)
        self._check_usd(request.model, pending, most)

    def check_spent(self, model: str, pending: Usage) -> None:
        """Refuse to read on when a reply under way has passed a limit.

        Args:
            model: who writes it.
            pending: about what it cost so far.

        Raises:
            LimitReached: as above.
        """
        self._check_tokens(pending, Usage(0, 0))
        self._check_usd(model, pending, Usage(0, 0))

    def check_wall(self, ahead_s: float = 0.0) -> None:
        """Refuse to go on when the time is up, or a wait of `ahead_s` would use it up.

        Raises:
            LimitReached: as above.
        """
        wall, seconds = self.limits.wall, self.seconds()
        if wall is None or seconds + ahead_s < wall:
            return
        wait = f" and the next wait is {ahead_s:.0f} s" if ahead_s else ""
        raise self._reached("wall", f"the run took {seconds:.0f} s{wait}")

    @contextlib.contextmanager
    def keeping_time(self) -> Iterator[None]:
        """Turn the alarm of who runs the queue into the limit that it stands for.

        Raises:
            LimitReached: as above.
        """
        try:
            yield
        except TimeIsUp as error:
            raise self._reached("wall", f"the run took {self.seconds():.0f} s") from error

    def _check_tokens(self, pending: Usage, ahead: Usage) -> None:
        limit, spent = self.limits.tokens, _tokens(self.usage + pending)
        if limit is None or spent + _tokens(ahead) <= limit:
            return
        what = f"{spent:,} tokens are spent"
        if ahead.prompt:
            what += f" and the next call may take {_tokens(ahead):,}"
        raise self._reached("tokens", what, enough=spent + _tokens(ahead))

    def _check_usd(self, model: str, pending: Usage, ahead: Usage) -> None:
        limit, price = self.limits.usd, self.prices.get(model)
        if limit is None or price is None:
            return
        spent = self.usd + price.of(pending.prompt, pending.completion, pending.cached)
        next_usd = price.of(ahead.prompt, ahead.completion, 0)
        if spent + next_usd <= limit:
            return
        what = f"{spent:.4f} USD are spent"
        if ahead.prompt:
            what += f" and the next call may cost {next_usd:.4f}"
        raise self._reached("usd", what, enough=spent + next_usd)

    def _reached(self, name: str, what: str, *, enough: float = 0.0) -> LimitReached:
        """Return the error; the limit that it proposes lets the next call go ahead."""
        limit = getattr(self.limits, name)
        shown, more = _limit_texts(name, limit, max(2 * limit, enough))
        command = f"`promptqueue resume --limit {name}={more}`"
        if name in self.flagged:
            way_out = f"it was given with --limit; raise it and go on with {command}"
        else:
            way_out = (
                f"raise it and go on with {command}, or raise it in the queue file under "
                "`limits` and go on with `promptqueue resume`"
            )
        return LimitReached(f"the limit {name} is reached: {what}, the limit is {shown}; {way_out}")

    def _clock(self, event: str, at: str) -> None:
        now = datetime.fromisoformat(at).timestamp()
        if event == "run.started":
            if self._session:
                self.earlier_s += self._session[1] - self._session[0]
            self._session = (now, now)
        elif self._session:
            self._session = (self._session[0], now)


def _tokens(usage: Usage) -> int:
    return usage.prompt + usage.completion


def _limit_texts(name: str, limit: float, more: float) -> tuple[str, str]:
    """Return a limit as it is said, and a higher one as it is written."""
    if name == "wall":
        return f"{limit:g} s", f"{math.ceil(more)}s"
    if name == "usd":
        return f"{limit:g} USD", f"{math.ceil(more * 10_000) / 10_000:g}"
    return f"{limit:,}", f"{math.ceil(more)}"
