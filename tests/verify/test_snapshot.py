"""What lies in a folder is copied once, or told why it cannot be judged."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from promptqueue.errors import StorageError
from promptqueue.verify.snapshot import MAX_BYTES, take_snapshot


def told(folder: Path, path: str = "a.py") -> list[str]:
    return [f"{each.at} {each.message}" for each in take_snapshot(folder, [path]).findings]


def test_declared_files_are_copied_and_others_are_not(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"x = 1\r\n")
    (tmp_path / "conftest.py").write_text("")

    snapshot = take_snapshot(tmp_path, ["a.py"])
    snapshot.write_to(tmp_path / "copy")

    assert [each.name for each in (tmp_path / "copy").iterdir()] == ["a.py"]
    assert (tmp_path / "copy" / "a.py").read_bytes() == b"x = 1\r\n"
    assert snapshot.digests == {"a.py": hashlib.sha256(b"x = 1\r\n").hexdigest()}


def test_a_folder_in_the_path_is_made(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "load.py").write_text("x = 1\n")

    take_snapshot(tmp_path, ["data/load.py"]).write_to(tmp_path / "copy")

    assert (tmp_path / "copy" / "data" / "load.py").read_text() == "x = 1\n"


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    assert told(tmp_path) == ["a.py is missing, although the queue declares it"]


def test_fifty_megabytes_are_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.py").open("wb") as file:
        file.truncate(50 << 20)

    assert told(tmp_path) == [
        f"a.py has {50 << 20:,} bytes; more than {MAX_BYTES:,} are not judged"
    ]


def test_bytes_that_are_no_text_are_told_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"x = 1\ny = '\xff'\n")

    assert told(tmp_path) == ["a.py:2 is not UTF-8 text (byte 0xff)"]


def test_of_a_package_only_what_can_be_imported_is_taken(tmp_path: Path) -> None:
    for name in ("__init__.py", "a.py", "\x1b[2J.py", "a\n::error::b.py"):
        (tmp_path / name).write_text("")

    assert {*take_snapshot(tmp_path, ["a.py"]).texts} == {"__init__.py", "a.py"}


def test_a_package_that_nests_without_end_brings_what_lies_near(tmp_path: Path) -> None:
    """Deeper than calls may be nested, and than anything is imported from."""
    near = tmp_path / "a" / "b"
    near.mkdir(parents=True)
    for path in (tmp_path / "__init__.py", near / "c.py"):
        path.write_text("")
    place = os.open(near, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=place)
        os.close(os.open("e.py", os.O_CREAT | os.O_WRONLY, dir_fd=place))
        place, outer = os.open("d", os.O_RDONLY, dir_fd=place), place
        os.close(outer)
    os.close(place)

    try:
        snapshot = take_snapshot(tmp_path, ["a/b/c.py"])
        snapshot.write_to(tmp_path / "copy")
    finally:
        subprocess.run(["rm", "-rf", near], check=True)  # pytest breaks at what is too deep

    assert {"__init__.py", "a/b/c.py", "a/b/e.py", "a/b/d/e.py"} <= {*snapshot.texts}
    assert snapshot.findings == ()


def test_a_link_to_a_folder_brings_nothing_twice(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "again").symlink_to(tmp_path)

    assert [*take_snapshot(tmp_path, []).texts] == ["__init__.py"]


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x = 1\n")
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").symlink_to(tmp_path / "secret")

    assert told(tmp_path / "code") == [
        "a.py is a link that leads out of the folder; put the file itself there"
    ]


def test_a_link_to_itself_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.py").symlink_to(tmp_path / "a.py")

    assert told(tmp_path) == ["a.py cannot be read: Too many levels of symbolic links"]


def test_a_pipe_is_no_file_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.py")

    assert told(tmp_path) == ["a.py is no file"]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.py").mkdir()

    assert told(tmp_path) == ["a.py is no file"]


def test_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="nowhere is no folder"):
        take_snapshot(tmp_path / "nowhere", ["a.py"])
