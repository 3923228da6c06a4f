"""One sample of an arm: a run of its own, and the verdict on what it brought."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from promptqueue.chat.endpoints import Price
from promptqueue.chat.message import Usage
from promptqueue.errors import StorageError
from promptqueue.queue.model import Limits
from promptqueue.run.journal import RunDirectory
from promptqueue.run.ledger import Ledger


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
    """Time that the model took."""
    endings: Mapping[str, int] = field(default_factory=dict)
    """`stop`, `length` (truncated), `degenerate` (it repeated itself) to how many replies."""

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
        lists = ("met", "unmet", "errors", "models")
        return Sample(**{**values, **{name: tuple(values.get(name, ())) for name in lists}})
    except (KeyError, TypeError) as error:
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
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{path} is no sample: {error}; remove it, and it is made anew"
        ) from error


def models_of(directory: RunDirectory) -> tuple[str, ...]:
    """Return the models that a run asked."""
    asked = (r["model"] for r in directory.records() if r["event"] == "call.started")
    return tuple(sorted({*asked}))


def replies_of(directory: RunDirectory) -> str:
    """Return the digest of all replies of a run."""
    texts = [r["text"] for r in directory.records() if r["event"] == "call.finished"]
    return hashlib.sha256("".join(texts).encode()).hexdigest() if texts else ""


def spending_of(directory: RunDirectory, prices: Mapping[str, Price]) -> Spending:
    """Return what a run took, over all its sessions."""
    records = list(directory.records())
    ledger = Ledger(Limits(), prices).fold(records)
    usage: Usage = ledger.usage
    replies = [r for r in records if r["event"] == "call.finished"]
    own = [record for record in replies if not record.get("origin")]  # others are an earlier run's
    return Spending(
        calls=ledger.calls,
        prompt=usage.prompt,
        completion=usage.completion,
        cached=usage.cached,
        usd=None if ledger.unpriced else ledger.usd,
        seconds=round(sum(record["seconds"] for record in own), 3),
        endings=dict(Counter(record["finish_reason"] for record in own)),
    )
