"""run.json: what a run was begun with, written once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from promptqueue.errors import StorageError
from promptqueue.run.blobs import sync_folder, write_atomically

Meta = dict[str, Any]

_NAME = "run.json"
_FORMAT = 1
"""Version of the file."""
_TOLD = (
    *("queue.name", "queue.path", "queue.digest", "inputs", "out", "model"),
    *("endpoint.name", "endpoint.base_url", "versions.promptqueue"),
)
"""What each one says, whatever else it does."""


def write_meta(folder: Path, meta: Meta) -> None:
    """Write run.json, and with it the last of what makes a folder a run."""
    text = json.dumps(meta, ensure_ascii=False, indent=2) + "\n"
    # A folder's name may hold bytes that are no text: they come and go as halves of pairs.
    write_atomically(folder / _NAME, text.encode("utf-8", "surrogatepass"), durable=True)
    for each in (folder, folder.parent):
        sync_folder(each)


def read_meta(folder: Path) -> Meta:
    """Return what the run.json of a run says.

    Raises:
        StorageError: it cannot be read, is of another version, or lacks what each one says.
    """
    path = folder / _NAME
    try:
        meta: Meta = json.loads(path.read_bytes().decode("utf-8", "surrogatepass"))
        flaw = _flaw_of(meta)
    except OSError as error:
        flaw = f"cannot be read: {error.strerror or error}"
    except ValueError as error:
        flaw = f"cannot be read: {error}"
    if flaw:
        raise StorageError(f"{path} {flaw}; restore it, or start a new run")
    return meta


def _flaw_of(meta: Any) -> str:
    """Return what keeps the content of the file from being used; nothing if it is sound."""
    if not isinstance(meta, dict):
        return "holds no mapping"
    if (version := meta.get("promptqueue")) != _FORMAT:
        return f"is of version {version}, and this promptqueue knows {_FORMAT}"
    absent = [key for key in _TOLD if not _is_told(meta, key.split("."))]
    return f"does not say {', '.join(absent)}" if absent else ""


def _is_told(value: Any, key: Sequence[str]) -> bool:
    if not key:
        return True
    return isinstance(value, dict) and key[0] in value and _is_told(value[key[0]], key[1:])
