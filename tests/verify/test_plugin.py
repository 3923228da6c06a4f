"""A contract under ordinary pytest, as the guide of packs has it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACK = Path(__file__).parents[1] / "packs" / "tiny"


STARTED = """
from promptqueue.verify.findings import CANDIDATE

def test_of_files(pytestconfig):
    candidate = pytestconfig.stash.get(CANDIDATE, None)
    assert (candidate and candidate.worker.process) is not None
"""


def contract(
    folder: Path, checks: Path = PACK / "checks" / "test_stats.py"
) -> subprocess.CompletedProcess[str]:
    command = [
        *(sys.executable, "-m", "pytest", "-p", "promptqueue.verify.plugin", "-q"),
        *("-c", "/dev/null", "--rootdir", str(PACK), "-p", "no:cacheprovider"),
        *("--candidate", str(folder), "--queue", str(PACK / "tiny.yaml")),
        *("--import-mode=importlib", str(checks)),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder.parent)


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """The reference in a folder that nobody else may enter, as a home often is."""
    folder = Path(shutil.copytree(PACK / "reference", tmp_path / "generated"))
    folder.chmod(0o700)
    return folder


def test_a_folder_as_it_is_can_be_judged(closed: Path) -> None:
    done = contract(closed)

    assert done.returncode == 0, done.stdout


def test_a_wrong_one_is_red(closed: Path) -> None:
    (closed / "stats.py").write_text("def mean(values):\n    return 1.5\nmedian = mean\n")

    done = contract(closed)

    assert done.returncode == 1, done.stdout


def test_the_worker_starts_before_the_first_test_if_another_has_questions(
    closed: Path, tmp_path: Path
) -> None:
    checks = tmp_path / "test_early.py"
    checks.write_text(STARTED + "def test_of_answers(candidate): pass\n")
    assert contract(closed, checks).returncode == 0

    checks.write_text(STARTED)
    assert contract(closed, checks).returncode == 1
