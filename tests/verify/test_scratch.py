"""Temporary folders go with their owners, also with those that were killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from promptqueue.queue.verification import SandboxLimits
from promptqueue.verify import scratch
from promptqueue.verify.scratch import remove_abandoned, scratch_folder
from promptqueue.verify.watch import folder_crowd

_OWNER = """
from promptqueue.verify.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "code").mkdir()
    (folder / "code" / "main.py").write_text("")
    print(folder, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    remove_abandoned.cache_clear()
    yield
    subprocess.run(["rm", "-rf", tmp_path], check=True)  # pytest breaks at what is too deep


def owner() -> tuple[subprocess.Popen[str], Path]:
    """Start a process that holds a folder; make the folder look old."""
    process = subprocess.Popen(
        [sys.executable, "-c", _OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    os.utime(folder, (1, 1))
    return process, folder


def test_it_goes_with_its_owner(tmp_path: Path) -> None:
    with scratch_folder() as folder:
        (folder / "new").write_text("")
        assert folder.parent == tmp_path
    assert not folder.exists()


def test_the_folder_of_a_killed_owner_goes_at_the_next_start() -> None:
    process, folder = owner()
    with process:
        process.send_signal(signal.SIGKILL)
    assert (folder / "code" / "main.py").exists()

    with scratch_folder():
        assert not folder.exists()


def test_the_folder_of_a_living_owner_stays() -> None:
    process, folder = owner()
    with process:
        with scratch_folder():
            assert (folder / "code" / "main.py").exists()
        process.communicate("\n")
    assert not folder.exists()


@pytest.mark.parametrize("age", ["young", "a link", "of another name"])
def test_what_may_be_somebody_elses_stays(tmp_path: Path, age: str) -> None:
    name = "promptqueue-x" if age == "of another name" else "promptqueue-scratch-x"
    place = tmp_path / name
    (tmp_path / "elsewhere").mkdir()
    if age == "a link":
        place.symlink_to(tmp_path / "elsewhere")
    else:
        place.mkdir()
    if age != "young":
        os.utime(place, (1, 1), follow_symlinks=False)

    remove_abandoned()

    assert place.exists()


def nested(folder: Path, depth: int, *, closed: bool = False) -> None:
    """Make folders in folders, with a file in each, deeper than a path may be long."""
    place = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("a", dir_fd=place)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=place))
        place, outer = os.open("a", os.O_RDONLY, dir_fd=place), place
        if closed:
            os.fchmod(outer, 0)
        os.close(outer)
    os.close(place)


@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
def test_folders_in_folders_go_however_deep_they_are(closed: bool) -> None:
    with scratch_folder() as folder:
        nested(folder, 2200, closed=closed)
        (folder / "away").symlink_to(folder.parent)
    assert not folder.exists()
    assert folder.parent.exists()


def test_one_that_cannot_be_removed_keeps_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        (tmp_path / f"promptqueue-scratch-{name}").mkdir()
        os.utime(tmp_path / f"promptqueue-scratch-{name}", (1, 1))
    remove = scratch._remove

    def fails(folder: Path) -> None:
        if folder.name.endswith("b"):
            raise RecursionError
        remove(folder)

    monkeypatch.setattr(scratch, "_remove", fails)
    remove_abandoned()

    assert [each.name for each in tmp_path.iterdir()] == ["promptqueue-scratch-b"]


def test_a_folder_too_deep_to_be_looked_into_has_too_many_files(tmp_path: Path) -> None:
    (tmp_path / "some").mkdir()
    nested(tmp_path / "some", 20)
    nested(tmp_path, 1500)

    assert folder_crowd(tmp_path, SandboxLimits()) == "files"
    assert folder_crowd(tmp_path / "some", SandboxLimits()) == ""


def test_a_folder_that_nobody_may_enter_goes_as_well() -> None:
    with scratch_folder() as folder:
        (folder / "a").mkdir()
        (folder / "a" / "b").mkdir()
        (folder / "a" / "b").chmod(0)
        (folder / "a").chmod(0)
    assert not folder.exists()
