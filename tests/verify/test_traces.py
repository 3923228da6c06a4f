"""What a verdict leads back to: the prompt's sentence, the lines that ran, a package."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from promptqueue.queue.inputs import resolve_inputs
from promptqueue.queue.load import LoadedQueue, load_queue
from promptqueue.queue.verification import Verification
from promptqueue.verify.candidate import Candidate
from promptqueue.verify.contract import Selection
from promptqueue.verify.gates import verify
from promptqueue.verify.report import Requirement
from promptqueue.verify.sandbox import open_sandbox
from promptqueue.verify.snapshot import Copy, take_snapshot
from promptqueue.verify.worker_process import WorkerProcess

pytestmark = pytest.mark.sandbox

PACKS = Path(__file__).parents[1] / "packs"
PROMPTS = Path(__file__).parents[2] / "prompts"
CHECKS = """
import pytest

@pytest.mark.requirement("mean")
@pytest.mark.about("stats.py", r"return .*len")
def test_mean(candidate, inputs, evidence):
    evidence(f"asked for in {inputs['language']}")
    assert candidate.ask("probes.mean", values=[1, 2])["mean"] == 99

@pytest.mark.requirement("median")
def test_median(candidate):
    candidate.ask("probes.median", values=[1, 2])
"""


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PACKS / "tiny", tmp_path / "pack"))


@pytest.fixture
def loaded(pack: Path) -> LoadedQueue:
    """The tiny pack with a wrong check of mean, and a language."""
    (pack / "checks" / "test_stats.py").write_text(CHECKS)
    text = (pack / "tiny.yaml").read_text()
    inputs = "inputs:\n  language: {type: str, choices: [ru, en], default: ru}\n"
    bullet = '{{ "среднее" if inputs.language == "ru" else "the average" }}'
    text = text.replace("defaults:", inputs + "defaults:").replace("mean(values) returns", bullet)
    (pack / "tiny.yaml").write_text(text)
    return load_queue(pack / "tiny.yaml")


def judged(loaded: LoadedQueue, folder: Path, language: str = "ru") -> dict[str, Requirement]:
    report = verify(
        loaded,
        folder,
        inputs=resolve_inputs(loaded.queue, [f"language={language}"]),
        selection=Selection(gates=("contract",)),
    )
    return {each.id: each for each in report.requirements}


def test_a_failed_check_points_at_the_line_that_it_is_about(
    loaded: LoadedQueue, pack: Path
) -> None:
    found = judged(loaded, pack / "reference")["mean"]
    lines = (pack / "reference" / "stats.py").read_text().splitlines()

    path, _, number = found.at.partition(":")
    assert (path, lines[int(number) - 1].strip()) == (
        "stats.py",
        "return sum(values) / len(values)",
    )


def test_an_import_is_no_line_to_look_at(loaded: LoadedQueue, pack: Path) -> None:
    imports = "from statistics import mean, median  # return sum / len\n"
    (pack / "reference" / "stats.py").write_text(imports)

    assert judged(loaded, pack / "reference")["mean"].at == "stats.py"


def test_the_lines_that_a_check_ran_are_told(loaded: LoadedQueue, pack: Path) -> None:
    report = verify(loaded, pack / "reference", selection=Selection(gates=("contract",)))
    ran = {name: check.reached for check in report.checks for name in check.requirements}

    # the function's own lines that [1, 2] leads through: no raise, no odd count, no module level
    assert ran["mean"] == ("stats.py:6,8",)
    assert ran["median"] == ("stats.py:13-15,17",)


@pytest.mark.parametrize(("language", "words"), [("ru", "среднее"), ("en", "the average")])
def test_the_prompts_sentence_is_that_of_the_language(
    loaded: LoadedQueue, pack: Path, language: str, words: str
) -> None:
    found = judged(loaded, pack / "reference", language)["mean"]

    assert found.sentence.startswith(words)
    assert found.evidence == f"asked for in {language}"
    name, _, number = found.sentence_at.partition(":")
    line = (pack / name).read_text().splitlines()[int(number) - 1]
    assert line.strip().startswith("- mean:")


def test_every_lunar_requirement_has_its_sentence() -> None:
    loaded = load_queue(PROMPTS / "lunar.yaml")
    for language in ("ru", "en"):
        inputs = resolve_inputs(loaded.queue, [f"language={language}"])
        report = verify(loaded, PROMPTS / "lunar" / "checks", inputs=inputs)

        assert report.requirements
        for each in report.requirements:
            name, _, number = each.sentence_at.partition(":")
            line = (PROMPTS / name).read_text().splitlines()[int(number) - 1]
            assert line.startswith(f"- {each.id}: "), each
            assert bool(re.search("[а-яё]", each.sentence)) == (language == "ru"), each


def test_only_the_checks_of_the_asked_requirements_run(pack: Path) -> None:
    loaded = load_queue(pack / "tiny.yaml")

    report = verify(loaded, pack / "reference", selection=Selection(requirements=["median"]))

    assert {each.id: each.verdict for each in report.requirements} == {
        "mean": "not verified",
        "median": "met",
        "report": "not verified",
    }


def test_a_package_is_judged_as_one(pack: Path) -> None:
    package = pack / "outer" / "inner"
    shutil.copytree(pack / "reference", package)
    (pack / "outer" / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "sums.py").write_text("def total(values):\n    return sum(values)\n")
    stats, report = package / "stats.py", package / "report.py"
    text = stats.read_text().replace("sum(values) /", "total(values) /")
    stats.write_text("from outer.inner.sums import total\n" + text)
    report.write_text(report.read_text().replace("from stats", "from outer.inner.stats"))

    found = verify(load_queue(pack / "tiny.yaml"), package)

    assert found.green, (found.gates, found.findings)
    assert {"sums.py", "stats.py"} <= found.files.keys()


def test_a_plain_folder_brings_only_what_is_declared(pack: Path) -> None:
    (pack / "reference" / "sums.py").write_text("x = 1\n")

    assert "sums.py" not in take_snapshot(pack / "reference", ["stats.py"]).texts


@pytest.fixture
def candidate(tmp_path: Path) -> Candidate:
    """Code and a probe that load tensors through worker processes, and leave a file behind."""
    folder = tmp_path / "code"
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "stats.py").write_text("")
    (tmp_path / "probes.py").write_text(
        "import os, torch\n"
        "def leave(candidate):\n"
        "    open('left', 'w').close()\n"
        "    return os.listdir('.')\n"
        "def load(candidate):\n"
        "    numbers = torch.arange(6, dtype=torch.bfloat16).reshape(6, 1)\n"
        "    data = torch.utils.data.TensorDataset(numbers, torch.zeros(6, 0))\n"
        "    loader = torch.utils.data.DataLoader(data, 2, num_workers=1)\n"
        "    return [[int(n) for n in batch[0]] + [*batch[1].shape] for batch in loader]\n"
    )
    settings = Verification(preload=("torch",))
    return Candidate(WorkerProcess(open_sandbox(), Copy(folder), settings), tmp_path, settings, 1)


def test_loaders_with_workers_work_although_sockets_are_shut(candidate: Candidate) -> None:
    with candidate:
        assert candidate.ask("probes.load") == [[0, 1, 2, 0], [2, 3, 2, 0], [4, 5, 2, 0]]


def test_no_question_finds_what_another_one_left(candidate: Candidate) -> None:
    with candidate:
        assert [candidate.ask("probes.leave") for _ in range(2)] == [["left"], ["left"]]
