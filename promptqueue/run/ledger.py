"""What a run has asked, got and spent so far: a fold over its journal, and its limits."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from promptqueue.chat.endpoints import Price
from promptqueue.chat.message import Reply, Request, Usage
from promptqueue.errors import LimitReached
from promptqueue.queue.model import Limits
from promptqueue.run.blobs import Blobs
from promptqueue.run.steering import Action

Record = dict[str, Any]


@dataclass(slots=True)
class Ledger:
    """Answers by key, and totals over all sessions of a run."""

    limits: Limits
    prices: Mapping[str, Price] = field(default_factory=dict)
    answers: dict[str, Record] = field(default_factory=dict)
    """Key of a request to the journal's record of its answer; texts stay on disk."""
    decisions: dict[str, tuple[Action, str]] = field(default_factory=dict)
    """Key of a request to what the user decided about its answer: action, digest of the text."""
    written: set[str] = field(default_factory=set)
    """Digests of the files that earlier sessions wrote."""
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

    def fold(self, records: Iterable[Record]) -> Ledger:
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
                self.written.add(record["digest"])
            elif event == "step.steered":
                self.decisions[record["key"]] = (record["action"], record["text"])
            elif event in ("call.finished", "call.failed"):
                if not record.get("origin"):  # what an earlier run has paid for is not paid here
                    self._spend(model, record)
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

    def check_limits(self, request: Request, prompt_tokens: int) -> None:
        """Refuse a call that could go beyond a limit.

        Args:
            request: what is about to be sent.
            prompt_tokens: its estimated length.

        Raises:
            LimitReached: it names the limit, what is spent and how to go on.
        """
        limits = self.limits
        most = prompt_tokens + (request.params.max_tokens or 0)
        spent = self.usage.prompt + self.usage.completion
        if limits.calls is not None and self.calls >= limits.calls:
            raise _reached("calls", f"{self.calls} calls were made", limits.calls)
        if limits.tokens is not None and spent + most > limits.tokens:
            what = f"{spent:,} tokens are spent and the next call may take {most:,}"
            raise _reached("tokens", what, f"{limits.tokens:,}")
        if limits.wall is not None and self.seconds() >= limits.wall:
            raise _reached("wall", f"the run took {self.seconds():.0f} s", f"{limits.wall:.0f} s")
        price = self.prices.get(request.model)
        if limits.usd is not None and price is not None:
            next_usd = price.of(prompt_tokens, request.params.max_tokens or 0, 0)
            if self.usd + next_usd > limits.usd:
                what = f"{self.usd:.4f} USD are spent and the next call may cost {next_usd:.4f}"
                raise _reached("usd", what, f"{limits.usd:g} USD")

    def _spend(self, model: str, record: Record) -> None:
        if record.get("usage"):
            self.add(model, Usage(**record["usage"]))

    def _clock(self, event: str, at: str) -> None:
        now = datetime.fromisoformat(at).timestamp()
        if event == "run.started":
            if self._session:
                self.earlier_s += self._session[1] - self._session[0]
            self._session = (now, now)
        elif self._session:
            self._session = (self._session[0], now)


def reply_record(reply: Reply, text: str, reasoning: str) -> Record:
    """Return what the journal says of a reply; `text` and `reasoning` are digests of blobs."""
    record = asdict(reply)
    return {**record, "text": text, "reasoning": reasoning}


def reply_from(record: Record, blobs: Blobs) -> Reply:
    """Return the reply that `reply_record` described."""
    names = Reply.__dataclass_fields__
    data = {name: record[name] for name in names if name in record}
    data["usage"] = Usage(**record["usage"])
    data["text"] = blobs.get(record["text"])
    data["reasoning"] = blobs.get(record["reasoning"]) if record["reasoning"] else ""
    return Reply(**data)


def _reached(name: str, what: str, limit: object) -> LimitReached:
    return LimitReached(
        f"the limit {name} of the queue is reached: {what}, the limit is {limit}; "
        "raise it in the queue file under `limits` and go on with `promptqueue resume`"
    )
