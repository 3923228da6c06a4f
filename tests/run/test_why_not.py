"""Why a run does not judge its steps: everything that is missing is named at once."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path

import pytest

from promptqueue.queue.load import load_queue
from promptqueue.run import judge
from promptqueue.run.judge import why_not

PACK = Path(__file__).parents[1] / "packs" / "tiny"


@pytest.mark.parametrize(
    ("absent", "words"),
    [
        (("ruff", "numpy"), r"^ruff, numpy missing: .*install .*\[verify\]'?$"),
        (("torch",), r"^its checks need torch, not installed here$"),
        (("ruff", "torch"), r"^ruff missing: .*; its checks need torch, not installed here$"),
    ],
    ids=["ours", "the pack's", "both"],
)
def test_all_packages_that_are_missing_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absent: tuple[str, ...], words: str
) -> None:
    pack = Path(shutil.copytree(PACK, tmp_path / "pack"))
    text = (pack / "tiny.yaml").read_text("utf-8")
    preload = "verify:\n  preload: [torch, torch.optim, json]\n"
    (pack / "tiny.yaml").write_text(text.replace("verify:\n", preload), "utf-8")
    there = importlib.util.find_spec("json")
    monkeypatch.setattr(judge, "find_spec", lambda name: None if name in absent else there)

    told = why_not(load_queue(pack / "tiny.yaml"))

    assert re.search(words, told), told
