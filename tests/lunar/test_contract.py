"""The lunar contract: green for what is right, red for exactly what is wrong."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from promptqueue.queue.inputs import resolve_inputs
from promptqueue.queue.load import LoadedQueue, load_queue
from promptqueue.verify.contract import Selection
from promptqueue.verify.gates import verify
from promptqueue.verify.report import Report
from tests.lunar.repeat import RIGHT, STYLES
from tests.lunar.sharpness import QUEUE, judged, requirements, sample, wrong
from tests.lunar.twins import Twin
from tests.lunar.twins_all import TWINS

pytestmark = pytest.mark.contract
SEED = 20261125
"""Chooses twins and other requirements, and is the challenge's; make sharpness takes fresh ones."""
EACH = 1
"""Twins of a requirement; make sharpness takes all of them, and all other requirements."""
OTHERS = 3
"""Requirements that a twin does not break, and that it is judged by nevertheless."""


def chosen() -> list[Twin]:
    """Return twins of every requirement."""
    shuffled = random.Random(SEED).sample(TWINS, len(TWINS))
    names = dict.fromkeys(twin.requirement for twin in TWINS)
    return [t for name in names for t in [t for t in shuffled if t.requirement == name][:EACH]]


@pytest.fixture(scope="module")
def queue() -> LoadedQueue:
    return load_queue(QUEUE)


def unmet(report: Report) -> Mapping[str, str]:
    return {
        each.id: f"{each.verdict}: {each.evidence}"
        for each in report.requirements
        if each.verdict != "met"
    }


@pytest.mark.parametrize("name", RIGHT)
def test_right_code_of_any_style_meets_every_requirement(queue: LoadedQueue, name: str) -> None:
    folder, language = RIGHT[name]

    inputs = resolve_inputs(queue.queue, [f"language={language}"])
    report = verify(queue, folder, inputs=inputs, seed=SEED)

    assert unmet(report) == {}, report.seed
    assert report.green, (report.gates, report.findings)


@pytest.mark.parametrize(
    ("drops", "verdict"), [("dropout=dropout_prob, ", "met"), ("", "not met")], ids=["yes", "no"]
)
def test_dropout_of_the_attention_is_dropout_in_the_blocks(
    queue: LoadedQueue, tmp_path: Path, drops: str, verdict: str
) -> None:
    """Neither norm nor MLP has any: the prompt says no more than `in the blocks`."""
    folder = Path(shutil.copytree(STYLES / "plain", tmp_path / "code"))
    text = (folder / "model.py").read_text("utf-8")
    block = text[text.index("class TransformerBlock") : text.index("class HybridModel")]
    bare = block.replace("nn.Dropout(dropout_prob)", "nn.Identity()")
    assert "dropout=dropout_prob, " in bare
    bare = bare.replace("dropout=dropout_prob, ", drops)
    (folder / "model.py").write_text(text.replace(block, bare), "utf-8")

    report = verify(queue, folder, selection=Selection(requirements=("dropout",)), seed=SEED)

    assert {each.id: each.verdict for each in report.asked} == {"dropout": verdict}


def test_a_block_may_be_written_into_the_forward_pass(queue: LoadedQueue, tmp_path: Path) -> None:
    """No module is a whole block then: attention is called with its input as three arguments."""
    folder = Path(shutil.copytree(STYLES / "plain", tmp_path / "code"))
    text = (folder / "model.py").read_text("utf-8")
    call = re.search(r"^( +)(\w+) = block\(\2\)\n", text, re.MULTILINE)
    assert call is not None
    indent, x = call.groups()
    lines = (
        f"h = block.norm1({x})",
        f"{x} = {x} + block.attention(h, h, h, need_weights=False)[0]",
        f"{x} = {x} + block.mlp(block.norm2({x}))",
    )
    whole = "".join(f"{indent}{line}\n" for line in lines)
    (folder / "model.py").write_text(text.replace(call.group(), whole), "utf-8")

    report = verify(queue, folder, selection=Selection(requirements=("transformer",)), seed=SEED)

    assert {each.id: each.verdict for each in report.asked} == {"transformer": "met"}


def test_every_requirement_has_a_twin(queue: LoadedQueue) -> None:
    assert set(requirements(queue)) == {twin.requirement for twin in TWINS}


@pytest.mark.parametrize("twin", chosen(), ids=lambda twin: twin.name)
def test_a_twin_fails_what_it_breaks_and_nothing_else(queue: LoadedQueue, twin: Twin) -> None:
    names = sample(twin, requirements(queue), OTHERS, SEED)

    verdicts, report = judged(twin, queue, names, SEED)

    assert wrong(twin, verdicts) == [], (SEED, unmet(report))


def test_every_twin_can_be_made(tmp_path: Path) -> None:
    for number, twin in enumerate(TWINS):
        copy = twin.make(tmp_path / str(number))
        compile((copy / twin.file).read_text("utf-8"), twin.name, "exec")


def test_a_twin_is_made_of_a_text_that_is_there_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0 times"):
        Twin("noise", "none", "images.py", "no such text", "").make(tmp_path)
