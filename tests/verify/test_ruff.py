"""ruff over hostile files: what it finds is told, and no more than anybody reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptqueue.errors import UsageError
from promptqueue.verify import ruff
from promptqueue.verify.ruff import ruff_findings


def told(folder: Path) -> list[tuple[str, int, str, str]]:
    return [(each.path, each.line, each.rule, each.severity) for each in ruff_findings(folder)]


def test_what_is_wrong_is_told_by_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "b.py").write_text("import os\n\nnothing\n")
    (tmp_path / "a.py").write_text("def f(:\n")

    found = told(tmp_path)

    assert {(path, severity) for path, _, _, severity in found if path == "a.py"} == {
        ("a.py", "error")
    }
    assert ("b.py", 1, "F401", "warning") in found
    assert ("b.py", 3, "F821", "error") in found
    assert found == sorted(found)


@pytest.mark.parametrize(
    ("line", "severity"), [("a", "error"), ("import a", "warning"), ("def f(:", "error")]
)
def test_more_than_anybody_reads_is_one_finding(tmp_path: Path, line: str, severity: str) -> None:
    (tmp_path / "a.py").write_text(f"{line}\n" * 3000 + "x = nothing\n")

    found = [*ruff_findings(tmp_path)]

    assert [each.message for each in found if not each.path and each.severity == severity] == [
        "too many problems: 1,000 are told, and there are more"
    ]
    assert len(found) <= 2002
    assert severity == "error" or "Undefined name `nothing`" in {each.message for each in found}


def test_a_problem_of_great_length_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ruff, "_MOST_BYTES", 1000)
    (tmp_path / "a.py").write_text("a\n" * 20)

    found = [*ruff_findings(tmp_path)]

    assert len(found) < 20
    assert "too many problems" in found[-1].message


def test_ruff_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ruff").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "ruff").chmod(0o755)
    monkeypatch.setattr(ruff, "_ruff", lambda: str(tmp_path / "ruff"))
    monkeypatch.setattr(ruff, "_TIME_S", 0.2)

    assert [each.message for each in ruff_findings(tmp_path)] == [
        "the files keep ruff busy for more than 0.2 s"
    ]


def test_ruff_that_fails_is_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ruff").write_text("#!/bin/sh\necho no such rule >&2\nexit 2\n")
    (tmp_path / "ruff").chmod(0o755)
    monkeypatch.setattr(ruff, "_ruff", lambda: str(tmp_path / "ruff"))

    with pytest.raises(UsageError, match="ruff failed: no such rule"):
        [*ruff_findings(tmp_path)]
