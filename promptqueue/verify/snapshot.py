"""Takes a private copy of the generated files, so that what is judged cannot change meanwhile."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from promptqueue.errors import StorageError
from promptqueue.verify.report import Finding

MAX_BYTES = 256 << 10
"""Of one file: parsing 10 MB of Python takes a minute, and nobody reads it."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The declared files as they were at one moment."""

    texts: dict[str, str]
    """Of every file that can be judged."""
    digests: dict[str, str]
    """SHA-256 of them."""
    findings: tuple[Finding, ...]
    """Why the others cannot."""

    def write_to(self, folder: Path) -> None:
        """Write the files below `folder`, readable for whoever runs them."""
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in self.texts.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text.encode())
            target.chmod(0o444)
        for parent in (folder, *(each for each in folder.rglob("*") if each.is_dir())):
            parent.chmod(0o755)


def take_snapshot(folder: Path, paths: Sequence[str]) -> Snapshot:
    """Read the declared files of a folder, each through its own file descriptor, once.

    Args:
        folder: where the generated files lie.
        paths: those that the queue declares; nothing else is looked at.

    Raises:
        StorageError: the folder cannot be read.
    """
    if not folder.is_dir():
        raise StorageError(f"{folder} is no folder; name the folder of the generated files")
    texts: dict[str, str] = {}
    digests: dict[str, str] = {}
    findings: list[Finding] = []
    for path in dict.fromkeys(paths):
        data = _read(folder, path)
        if isinstance(data, str):
            findings.append(Finding("files", data, path))
            continue
        try:
            texts[path] = data.decode("utf-8")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            words = f"is not UTF-8 text (byte {data[error.start]:#04x})"
            findings.append(Finding("files", words, path, line))
            continue
        digests[path] = hashlib.sha256(data).hexdigest()
    return Snapshot(texts, digests, tuple(findings))


def _read(folder: Path, path: str) -> bytes | str:
    """Return the bytes of a file, or why it is not read."""
    try:
        place = os.open(folder / path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return "is missing, although the queue declares it"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    if not _lies_in(folder, place):
        os.close(place)
        return "is a link that leads out of the folder; put the file itself there"
    if not stat.S_ISREG(os.fstat(place).st_mode):
        os.close(place)
        return "is no file"
    with os.fdopen(place, "rb") as file:
        size = os.fstat(place).st_size
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        return f"has {max(size, len(data)):,} bytes; more than {MAX_BYTES:,} are not judged"
    return data


def _lies_in(folder: Path, place: int) -> bool:
    """Tell where an open file really lies: by its name, a link could change meanwhile."""
    real = Path(f"/proc/self/fd/{place}")
    if not real.exists():  # no /proc: macOS
        return True
    return real.resolve().is_relative_to(folder.resolve())
