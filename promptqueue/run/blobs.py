"""Content-addressed storage: what was asked and answered, each text once."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from promptqueue.errors import StorageError

_WAY_OUT = "restore it, or start a new run"


class Blobs:
    """Files named after the SHA-256 of what they hold, below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, text: str | bytes, *, durable: bool = False) -> str:
        """Store `text` and return its digest; nothing is written twice.

        Args:
            text: stored as UTF-8, or as the bytes that it is.
            durable: wait until it is on the disk (one fsync); for what was paid for.
        """
        data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        digest = hashlib.sha256(data).hexdigest()
        path = self.path(digest)
        if not _holds(path, len(data)):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data, durable=durable)
        return digest

    def get(self, digest: str) -> str:
        """Return the text of a digest.

        Raises:
            StorageError: it is missing, or is not what was written.
        """
        return self.read(digest).decode("utf-8", "surrogatepass")

    def read(self, digest: str) -> bytes:
        """Return the bytes of a digest; raises as `get` does."""
        path = self.path(digest)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise StorageError(
                f"{path} cannot be read: {error.strerror or error}; {_WAY_OUT}"
            ) from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise StorageError(f"{path} was changed after it was written; {_WAY_OUT}")
        return data

    def __contains__(self, digest: str) -> bool:
        """Tell whether the text of a digest is there."""
        return self.path(digest).exists()

    def path(self, digest: str) -> Path:
        """Return where the text of a digest lies."""
        return self.folder / digest[:2] / digest[2:]


def _holds(path: Path, size: int) -> bool:
    """Tell whether a text is there whole; after a power cut a file may be there and empty."""
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False


def write_atomically(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write a file at once or not at all; with `durable`, it outlasts a power cut."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def sync_folder(path: Path) -> None:
    """Make what a folder lists outlast a power cut."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
