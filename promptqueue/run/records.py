"""What a record of the journal holds where that is not just the fields of its event.

The others have the fields that `events.py` and `chat/message.py` give them, as JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from promptqueue.chat.message import Reply, Usage
from promptqueue.run.blobs import Blobs
from promptqueue.run.journal import Record, RunDirectory

_BLOBS = ("sources", "text", "reasoning", "partial", "old")
"""Fields with the digest of a text; `digest` is one in `file.written`, else one of messages."""


def reply_record(reply: Reply, directory: RunDirectory, *, durable: bool = False) -> Record:
    """Keep the texts of a reply, and return what the journal says of it.

    Args:
        reply: its fields are those of the record; texts become digests of blobs.
        directory: of the run.
        durable: wait until the text is on the disk.
    """
    text = directory.keep(reply.text, durable=durable)
    reasoning = directory.keep(reply.reasoning) if reply.reasoning else ""
    return {**asdict(reply), "text": text, "reasoning": reasoning}


def reply_from(record: Record, blobs: Blobs) -> Reply:
    """Return the reply that `reply_record` described.

    Raises:
        StorageError: a text of it is missing, or was changed.
    """
    names = Reply.__dataclass_fields__
    data = {name: record[name] for name in names if name in record}
    data["usage"] = Usage(**record["usage"])
    data["text"] = blobs.get(record["text"])
    data["reasoning"] = blobs.get(record["reasoning"]) if record["reasoning"] else ""
    return Reply(**data)


def is_paid_here(record: Record) -> bool:
    """Tell whether an answer, or an attempt without one, was paid for by this run."""
    return not record.get("origin")


def usage_paid(record: Record) -> Usage | None:
    """Return the tokens that an answer, or an attempt without one, has cost this run, if known."""
    counted = record.get("usage") if is_paid_here(record) else None
    return Usage(**counted) if counted else None


def blobs_of(record: Record) -> Iterator[str]:
    """Yield the digests of the texts that a record stands for."""
    yield from (digest for _, digest in record.get("messages", ()))
    names = (*_BLOBS, "digest") if record["event"] == "file.written" else _BLOBS
    yield from (record[name] for name in names if record.get(name))
