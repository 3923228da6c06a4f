"""A check graded `outcome` depends on fresh input: what was right for another seed is no answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lunar.repeat import STYLES
from tests.lunar.sharpness import QUEUE
from tests.lunar.twins import REFERENCE, ROOT

pytestmark = pytest.mark.contract
SEEDS = (20261125, 20261201)
"""Of the replies, and of the questions: two of which no number of classes, say, is the same."""
CHECKS = ROOT / "prompts" / "lunar" / "checks"
PACKS = {
    "lunar": (QUEUE, REFERENCE, sorted({*CHECKS.glob("test_*.py")} - {CHECKS / "test_parts.py"})),
    "lunar-fine": (
        ROOT / "prompts" / "lunar-fine.yaml",
        STYLES / "fine",
        [CHECKS / "test_parts.py"],
    ),
}
"""Name to queue, right code, and checks."""


@pytest.mark.parametrize("name", PACKS)
def test_replies_of_another_seed_meet_no_check_graded_outcome(name: str, tmp_path: Path) -> None:
    honest, repeated = (judged(name, seed, tmp_path) for seed in SEEDS)

    assert {each["outcome"] for each in honest.values()} == {"passed"}
    assert {each["name"] for each in repeated.values()} == {*honest}
    assert not [name for name, each in repeated.items() if "nothing was kept" in each["evidence"]]
    fooled = [
        name
        for name, each in repeated.items()
        if each["grade"] == "outcome" and each["outcome"] == "passed"
    ]
    assert fooled == []


def judged(name: str, seed: int, folder: Path) -> dict[str, dict[str, str]]:
    """Return what each check found; replies are kept, or those that were kept are taken."""
    queue, code, checks = PACKS[name]
    findings = folder / f"{seed}.jsonl"
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-p", "promptqueue.verify.plugin"),
        *("-p", "tests.lunar.kept_replies", "-m", "requirement", "--candidate", str(code)),
        *("--queue", str(queue), "--inputs", '{"language": "en"}', "--findings", str(findings)),
        *("--challenge-seed", str(seed), *map(str, checks)),
    ]
    environment = os.environ | {"KEPT": str(folder / "kept"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = map(json.loads, findings.read_text("utf-8").splitlines())
    return {
        each["name"]: each for each in found if "name" in each and each["evidence"] != "not run"
    }
