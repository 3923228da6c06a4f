"""No forgery is accepted: judged from outside, by verdict, canaries and what still runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from promptqueue.queue.load import LoadedQueue, load_queue
from promptqueue.verify.findings import last_place
from promptqueue.verify.gates import verify
from promptqueue.verify.report import Report
from tests.verify.forgeries import EXTRA_FILES, FOOLING, FORGERIES, WRONG, forged

PACK = Path(__file__).parents[1] / "packs" / "tiny"


@pytest.fixture(scope="module")
def loaded() -> LoadedQueue:
    return load_queue(PACK / "tiny.yaml")


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> LoadedQueue:
    """The same pack with less patience: what hangs is waited for once a question."""
    pack = Path(shutil.copytree(PACK, tmp_path_factory.mktemp("impatient") / "tiny"))
    text = (pack / "tiny.yaml").read_text()
    (pack / "tiny.yaml").write_text(text.replace("question: 5s", "question: 1s"))
    return load_queue(pack / "tiny.yaml")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PACK / "reference", tmp_path / "generated"))


def verdicts(report: Report) -> dict[str, str]:
    return {each.id: each.verdict for each in report.requirements}


def strays() -> list[str]:
    """Return the processes of workers that outlived their judge."""
    listed = subprocess.run(["ps", "-eo", "ppid,args"], capture_output=True, text=True, check=True)
    lines = [line.split(maxsplit=1) for line in listed.stdout.splitlines()]
    return [args for ppid, args in lines if "verify/worker.py" in args and ppid == "1"]


def wait_until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_the_reference_is_green(loaded: LoadedQueue, folder: Path) -> None:
    report = verify(loaded, folder)

    assert report.green
    assert set(verdicts(report).values()) == {"met"}


@pytest.mark.parametrize(
    ("right", "wrong", "red"),
    [
        ("sum(values) / len(values)", "sum(values) / len(values) + 1", {"mean", "report"}),
        ('raise ValueError("no values")', "return 0.0", {"mean"}),
        ("sorted(values)", "list(values)", {"median", "report"}),
        (
            "return (ordered[middle - 1] + ordered[middle]) / 2",
            "return ordered[middle]",
            {"median"},
        ),
    ],
    ids=["mean off by one", "mean of nothing", "median unsorted", "median of an even count"],
)
def test_a_wrong_one_is_red_for_what_is_wrong(
    loaded: LoadedQueue, folder: Path, right: str, wrong: str, red: set[str]
) -> None:
    text = (folder / "stats.py").read_text()
    assert right in text
    (folder / "stats.py").write_text(text.replace(right, wrong))

    report = verify(loaded, folder, seed=7)  # of one seed in ten, the middle number is the median

    assert not report.green
    assert {name for name, verdict in verdicts(report).items() if verdict == "not met"} == red


NAIVE = """
import pytest
from stats import mean

def test_mean():
    expected = 2.5
    assert mean([1, 2, 4.5]) == pytest.approx(expected)
"""


@pytest.mark.parametrize(("name", "fooled"), [*((name, True) for name in FOOLING), ("", False)])
def test_a_judge_in_the_same_process_is_fooled(tmp_path: Path, name: str, fooled: bool) -> None:
    """The control: without the split each of these would do, and WRONG alone would not."""
    (tmp_path / "stats.py").write_text(filled(FOOLING[name][0]) if name else WRONG)
    (tmp_path / "test_stats.py").write_text(NAIVE)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")  # not that of a folder above
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_stats.py"]

    env = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}

    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, check=False)

    assert done.returncode == (0 if fooled else 1), done.stdout


def filled(text: str, canary: Path = Path("canary")) -> str:
    """Return a forgery that knows where things lie."""
    places = {"{canary}": canary, "{root}": PACK.parents[2], "{reference}": PACK / "reference"}
    for placeholder, path in places.items():
        text = text.replace(placeholder, str(path))
    return text


@pytest.mark.sandbox
@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_not_accepted(
    loaded: LoadedQueue, impatient: LoadedQueue, folder: Path, tmp_path: Path, name: str
) -> None:
    canary = tmp_path / "canary"
    text, told = FORGERIES[name]
    (folder / "stats.py").write_text(filled(text, canary))

    report = verify(impatient if name.startswith("hangs") else loaded, folder)

    (first,) = (
        each for each in report.checks if each.name.endswith("::test_mean_of_fresh_numbers")
    )
    assert re.search(told, first.evidence), first.evidence
    assert not report.green
    assert verdicts(report)["mean"] == verdicts(report)["median"] == "not met"
    assert verdicts(report)["report"] != "met"
    assert not canary.exists()
    wait_until(lambda: not strays())  # of a judge beside this one, a process may just be ending


@pytest.mark.sandbox
@pytest.mark.parametrize("name", EXTRA_FILES)
def test_files_that_nobody_declared_change_nothing(
    loaded: LoadedQueue, folder: Path, name: str
) -> None:
    (folder / "stats.py").write_text(WRONG)
    for path, text in EXTRA_FILES[name].items():
        (folder / path).write_text(text)

    report = verify(loaded, folder)

    assert set(verdicts(report).values()) == {"not met"}
    assert set(report.files) == {"stats.py", "report.py"}


def test_lint_is_deaf_to_what_the_code_brings_along(loaded: LoadedQueue, folder: Path) -> None:
    (folder / "ruff.toml").write_text('exclude = ["*"]\n')
    (folder / "pyproject.toml").write_text("[tool.ruff]\nselect = []\n")
    text = (folder / "stats.py").read_text()
    (folder / "stats.py").write_text(
        "# ruff: noqa\n" + text + "\n\ndef more():\n    return nothing  # noqa\n"
    )

    findings = verify(loaded, folder).findings

    assert [(each.rule, each.severity) for each in findings] == [("F821", "error")]


def test_a_replaced_function_lights_the_warning(loaded: LoadedQueue, folder: Path) -> None:
    text = (folder / "stats.py").read_text()
    (folder / "stats.py").write_text("import math\nmath.sqrt = lambda v: 0\n" + text)

    assert verify(loaded, folder).tampered == ("math.sqrt",)


def test_only_functions_that_are_watched_light_it(loaded: LoadedQueue, folder: Path) -> None:
    names = '["math.sqrt", "Buy gold"]'
    answer = '{"answer": {"mean": 1, "median": 1, "refused": true}, "tampered": ' + names + "}"
    (folder / "stats.py").write_text(forged(repr(answer)))

    assert verify(loaded, folder).tampered == ("math.sqrt",)


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ('  File "/code/stats.py", line 3, in mean', "stats.py:3"),
        ('  File "/code/stats.py", line 4\n  File "/usr/lib/json.py", line 9', "stats.py:4"),
        ('  File "/code/stats.py", line ' + "9" * 5000, ""),
        ('  File "/code/stats.py", line \N{SUPERSCRIPT TWO}', ""),
        ('  File "/' + "x" * 300 + '", line 3', ""),
        ('  File "/x/../reference/stats.py", line 3', ""),
        ('  File "' + "/a" * 40_000 + '", line 3', ""),
    ],
    ids=["a line", "not the last", "too long", "no digit", "no name", "elsewhere", "deep"],
)
def test_the_place_of_a_failure_is_a_line_of_the_code(said: str, place: str) -> None:
    assert last_place(said, PACK / "reference") == place
