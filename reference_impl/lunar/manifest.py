"""The rows of a manifest: what a CSV or JSONL file says of each image."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reference_impl.lunar.errors import DataError
from reference_impl.lunar.files import replacing
from reference_impl.lunar.rasters import Window


@dataclass(frozen=True, slots=True)
class Row:
    """An image, or a part of one, and what is known of it."""

    path: Path
    label: str
    fold: str = ""
    group: str = ""
    window: Window | None = None
    where: str = field(default="", compare=False)
    """Manifest and line, for messages."""

    @property
    def source(self) -> tuple[Path, Window | None]:
        """What is read: two rows may be parts of one file."""
        return self.path, self.window


def manifest_rows(manifest: Path) -> Iterator[Row]:
    """Yield the rows of a manifest, whose paths are relative to its folder.

    Raises:
        DataError: it cannot be read, or a row lacks something or makes no sense.
    """
    try:
        text = manifest.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{manifest} cannot be read: {error}") from error
    for line, record in _records(manifest, text):
        path, label = record.get("path"), record.get("label")
        if path in (None, "") or label in (None, ""):  # 0 is a label
            raise DataError(f"{manifest}:{line}: a row needs path and label")
        fold, group = _first(record, "fold", "split"), _first(record, "group", "feature")
        where = f"{manifest}:{line}"
        window = _window(record, where)
        yield Row(manifest.parent / str(path), str(label), fold, group, window, where)


def write_manifest(rows: Iterable[Row], manifest: Path) -> None:
    """Write rows as CSV, with absolute paths: `manifest_rows` reads the same from it."""
    names = ["path", "label", "fold", "group", *Window._fields]
    with replacing(manifest) as path, path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        for row in rows:
            window = row.window or ("",) * len(Window._fields)
            writer.writerow([row.path.resolve(), row.label, row.fold, row.group, *window])


def _window(record: Mapping[str, object], where: str) -> Window | None:
    values = [record.get(name) for name in Window._fields]
    if all(value in (None, "") for value in values):
        return None
    try:
        window = Window(*(int(str(value)) for value in values))
    except ValueError:
        window = Window(-1, -1, 0, 0)
    if min(window) < 0 or min(window.width, window.height) < 8:
        raise DataError(f"{where}: x, y, width and height must be whole pixels, at least 8×8")
    return window


def _first(record: Mapping[str, object], *names: str) -> str:
    return next((str(record[name]) for name in names if record.get(name) is not None), "")


def _records(manifest: Path, text: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    if manifest.suffix.lower() != ".jsonl":
        rows = csv.DictReader(text.splitlines())
        missing = {"path", "label"} - set(rows.fieldnames or ())
        if missing:
            raise DataError(
                f"{manifest} has no column {sorted(missing)[0]!r}; it needs path, label"
            )
        yield from ((rows.line_num, row) for row in rows)
        return
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DataError(f"{manifest}:{number}: no JSON: {error}") from error
        if not isinstance(record, dict):
            raise DataError(f"{manifest}:{number}: a row must be an object with path and label")
        yield number, record
