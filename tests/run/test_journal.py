"""The run directory keeps what was paid for through crashes, full disks and tampering."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from pathlib import Path

import pytest

from promptqueue.errors import StorageError, UsageError
from promptqueue.run.journal import RunDirectory, create_run, find_run


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return create_run(tmp_path / "runs", "tiny", {"queue": {"name": "tiny"}})


def lines(run: RunDirectory) -> list[bytes]:
    return run.journal_path.read_bytes().splitlines()


def test_each_line_carries_the_digest_of_the_line_before(run: RunDirectory) -> None:
    run.append("one", text="лунный")
    run.append("two")
    first, second = lines(run)
    assert json.loads(second)["prev"] == hashlib.sha256(first).hexdigest()
    assert [json.loads(line)["seq"] for line in (first, second)] == [0, 1]
    run.close()


def test_records_come_back_in_order_with_their_data(run: RunDirectory) -> None:
    run.append("one", text="a\nb", number=1.5)
    run.append("two", items=["x"])
    run.close()
    found = list(RunDirectory(run.path).records())
    assert [(r["event"], r.get("text"), r.get("items")) for r in found] == [
        ("one", "a\nb", None),
        ("two", None, ["x"]),
    ]


@pytest.mark.parametrize("kept", [1, 10, -1], ids=["one byte", "ten bytes", "all but the line end"])
def test_a_torn_last_line_is_dropped_and_the_journal_goes_on(run: RunDirectory, kept: int) -> None:
    run.append("one")
    whole = run.journal_path.stat().st_size
    run.append("two", text="x" * 50)
    run.close()
    data = run.journal_path.read_bytes()
    cut = len(data) - 1 if kept == -1 else whole + kept
    run.journal_path.write_bytes(data[:cut])

    again = RunDirectory(run.path, write=True)
    again.append("three")
    again.close()
    assert [r["event"] for r in RunDirectory(run.path).records()] == ["one", "three"]


@pytest.mark.parametrize(
    ("old", "new", "number"),
    [
        (b"first", b"fIrst", 2),
        (b'"event":"one"', b'"event":"eno"', 2),
        (b'"seq":1', b'"seq":7', 2),
        (b'{"seq":1', b'"seq":1', 2),
        (b'"event":"three"}', b'"event":"three"', 3),
    ],
    ids=["text changed", "event changed", "sequence changed", "no JSON", "last line damaged"],
)
def test_a_damaged_line_is_named_and_those_above_are_read(
    run: RunDirectory, old: bytes, new: bytes, number: int
) -> None:
    """A changed line shows in the next one, which carries its digest."""
    run.append("one", text="first")
    run.append("two")
    run.append("three")
    run.close()
    data = run.journal_path.read_bytes()
    assert data.count(old) == 1
    run.journal_path.write_bytes(data.replace(old, new))
    read: list[int] = []
    with pytest.raises(StorageError, match=rf"journal\.jsonl:{number}: the line is damaged"):
        read.extend(record["seq"] for record in RunDirectory(run.path).records())
    assert read == [*range(number - 1)]


@pytest.mark.parametrize("gone", [0, 1])
def test_a_line_that_was_taken_out_is_missed(run: RunDirectory, gone: int) -> None:
    run.append("one")
    run.append("two")
    run.append("three")
    run.close()
    left = [line for number, line in enumerate(lines(run)) if number != gone]
    run.journal_path.write_bytes(b"".join(line + b"\n" for line in left))
    with pytest.raises(StorageError, match=rf"journal\.jsonl:{gone + 1}: the line is damaged"):
        list(RunDirectory(run.path).records())


def test_a_run_at_work_cannot_be_opened_by_a_second_writer(run: RunDirectory) -> None:
    with pytest.raises(StorageError, match="at work in another process"):
        RunDirectory(run.path, write=True)
    run.close()
    RunDirectory(run.path, write=True).close()


def test_a_blob_is_named_after_its_sha256_and_stored_once(run: RunDirectory) -> None:
    digest = run.keep("код")
    assert digest == hashlib.sha256("код".encode()).hexdigest()
    assert run.keep("код") == digest
    assert sum(path.is_file() for path in run.blobs.folder.rglob("*")) == 1
    assert run.blobs.get(digest) == "код"
    run.close()


def test_a_changed_blob_is_found(run: RunDirectory) -> None:
    digest = run.keep("honest")
    run.blobs.path(digest).write_text("forged")
    with pytest.raises(StorageError, match="was changed after it was written"):
        run.blobs.get(digest)
    run.close()


def test_text_that_is_no_unicode_survives(run: RunDirectory) -> None:
    digest = run.keep("half a pair \ud83d")
    run.append("one", text="\ud83d")
    run.close()
    assert run.blobs.get(digest) == "half a pair \ud83d"
    assert next(RunDirectory(run.path).records())["text"] == "\ud83d"


def test_a_disk_that_fills_up_still_takes_the_reply_under_way(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reserve is given back and the same write tried again; real disks: test_crashes.py."""
    real_write = os.write

    def full_while_reserved(fd: int, data: bytes) -> int:
        if (run.path / "reserve").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return real_write(fd, data)

    monkeypatch.setattr(os, "write", full_while_reserved)
    run.append("call.finished", text="paid")
    assert run.disk_is_full
    monkeypatch.undo()
    assert [r["text"] for r in run.records()] == ["paid"]
    run.close()


