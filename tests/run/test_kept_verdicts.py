"""A verdict holds as long as the same files are judged by the same: else they are judged anew."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from promptqueue.queue.load import load_queue
from promptqueue.run.judge import contract_judge, key_of

PACK = Path(__file__).parents[1] / "packs" / "tiny"
TEXTS = {"stats.py": "def mean(values): ...\n"}


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PACK, tmp_path / "pack"))


def contract(pack: Path) -> str:
    return contract_judge(load_queue(pack / "tiny.yaml"), {}).contract


THIRD = """\
  - id: third
    task: Write third.py.
    outputs: [{path: third.py}]
"""


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("checks/test_stats.py", "rel=1e-9", "rel=1e-8"),
        ("checks/beside.py", "", "LIMIT = 3\n"),
        ("reference/stats.py", "/ 2", "/ 3"),
        ("tiny.yaml", "files: [report.json]", "files: [report.json, done.txt]"),
        ("tiny.yaml", "question: 5s", "question: 9s"),
        ("tiny.yaml", "", THIRD),
    ],
    ids=["check", "beside a check", "reference", "pipeline", "time of a question", "last step"],
)
def test_what_judges_otherwise_is_another_contract(
    pack: Path, name: str, old: str, new: str
) -> None:
    before = contract(pack)
    path = pack / name
    text = path.read_text() if path.exists() else ""
    assert old in text
    path.write_text(text.replace(old, new) if old else text + new)
    assert contract(pack) != before


@pytest.mark.parametrize(
    ("name", "text"), [("checks/NOTES.md", "Remarks.\n"), ("checks/__pycache__/a.pyc", "")]
)
def test_what_judges_nothing_is_no_part_of_the_contract(pack: Path, name: str, text: str) -> None:
    before = contract(pack)
    (pack / name).parent.mkdir(exist_ok=True)
    (pack / name).write_text(text)
    assert contract(pack) == before


def test_a_prompt_is_no_part_of_the_contract(pack: Path) -> None:
    before = contract(pack)
    queue = pack / "tiny.yaml"
    queue.write_text(queue.read_text().replace("task: |", "task: |\n      Please:"))
    assert contract(pack) == before


def test_a_verdict_is_on_a_step_its_files_and_its_inputs() -> None:
    queue = load_queue(PACK / "tiny.yaml").queue
    first, second = queue.steps
    other = {"stats.py": TEXTS["stats.py"] + "\n"}
    inputs = {"language": "en"}
    keys = {
        key_of(queue, step, texts, given)
        for step in (first, second)
        for texts in (TEXTS, other, TEXTS | {"report.py": ""})
        for given in ({}, inputs)
    }
    assert len(keys) == 12
    assert key_of(queue, first, dict(TEXTS), {}) == key_of(queue, first, TEXTS, {})
