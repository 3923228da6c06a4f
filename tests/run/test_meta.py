"""run.json: what is no run of this version is refused by name."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from promptqueue.errors import StorageError
from promptqueue.run.meta import read_meta, write_meta

META: Mapping[str, Any] = {
    "promptqueue": 1,
    "queue": {"name": "tiny", "path": "/q.yaml", "digest": "d"},
    "inputs": {},
    "out": "/out",
    "model": None,
    "endpoint": {"name": "url", "base_url": None},
    "versions": {"promptqueue": "0.1.0"},
}


def test_what_was_written_is_read_although_a_folder_has_a_name_that_is_no_text(
    tmp_path: Path,
) -> None:
    meta = {**META, "out": os.fsdecode(b"caf\xe9"), "more": 1}
    write_meta(tmp_path, meta)
    assert read_meta(tmp_path) == meta


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot be read: Expecting value"),
        (b"\xff\x00", "cannot be read: 'utf-8'"),
        (b"[]", "holds no mapping"),
        (json.dumps({**META, "promptqueue": 2}).encode(), "of version 2, and this .* knows 1"),
        (json.dumps({**META, "queue": {"name": "a"}}).encode(), "say queue.path, queue.digest;"),
        (json.dumps({**META, "endpoint": None}).encode(), "say endpoint.name, endpoint.base_url;"),
    ],
    ids=["empty", "binary", "a list", "another version", "half a queue", "no endpoint"],
)
def test_what_cannot_be_used_is_said_with_the_way_out(
    tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(StorageError, match=rf"run\.json .*{words}.*start a new run"):
        read_meta(tmp_path)


def test_a_run_json_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"run\.json cannot be read: No such file"):
        read_meta(tmp_path)