def test_a_disk_without_any_space_is_an_error_that_tells_how_to_go_on(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StorageError, match=f"promptqueue resume {run.path}`"):
        run.append("one")
    monkeypatch.undo()
    run.close()


def no_space(fd: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_run_that_cannot_start_leaves_nothing_that_hides_the_one_before(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.close()

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(StorageError, match="--runs DIR"):
        create_run(run.path.parent, "tiny", {})
    assert [path.name for path in run.path.parent.glob("2*")] == [run.id]
    assert find_run(run.path.parent, None) == run.path


def test_a_run_is_on_the_disk_before_anything_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = set()
    monkeypatch.setattr(os, "fsync", lambda fd: synced.add(os.fstat(fd).st_ino))
    run = create_run(tmp_path / "runs", "tiny", {})
    run.close()
    for path in (run.path / "run.json", run.path, tmp_path / "runs"):
        assert path.stat().st_ino in synced, path


def test_find_run_takes_the_latest_a_part_of_a_name_or_a_path(tmp_path: Path) -> None:
    for name in ("20260101-000000-a-1111", "20260102-000000-b-2222"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text("{}")
    assert find_run(tmp_path, None).name == "20260102-000000-b-2222"
    assert find_run(tmp_path, "1111").name == "20260101-000000-a-1111"
    assert find_run(tmp_path, str(tmp_path / "20260101-000000-a-1111")).name.endswith("1111")
    with pytest.raises(UsageError, match="fits more than one run"):
        find_run(tmp_path, "000000")
    with pytest.raises(UsageError, match="there is no run 'zzz'"):
        find_run(tmp_path, "zzz")
    with pytest.raises(UsageError, match="there is no run in"):
        find_run(tmp_path / "none", None)


def test_runs_stay_out_of_git(run: RunDirectory) -> None:
    assert (run.path.parent / ".gitignore").read_text() == "*\n"
    run.close()


def test_a_blob_that_a_power_cut_left_empty_is_written_anew(run: RunDirectory) -> None:
    digest = run.keep("whole")
    run.blobs.path(digest).write_text("")
    assert run.keep("whole") == digest
    assert run.blobs.get(digest) == "whole"
    run.close()


@pytest.mark.parametrize("write", [True, False], ids=["who is refused", "who only reads"])
def test_the_reserve_is_that_of_the_one_at_work(run: RunDirectory, write: bool) -> None:
    with contextlib.suppress(StorageError):
        RunDirectory(run.path, write=write).close()
    assert (run.path / "reserve").stat().st_size >= 1 << 20
    run.close()
    assert not (run.path / "reserve").exists()


def test_a_run_that_could_not_be_opened_is_not_at_work(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.close()

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(StorageError, match="no space for a run"):
        RunDirectory(run.path, write=True)
    monkeypatch.undo()
    RunDirectory(run.path, write=True).close()
