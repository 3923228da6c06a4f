"""The folder of generated files: written atomically, with a manifest, hand edits respected."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from promptqueue.errors import StorageError
from promptqueue.run.blobs import write_atomically
from promptqueue.verify.placeholders import has_shrunk, line_count

Status = Literal["new", "changed", "unchanged", "aside", "replaced"]
MANIFEST = "manifest.json"
SHRUNK_FROM = "shrunk_from"
"""Key of the manifest: the lines of the version before, of a file that lost most of them."""
ELSEWHERE = "write to another folder with `promptqueue run QUEUE --out DIR`"
"""A way out for runs of every kind: answers of an earlier run are not asked for again."""
_LOCK = ".lock"
_ASIDE = ".new"


class Written(NamedTuple):
    """What became of a file that was to be written."""

    target: Path
    status: Status
    old: str = ""
    """Digest of the text of others that it took the place of."""


class Workspace:
    """The folder that a queue's files are written to."""

    def __init__(self, folder: Path, head: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.folder = folder
        self.overwrite = overwrite
        self._head = dict(head)
        """What the manifest says besides its files: the queue, its file and its digest."""
        self._files: dict[str, dict[str, Any]] = {}
        self._unsaved = False
        self._asides: set[str] = set()
        """Digests of what was written beside edited files."""
        self._is_own: Callable[[str], bool] = lambda _: False

    @contextlib.contextmanager
    def locked(self, run_id: str) -> Iterator[None]:
        """Hold the workspace for one run.

        Raises:
            StorageError: another run holds it, or the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            self._take(lock, run_id)
            self._files = manifest_files(self.folder)
            yield
        finally:
            with contextlib.suppress(StorageError):  # the error that led here is the one to report
                self.save()
            os.close(lock)

    def recognise(self, is_own: Callable[[str], bool]) -> None:
        """Take files whose digests are own for written by a run, although no manifest says so.

        A run that was killed between a file and the manifest knows them from its directory.
        """
        self._is_own = is_own

    def hand_edited(self, paths: Iterable[str]) -> list[str]:
        """Return those of `paths` whose files are not as the last run left them."""
        return [path for path in paths if self._is_foreign(path)]

    @property
    def manifest_problem(self) -> str:
        """Return why no file is known as written by a run, where the manifest cannot be read."""
        broken = not self._files and (self.folder / MANIFEST).exists()
        return f" ({self.folder / MANIFEST} cannot be read)" if broken else ""

    def write(
        self, path: str, text: str, origin: Mapping[str, Any], keep: Callable[[bytes], str]
    ) -> Written:
        """Write one file; `save` then enters it in the manifest.

        A file that someone edited by hand is left alone: the new text goes beside it, as
        `<path>.new`, unless the workspace was opened with `overwrite`. What somebody made of an
        earlier `<path>.new` is kept before it is replaced.

        Args:
            path: as declared by the queue, relative to the folder.
            text: the whole file.
            origin: step, turn and run that it came from.
            keep: stores an edited file before it is replaced, and returns its digest.

        Raises:
            StorageError: the file cannot be written, or what it replaces not be kept.
        """
        target = self._inside(path)
        data = text.encode("utf-8", "surrogatepass")
        entry = {"sha256": hashlib.sha256(data).hexdigest(), **origin}
        foreign = self._is_foreign(path)
        existing = self._digest(path)
        entry |= self._shrinkage(path, text, same=existing == entry["sha256"])
        old = ""
        try:
            if existing == entry["sha256"]:
                status: Status = "unchanged"
            elif foreign and not self.overwrite:
                return self._write_aside(path, data, keep)
            else:
                status = "replaced" if foreign else "changed" if existing else "new"
                old = keep(target.read_bytes()) if foreign else ""
                write_atomically(target, data)
        except OSError as error:
            raise self._unwritable(error) from error
        self._unsaved |= self._files.get(path) != entry
        self._files[path] = entry
        return Written(target, status, old)

    def _write_aside(self, path: str, data: bytes, keep: Callable[[bytes], str]) -> Written:
        """Write a text beside a file that was edited by hand."""
        beside = self.folder / f"{path}{_ASIDE}"
        self._asides.add(hashlib.sha256(data).hexdigest())
        old = keep(beside.read_bytes()) if self._is_foreign(f"{path}{_ASIDE}") else ""
        write_atomically(beside, data)
        return Written(beside, "aside", old)

    def _shrinkage(self, path: str, text: str, *, same: bool) -> dict[str, Any]:
        """Return what the manifest says of a file that lost most of its lines, for `verify`."""
        known = self._files.get(path, {}).get(SHRUNK_FROM)
        before = self._read(path)
        if same:
            return {} if known is None else {SHRUNK_FROM: known}
        return {SHRUNK_FROM: line_count(before)} if has_shrunk(before, text) else {}

    def save(self) -> None:
        """Write the manifest, if it has changed; once for all the files of a reply.

        Raises:
            StorageError: it cannot be written.
        """
        if not self._unsaved:
            return
        manifest = {"promptqueue": 1, **self._head, "files": dict(sorted(self._files.items()))}
        text = json.dumps(manifest, ensure_ascii=False, indent=2) + "\n"
        # What is no text in the queue file's name becomes an escape, which JSON reads as well.
        data = text.encode("utf-8", "backslashreplace")
        try:
            write_atomically(self.folder / MANIFEST, data)
        except OSError as error:
            raise self._unwritable(error) from error
        self._unsaved = False

    def _take(self, lock: int, run_id: str) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(lock, 0)
            os.write(lock, f"{run_id} (process {os.getpid()})".encode())
        except BlockingIOError as error:
            holder = os.read(lock, 200).decode(errors="replace") or "another run"
            raise StorageError(
                f"{self.folder} is in use by {holder}; wait for it, or {ELSEWHERE}"
            ) from error
        except OSError as error:
            raise self._unwritable(error) from error

    def _inside(self, path: str) -> Path:
        """Return the target of a declared path, wherever links lead."""
        target = self.folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.parent.resolve().relative_to(self.folder.resolve())
        except OSError as error:
            raise self._unwritable(error) from error
        except ValueError as error:
            raise StorageError(
                f"{target.parent} leads out of {self.folder}; remove the link"
            ) from error
        return target

    def _is_foreign(self, path: str) -> bool:
        digest = self._digest(path)
        if digest is None or digest in self._asides or self._is_own(digest):
            return False
        return digest != self._files.get(path, {}).get("sha256")

    def _read(self, path: str) -> str:
        """Return the text of a file, or nothing where none can be read."""
        try:
            return (self.folder / path).read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            return ""

    def _digest(self, path: str) -> str | None:
        try:
            return hashlib.sha256((self.folder / path).read_bytes()).hexdigest()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> StorageError:
        name = error.filename or self.folder
        why = error.strerror or error
        return StorageError(f"{name} cannot be written: {why}; free it, or {ELSEWHERE}")


def manifest_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what the manifest of a folder says of each file.

    Nothing where it is damaged or not there: then every file counts as edited.
    """
    try:
        files = json.loads((folder / MANIFEST).read_text("utf-8"))["files"]
        return {str(path): dict(entry) for path, entry in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
