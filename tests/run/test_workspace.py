"""Generated files are written whole, and nobody's edits are lost."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path

import pytest

from promptqueue.errors import StorageError
from promptqueue.run.workspace import Workspace

ORIGIN = {"step": "s", "turn": 0, "run": "r"}


def kept(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def opened(folder: Path, **options: bool) -> Workspace:
    return Workspace(folder, {"queue": "tiny"}, **options)


def test_a_file_is_written_and_entered_in_the_manifest(tmp_path: Path) -> None:
    space = opened(tmp_path / "out")
    with space.locked("r"):
        target, status, _ = space.write("sub/a.py", "x = 1\n", ORIGIN, kept)
    assert (target.read_text(), status) == ("x = 1\n", "new")
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    digest = hashlib.sha256(b"x = 1\n").hexdigest()
    assert manifest["files"] == {"sub/a.py": {"sha256": digest, **ORIGIN}}
    assert manifest["queue"] == "tiny"


def test_a_file_of_an_earlier_run_is_replaced(tmp_path: Path) -> None:
    for text, expected in (("x = 1\n", "new"), ("x = 1\n", "unchanged"), ("x = 2\n", "changed")):
        space = opened(tmp_path)
        with space.locked("r"):
            assert space.hand_edited(["a.py"]) == []
            assert space.write("a.py", text, ORIGIN, kept)[1] == expected
    assert (tmp_path / "a.py").read_text() == "x = 2\n"


def test_what_a_killed_run_wrote_before_the_manifest_is_no_edit(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    space = opened(tmp_path)
    with space.locked("r"):
        assert space.hand_edited(["a.py"]) == ["a.py"]
        space.recognise(lambda digest: digest == hashlib.sha256(b"x = 1\n").hexdigest())
        assert space.hand_edited(["a.py"]) == []
        assert space.write("a.py", "x = 2\n", ORIGIN, kept)[1] == "changed"


@pytest.mark.parametrize("manifest", ["kept", "lost", "damaged"])
def test_a_file_edited_by_hand_is_left_alone(tmp_path: Path, manifest: str) -> None:
    space = opened(tmp_path)
    with space.locked("r"):
        space.write("a.py", "x = 1\n", ORIGIN, kept)
    (tmp_path / "a.py").write_text("x = 'mine'\n")
    if manifest == "lost":
        (tmp_path / "manifest.json").unlink()
    elif manifest == "damaged":
        (tmp_path / "manifest.json").write_text("{")
    space = opened(tmp_path)
    with space.locked("r"):
        assert space.hand_edited(["a.py", "b.py"]) == ["a.py"]
        target, status, _ = space.write("a.py", "x = 2\n", ORIGIN, kept)
    assert (tmp_path / "a.py").read_text() == "x = 'mine'\n"
    assert (target.name, target.read_text(), status) == ("a.py.new", "x = 2\n", "aside")


def test_what_somebody_made_of_the_text_beside_is_kept(tmp_path: Path) -> None:
    kept_texts: list[bytes] = []

    def keep(data: bytes) -> str:
        kept_texts.append(data)
        return kept(data)

    (tmp_path / "a.py").write_text("x = 'mine'\n")
    space = opened(tmp_path)
    with space.locked("r"):
        olds = [space.write("a.py", f"x = {n}\n", ORIGIN, keep).old for n in (1, 2)]
        (tmp_path / "a.py.new").write_text("x = 'merged'\n")
        olds += [space.write("a.py", f"x = {n}\n", ORIGIN, keep).old for n in (3, 3)]
    assert kept_texts == [b"x = 'merged'\n"]
    assert olds == ["", "", hashlib.sha256(b"x = 'merged'\n").hexdigest(), ""]
    assert (tmp_path / "a.py.new").read_text() == "x = 3\n"


def test_a_queue_file_whose_name_is_no_text_is_named_in_the_manifest(tmp_path: Path) -> None:
    name = os.fsdecode("запуск-".encode() + b"caf\xe9.yaml")
    space = Workspace(tmp_path, {"queue_file": name})
    with space.locked("r"):
        space.write("a.py", "x = 1\n", ORIGIN, kept)
    written = (tmp_path / "manifest.json").read_text("utf-8")
    assert json.loads(written)["queue_file"] == name
    assert "запуск" in written


def test_overwrite_replaces_an_edited_file_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 'mine'\n")
    space = opened(tmp_path, overwrite=True)
    with space.locked("r"):
        assert space.write("a.py", "x = 2\n", ORIGIN, kept)[1] == "replaced"
    assert (tmp_path / "a.py").read_text() == "x = 2\n"


def test_a_second_run_in_the_same_workspace_is_refused_and_the_first_is_named(
    tmp_path: Path,
) -> None:
    with (
        opened(tmp_path).locked("run-one"),
        pytest.raises(StorageError, match=rf"in use by run-one \(process {os.getpid()}\).*--out"),
        opened(tmp_path).locked("run-two"),
    ):
        pass
    with opened(tmp_path).locked("run-three"):
        pass


def test_a_link_that_leads_out_of_the_workspace_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/sub").symlink_to(tmp_path / "elsewhere")
    space = opened(tmp_path / "out")
    with space.locked("r"), pytest.raises(StorageError, match="leads out of"):
        space.write("sub/a.py", "x = 1\n", ORIGIN, kept)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_linked_file_is_replaced_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.py").symlink_to(victim)
    space = opened(tmp_path / "out", overwrite=True)
    with space.locked("r"):
        space.write("a.py", "x = 1\n", ORIGIN, kept)
    assert victim.read_text() == "precious"
    assert (tmp_path / "out/a.py").read_text() == "x = 1\n"
    assert not (tmp_path / "out/a.py").is_symlink()


@pytest.mark.parametrize("obstacle", ["file", "directory in the way"])
def test_a_target_that_cannot_be_written_is_a_short_error(tmp_path: Path, obstacle: str) -> None:
    out = tmp_path / "out"
    if obstacle == "file":
        out.write_text("I am a file")
        with (
            pytest.raises(StorageError, match=r"cannot be written.*--out"),
            opened(out).locked("r"),
        ):
            pass
        return
    (out / "a.py").mkdir(parents=True)
    space = opened(out)
    with space.locked("r"), pytest.raises(StorageError, match="cannot be written"):
        space.write("a.py", "x", ORIGIN, kept)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_a_short_error(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(StorageError, match="--out"), opened(tmp_path / "out").locked("r"):
        pass


def test_a_file_that_lost_most_of_its_lines_is_marked_until_it_is_whole_again(
    tmp_path: Path,
) -> None:
    whole, rest = "x = 1\n" * 40, "x = 1\n" * 10
    marks = []
    for text in (whole, rest, rest, whole):
        space = opened(tmp_path)
        with space.locked("r"):
            space.write("a.py", text, ORIGIN, kept)
        files = json.loads((tmp_path / "manifest.json").read_text())["files"]
        marks.append(files["a.py"].get("shrunk_from"))
    assert marks == [None, 40, 40, None]
