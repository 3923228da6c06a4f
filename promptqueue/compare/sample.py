"""One sample of an arm: a run of its own, and the verdict on what it brought."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from promptqueue.chat.config import Price
from promptqueue.chat.failure import Failure
from promptqueue.chat.message import Usage
from promptqueue.errors import StorageError
from promptqueue.queue.model import Limits
from promptqueue.run.journal import Record
from promptqueue.run.ledger import Ledger
from promptqueue.run.records import is_paid_here


@dataclass(frozen=True, slots=True)
class Spending:
    """What a run took, as its journal tells it."""

    calls: int
    prompt: int
    """Tokens, cached ones included."""
    completion: int
    cached: int
    usd: float | None
    """None where a price is not known."""
    seconds: float
    """Time that the model took, failed attempts included."""
    endings: Mapping[str, int] = field(default_factory=dict)
    """`stop`, `length` (truncated) to how many replies; `degenerate` to how many attempts repeated
    themselves, also those that were made again; `continued` to how often a reply was gone on with.
    """

    @property
    def tokens(self) -> int:
        """Return all tokens, in and out."""
        return self.prompt + self.completion


@dataclass(frozen=True, slots=True)
class Sample:
    """What one sample of an arm came to."""

    arm: str
    number: int
    """From 1."""
    run: str
    complete: bool
    """Every declared file came back usable."""
    spending: Spending
    met: tuple[str, ...]
    unmet: tuple[str, ...]
    errors: tuple[str, ...] = ()
    """Those of `unmet` whose check broke, which is no verdict on the code."""
    unjudged: tuple[str, ...] = ()
    """Those of `unmet` that no check looked at."""
    notes: tuple[str, ...] = ()
    """What the endpoint did not take, so that something else was asked than the arm says."""
    stopped: str = ""
    """Why the run ended early, by a limit or by what was asked; it counts as it stands."""
    contract: str = ""
    """Digest of what it was judged by."""
    seed: int = 0
    """Of the verdict."""
    models: tuple[str, ...] = ()
    """Who was asked."""
    replies: str = ""
    """Digest of all replies together; empty where there are none. Samples that have it in common
    are copies of one another."""

    @property
    def rate(self) -> float:
        """Return the share of the requirements that are met."""
        return len(self.met) / max(1, len(self.met) + len(self.unmet))

    def record(self) -> dict[str, Any]:
        """Return the sample as JSON can hold it."""
        return asdict(self)


def sample_from(record: Mapping[str, Any]) -> Sample:
    """Return the sample that `record` described.

    Raises:
        StorageError: it is none.
    """
    try:
        values = {**record, "spending": Spending(**record["spending"])}
        lists = ("met", "unmet", "errors", "unjudged", "notes", "models")
        return Sample(**{**values, **{name: tuple(values.get(name, ())) for name in lists}})
    except (AttributeError, KeyError, TypeError) as error:
        raise StorageError(f"a sample of another version of promptqueue: {error}") from error


def read_sample(path: Path) -> Sample | None:
    """Return the sample of a file, or None if there is none.

    Raises:
        StorageError: the file holds something else.
    """
    try:
        return sample_from(json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, StorageError) as error:
        raise StorageError(
            f"{path} is no sample: {error}; remove it, and what was answered is judged anew"
        ) from error


def models_of(records: Sequence[Record]) -> tuple[str, ...]:
    """Return the models that a run asked."""
    asked = (r["model"] for r in records if r["event"] == "call.started")
    return tuple(sorted({*asked}))


def replies_of(records: Sequence[Record]) -> str:
    """Return the digest of all replies of a run."""
    texts = [r["text"] for r in records if r["event"] == "call.finished"]
    return hashlib.sha256("".join(texts).encode()).hexdigest() if texts else ""


def notes_of(records: Sequence[Record]) -> tuple[str, ...]:
    """Return what a run had to ask in another way than its arm says."""
    notes = (r["what"] for r in records if r["event"] == "call.adapted")
    return tuple(dict.fromkeys(notes))


def spending_of(records: Sequence[Record], prices: Mapping[str, Price]) -> Spending:
    """Return what a run took, over all its sessions."""
    ledger = Ledger(Limits(), prices).fold(records)
    usage: Usage = ledger.usage
    replies = [r for r in records if r["event"] == "call.finished"]
    own = [record for record in replies if is_paid_here(record)]
    return Spending(
        calls=ledger.calls,
        prompt=usage.prompt,
        completion=usage.completion,
        cached=usage.cached,
        usd=None if ledger.unpriced else ledger.usd,
        seconds=round(sum(record["seconds"] for record in own) + _failed_s(records), 3),
        endings=dict(_endings(own, records)),
    )


def _endings(own: Sequence[Record], records: Sequence[Record]) -> Counter[str]:
    endings = Counter(record["finish_reason"] for record in own)
    failures = Counter(r["failure"] for r in records if r["event"] == "call.failed")
    endings["degenerate"] += failures[Failure.DEGENERATE]
    endings["continued"] += sum(record["continuations"] for record in own)
    return +endings


def _failed_s(records: Sequence[Record]) -> float:
    """Return how long the attempts took that brought no answer."""
    seconds, begun = 0.0, ""
    for record in records:
        if record["event"] == "call.attempt":
            begun = record["at"]
        elif record["event"] == "call.failed" and begun:
            seconds += _between_s(begun, record["at"])
            begun = ""
    return seconds


def _between_s(begin: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()
