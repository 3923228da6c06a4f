"""Where a comparison keeps its samples: it can be stopped anywhere, and nothing is paid twice."""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterator
from pathlib import Path

from promptqueue.compare.arms import slug
from promptqueue.compare.sample import Sample, read_sample
from promptqueue.errors import StorageError, writing
from promptqueue.run.blobs import write_atomically

VERSION = 1
_HEAD = "comparison.json"
_ELSEWHERE = "name another folder with --store DIR"
_SHORT = 8
"""Characters of a digest that tell two versions of an arm apart."""


class Store:
    """The folder of a comparison.

    Each sample has a folder of its own, with its run, its code and what it came to. An arm whose
    queue, prompts, inputs or endpoint have changed gets another folder; the old samples stay.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Keep others out.

        Raises:
            StorageError: it cannot be written, is of another version, or somebody works in it.
        """
        with writing(self.folder, _ELSEWHERE):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / "lock").open("w")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise StorageError(
                    f"a comparison is at work in {self.folder}; wait for it, or {_ELSEWHERE}"
                ) from error
            self.check()
            if not (self.folder / _HEAD).exists():
                write(self.folder / _HEAD, json.dumps({"promptqueue_compare": VERSION}))
            yield

    def place(self, arm: str, key: str, number: int) -> Path:
        """Return the folder of a sample; `key` is the digest of all that decides its answers."""
        return self.folder / f"{slug(arm)}-{key[:_SHORT]}" / str(number)

    def sample(self, place: Path) -> Sample | None:
        """Return what is known of a sample."""
        return read_sample(place / "sample.json")

    def keep(self, place: Path, sample: Sample) -> None:
        """Write a sample down, at once or not at all."""
        write(place / "sample.json", json.dumps(sample.record(), indent=1, ensure_ascii=False))

    def check(self) -> None:
        """Refuse what is no folder, or a store whose samples are written in another way.

        Raises:
            StorageError: it says what was found, and the way out.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise StorageError(f"{self.folder} is no folder; {_ELSEWHERE}")
        head = self.folder / _HEAD
        if not head.exists():
            return
        try:
            found = json.loads(head.read_text("utf-8"))["promptqueue_compare"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            found = f"unreadable ({error})"
        if found != VERSION:
            raise StorageError(
                f"{head}: version {found}, and this promptqueue knows {VERSION}; {_ELSEWHERE}"
            )


def write(path: Path, text: str) -> None:
    """Write a file at once or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
