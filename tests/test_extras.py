"""The way to the optional parts: a command for this interpreter, from the package's source."""

from __future__ import annotations

import json
import shlex
import sys
from importlib import metadata
from pathlib import Path

import pytest

from promptqueue import extras


def installed_from(monkeypatch: pytest.MonkeyPatch, record: dict[str, object] | None) -> None:
    class Installed:
        def read_text(self, name: str) -> str | None:
            return json.dumps(record) if record and name == "direct_url.json" else None

    monkeypatch.setattr(metadata, "distribution", lambda name: Installed())


@pytest.mark.parametrize(
    ("record", "source"),
    [
        (None, "promptqueue-conveyor[ray,verify]"),
        (
            {"url": "file:///a/my%20tool", "dir_info": {"editable": True}},
            "-e /a/my tool[ray,verify]",
        ),
        ({"url": "file:///a/tool", "dir_info": {}}, "/a/tool[ray,verify]"),
        ({"url": "file:///a/t.whl", "archive_info": {}}, "promptqueue-conveyor[ray,verify]"),
    ],
)
def test_extras_come_from_where_the_package_came(
    monkeypatch: pytest.MonkeyPatch, record: dict[str, object] | None, source: str
) -> None:
    installed_from(monkeypatch, record)

    command = shlex.split(extras.install_command("ray", "verify"))

    assert command[1:4] == ["-m", "pip", "install"]
    assert " ".join(command[4:]) == source


def test_paths_below_the_folder_are_short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installed_from(monkeypatch, {"url": tmp_path.as_uri(), "dir_info": {"editable": True}})
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv/bin/python"))
    monkeypatch.chdir(tmp_path)

    assert extras.install_command("lunar") == (".venv/bin/python -m pip install -e '.[lunar]'")
