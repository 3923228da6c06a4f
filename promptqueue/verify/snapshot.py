"""Takes a private copy of the generated files, so that what is judged cannot change meanwhile."""

from __future__ import annotations

import contextlib
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
_MAX_DEPTH, _MAX_MODULES = 16, 500
"""Of packages within packages, and of the modules of one."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A private copy of the code, as the sandbox gets to see it."""

    root: Path
    """Where imports start."""
    package: str = ""
    """Dotted name of the package that the files make up; empty for modules that stand alone."""

    @property
    def folder(self) -> Path:
        """Return where the files lie."""
        return self.root.joinpath(*self.package.split("."))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The files as they were at one moment."""

    texts: dict[str, str]
    """Of every file that can be judged."""
    digests: dict[str, str]
    """SHA-256 of them."""
    findings: tuple[Finding, ...]
    """Why the others cannot."""
    package: str = ""
    """As in `Copy`."""

    def write_to(self, root: Path) -> Copy:
        """Write the files below `root`, readable for whoever runs them."""
        copy = Copy(root, self.package)
        folder = copy.folder
        folder.mkdir(parents=True, exist_ok=True)
        outer = (
            [each for each in folder.parents if each.is_relative_to(root)] if self.package else []
        )
        for parent in outer[:-1]:
            parent.joinpath("__init__.py").touch(0o444)
        for path, text in self.texts.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text.encode())
            target.chmod(0o444)
        for parent in (root, *(each for each in root.rglob("*") if each.is_dir())):
            parent.chmod(0o755)
        return copy


def take_snapshot(folder: Path, paths: Sequence[str]) -> Snapshot:
    """Read the files of a folder, each through its own file descriptor, once.

    Args:
        folder: where the files lie. One with an `__init__.py` is a package and comes whole.
        paths: those that the queue declares; of a plain folder nothing else is looked at.

    Raises:
        StorageError: the folder cannot be read.
    """
    if not folder.is_dir():
        raise StorageError(f"{folder} is no folder; name the folder of the generated files")
    texts: dict[str, str] = {}
    digests: dict[str, str] = {}
    findings: list[Finding] = []
    package = _package(folder)
    for path in dict.fromkeys([*paths, *(_modules(folder) if package else ())]):
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
    return Snapshot(texts, digests, tuple(findings), package)


def copy_at(folder: Path) -> Copy:
    """Return the copy whose files lie in `folder`."""
    package = _package(folder)
    return Copy(folder.resolve().parents[package.count(".")] if package else folder, package)


def _package(folder: Path) -> str:
    """Return the dotted name of the package that a folder is; empty if it is none."""
    names: list[str] = []
    place = folder.resolve()
    while (place / "__init__.py").is_file() and len(names) < _MAX_DEPTH:
        names.insert(0, place.name)
        place = place.parent
    return ".".join(names)


def _modules(folder: Path) -> list[str]:
    """Return what can be imported of a package: no name with a line break, say, can be.

    Level by level, and no deeper than packages go: a foreign folder may nest as deeply as it likes.
    """
    found: list[str] = []
    level = [""]
    for _ in range(_MAX_DEPTH):
        entries = [each for path in level for each in _listed(folder, path)]
        level = [path for path, is_folder in entries if is_folder]
        found += [path for path, is_folder in entries if not is_folder and path.endswith(".py")]
    return [path for path in sorted(found) if path.isprintable()][:_MAX_MODULES]


def _listed(folder: Path, path: str) -> list[tuple[str, bool]]:
    """Return what lies in a folder below `folder`, and of each whether it is a folder itself."""
    with contextlib.suppress(OSError), os.scandir(folder / path) as entries:
        return [
            (f"{path}/{each.name}".lstrip("/"), each.is_dir(follow_symlinks=False))
            for each in entries
        ]
    return []


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
