"""Bad code and bad contracts: each a verdict in words that name what was found and where."""

from __future__ import annotations

import re
import shutil
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from promptqueue.errors import IsolationError, UsageError
from promptqueue.queue.load import LoadedQueue, load_queue
from promptqueue.queue.verification import Verification
from promptqueue.verify.candidate import Candidate
from promptqueue.verify.contract import Selection
from promptqueue.verify.gates import verify
from promptqueue.verify.report import Report
from promptqueue.verify.sandbox import open_sandbox
from promptqueue.verify.snapshot import Copy
from promptqueue.verify.worker_process import WorkerProcess

pytestmark = pytest.mark.sandbox

PACK = Path(__file__).parents[1] / "packs" / "tiny"


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PACK, tmp_path / "pack"))


@pytest.fixture
def loaded(pack: Path) -> LoadedQueue:
    text = (pack / "tiny.yaml").read_text().replace("question: 5s", "question: 2s")
    (pack / "tiny.yaml").write_text(text)
    return load_queue(pack / "tiny.yaml")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PACK / "reference", tmp_path / "generated"))


def errors(report: Report, gate: str) -> list[str]:
    return [
        f"{each.at}: {each.message}"
        for each in report.findings
        if each.gate == gate and each.severity == "error"
    ]


def verdicts(report: Report) -> dict[str, str]:
    return {each.id: each.verdict for each in report.requirements}


def test_an_empty_folder_is_judged_without_running_anything(
    loaded: LoadedQueue, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()

    report = verify(loaded, tmp_path / "empty")

    assert errors(report, "files") == [
        "stats.py: is missing, although the queue declares it",
        "report.py: is missing, although the queue declares it",
    ]
    assert (report.isolation, report.gates["import"]) == (None, "not run: no file can be judged")
    assert not report.green


def test_each_verdict_has_a_seed_of_its_own(loaded: LoadedQueue, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    assert len({verify(loaded, tmp_path / "empty").seed for _ in range(3)}) == 3


def test_code_that_changes_when_the_seed_is_known_is_judged_as_it_was(
    loaded: LoadedQueue, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told_to_the_code() -> int:
        (folder / "stats.py").write_text("def mean(values):\n    return 1.5\nmedian = mean\n")
        return 7

    monkeypatch.setattr("promptqueue.verify.gates.fresh_seed", told_to_the_code)

    report = verify(loaded, folder)

    assert report.green
    assert report.seed == 7
    assert "return 1.5" in (folder / "stats.py").read_text()


def test_a_file_that_does_not_parse_stops_only_what_needs_it(
    loaded: LoadedQueue, folder: Path
) -> None:
    (folder / "report.py").write_text("import stats\nthis is no code\n")

    report = verify(loaded, folder)

    assert errors(report, "parse") == [
        "report.py:2: does not parse: invalid syntax, in `this is no code`"
    ]
    assert verdicts(report) == {"mean": "met", "median": "met", "report": "not met"}


def test_names_signatures_and_placeholders_are_told_in_one_go(
    loaded: LoadedQueue, folder: Path
) -> None:
    (folder / "stats.py").write_text("def mean(numbers):\n    # ... rest of the code\n    pass\n")

    report = verify(loaded, folder)

    assert errors(report, "outputs") == [
        "stats.py: defines no median, although the queue declares it",
        "stats.py:1: mean: it takes no 'values'; it needs 'numbers', which nobody gives it",
    ]
    assert errors(report, "placeholders") == [
        "stats.py:2: a comment stands where code should be: # ... rest of the code"
    ]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = 1 / 0\n", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
        ("import os\nos._exit(3)\n", "importing stats, the process exited with 3"),
        ("import os\nos.abort()\n", "importing stats, the process was ended by SIGABRT"),
        ("while True: pass\n", "importing stats did not end within 2 s"),
        ("x = bytearray(3 << 30)\n", "MemoryError"),
        ("import socket\nsocket.socket()\n", "PermissionError"),
        ("print('x' * 20_000_000)\n", "output"),
        ("open('/etc/shadow').read()\n", "[Errno"),
        ("open('/code/stats.py', 'w')\n", "Read-only file system"),
        ("import os\nwhile True:\n    os.fork()\n", "Resource temporarily unavailable"),
        ("open('/scratch/big', 'wb').write(bytes(64 << 20))\n", "File too large"),
    ],
    ids=lambda value: value.splitlines()[-1][:30],
)
def test_a_module_that_misbehaves_is_told_by_what_it_did(
    loaded: LoadedQueue, folder: Path, code: str, words: str
) -> None:
    text = (folder / "stats.py").read_text()
    (folder / "stats.py").write_text(code + text)
    begin = time.monotonic()

    report = verify(loaded, folder)

    assert any(words in each for each in errors(report, "import")), errors(report, "import")
    assert not report.green
    assert set(verdicts(report).values()) == {"not met"}
    assert time.monotonic() - begin < 60, "a generous bound: its own limits end it long before"


@pytest.mark.parametrize(
    "code",
    ["", "import os\nif os.fork() == 0:\n    os.setsid()\n    while True:\n        pass\n"],
    ids=["alone", "with a daemon"],
)
def test_a_worker_with_threads_of_its_own_goes_on(folder: Path, tmp_path: Path, code: str) -> None:
    """The threads that torch starts have numbers, too; those are no strays to be killed."""
    (tmp_path / "probes.py").write_text(
        "def mean(candidate):\n    return candidate.stats.mean([2])\n"
    )
    text = (folder / "stats.py").read_text()
    (folder / "stats.py").write_text(code + text)
    folder.chmod(0o755)
    settings = Verification(preload=("torch",))

    worker = WorkerProcess(open_sandbox(), Copy(folder), settings)
    with Candidate(worker, tmp_path, settings, seed=1) as candidate:
        answers = [candidate.ask("probes.mean") for _ in range(3)]

    assert answers == [2.0, 2.0, 2.0]


def test_a_module_that_hangs_costs_its_time_once(loaded: LoadedQueue, folder: Path) -> None:
    (folder / "stats.py").write_text("while True:\n    pass\n")

    report = verify(loaded, folder)

    told = [check.evidence for check in report.checks if check.gate == "contract"]
    assert sum("did not end within" in text for text in told) == len(told) - 1  # report.py's is own
    assert any("ImportError: importing stats did not end within 2 s" in text for text in told)


def test_a_module_that_fails_because_of_another_is_no_second_finding(
    loaded: LoadedQueue, folder: Path
) -> None:
    (folder / "stats.py").write_text("import no_such_package\n")

    findings = verify(loaded, folder).findings

    told = [(each.at, each.message) for each in findings if each.gate == "import"]
    words = "ModuleNotFoundError: No module named 'no_such_package'"
    assert told == [("stats.py:1", words)]


def test_a_name_that_another_file_defines_is_told_with_it(
    loaded: LoadedQueue, folder: Path
) -> None:
    (folder / "report.py").write_text("found = [mean, nothing]\n")

    told = errors(verify(loaded, folder), "ruff")

    assert any(each.endswith("Undefined name `mean`, which stats.py defines") for each in told)
    assert any(each.endswith("Undefined name `nothing`") for each in told)


def test_what_reading_finds_is_told_before_the_code_runs(
    loaded: LoadedQueue, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "stats.py").write_text("mean = nothing\n")
    told: list[str] = []

    def refuse(_: str) -> None:
        raise IsolationError("here nothing runs")

    monkeypatch.setattr("promptqueue.verify.gates.open_sandbox", refuse)
    with pytest.raises(IsolationError, match="here nothing runs"):
        verify(loaded, folder, watch=lambda found: told.extend(each.message for each in found))

    assert "Undefined name `nothing`" in told


@pytest.mark.parametrize("value", ["float('nan')", "float('inf')"])
def test_an_answer_that_is_not_finite_is_told(
    loaded: LoadedQueue, folder: Path, value: str
) -> None:
    (folder / "stats.py").write_text(f"def mean(values):\n    return {value}\nmedian = mean\n")

    report = verify(loaded, folder)
    (mean, *_) = report.requirements

    assert mean.verdict == "not met"
    told = {check.evidence for check in report.checks if check.requirements == ("mean",)}
    assert "the answer has numbers that are not finite (NaN or infinity)" in told
    # what was measured tells more than what gave no answer
    assert mean.evidence == "[] was accepted"


def test_the_same_code_and_seed_give_the_same_report(loaded: LoadedQueue, folder: Path) -> None:
    """Although it tells an address, a temporary name and, of questions, a random number."""
    number = "random.random() if len(values) < 11 else 0"  # a program has 11 numbers
    words = f"raise ValueError(f'{{object()}} {{tempfile.mktemp(dir=\".\")}} {{{number}}}')"
    text = f"import random\nimport tempfile\ndef mean(values):\n    {words}\nmedian = mean\n"
    (folder / "stats.py").write_text(text)

    first, second = (asdict(verify(loaded, folder, seed=3)) for _ in range(2))

    assert first == second
    assert re.search(r"<object object> \S*tmp 0\.", first["requirements"][0]["evidence"])


@pytest.mark.parametrize("isolation", ["bwrap", "landlock"])
def test_where_the_code_ran_is_no_part_of_the_report(
    loaded: LoadedQueue, folder: Path, isolation: str
) -> None:
    wrong = (
        "import pathlib\n\n\ndef mean(values):\n    raise ValueError(pathlib.Path('x').resolve())"
    )
    (folder / "stats.py").write_text(wrong + "\n\n\ndef median(values):\n    return 1.0\n")

    one, other = (
        verify(loaded, folder, seed=7, isolation=isolation).requirements[0] for _ in range(2)
    )

    assert one.evidence == other.evidence
    assert "…" in one.evidence


def test_a_check_that_breaks_is_an_error_and_no_verdict(pack: Path, folder: Path) -> None:
    path = pack / "checks" / "test_stats.py"
    text = path.read_text()
    path.write_text(
        text.replace('    evidence("ValueError', '    {}["x"]\n    evidence("ValueError')
    )

    report = verify(load_queue(pack / "tiny.yaml"), folder)

    assert verdicts(report)["mean"] == "error"
    (mean, *_) = report.requirements
    assert mean.evidence == "KeyError: 'x'"
    assert not report.green


def test_a_skipped_check_verifies_nothing(pack: Path, folder: Path) -> None:
    path = pack / "checks" / "test_stats.py"
    text = path.read_text().replace(
        "    values = numbers(challenge, count)", '    pytest.skip("no")'
    )
    path.write_text(text)

    report = verify(load_queue(pack / "tiny.yaml"), folder)

    assert verdicts(report) == {"mean": "met", "median": "not verified", "report": "met"}
    assert not report.green


@pytest.mark.parametrize(
    "selection", [Selection(keyword="test_mean_of_fresh"), Selection(first_only=True)], ids=str
)
def test_a_requirement_is_not_met_by_half_of_its_checks(
    loaded: LoadedQueue, folder: Path, selection: Selection
) -> None:
    text = (folder / "stats.py").read_text()
    (folder / "stats.py").write_text(text.replace('raise ValueError("no values")', "return 0.0"))

    report = verify(loaded, folder, selection=selection)

    assert verdicts(report)["mean"] != "met"
    assert verdicts(report)["median"] == "not verified"


def test_more_findings_than_anyone_reads_hide_no_error(loaded: LoadedQueue, folder: Path) -> None:
    text = (folder / "stats.py").read_text()
    (folder / "stats.py").write_text("import a\n" * 12_000 + text + "\nx = nothing\n")

    assert "Undefined name `nothing`" in "".join(errors(verify(loaded, folder), "ruff"))


def test_a_contract_that_cannot_be_collected_is_named(pack: Path, folder: Path) -> None:
    (pack / "checks" / "test_stats.py").write_text("import no_such_module_of_the_pack\n")

    with pytest.raises(UsageError, match="no_such_module_of_the_pack"):
        verify(load_queue(pack / "tiny.yaml"), folder)


def test_a_preload_that_is_not_installed_is_named(pack: Path, folder: Path) -> None:
    text = (pack / "tiny.yaml").read_text()
    (pack / "tiny.yaml").write_text(text.replace("verify:", "verify:\n  preload: [no_such_module]"))

    report = verify(load_queue(pack / "tiny.yaml"), folder)

    assert verdicts(report)["mean"] == "error"
    assert "not installed: no_such_module" in report.requirements[0].evidence


def test_what_fails_when_a_check_is_over_counts(pack: Path, folder: Path) -> None:
    path = pack / "checks" / "test_stats.py"
    late = "@pytest.fixture\ndef late():\n    yield\n    assert False, 'too late'\n\n\n"
    text = path.read_text().replace("(candidate, evidence)", "(candidate, evidence, late)")
    path.write_text(text.replace("@pytest.mark", late + "@pytest.mark", 1))

    report = verify(load_queue(pack / "tiny.yaml"), folder)

    assert verdicts(report) == {"mean": "not met", "median": "met", "report": "met"}


def test_a_question_that_cannot_be_sent_is_a_fault_of_the_check(pack: Path, folder: Path) -> None:
    path = pack / "checks" / "test_stats.py"
    path.write_text(path.read_text().replace("values=values)", "values={*values})"))

    report = verify(load_queue(pack / "tiny.yaml"), folder)

    assert verdicts(report) == {"mean": "error", "median": "error", "report": "met"}
    assert "cannot be sent" in report.requirements[0].evidence


def test_a_probe_may_ask_as_often_as_it_likes(pack: Path, folder: Path) -> None:
    path = pack / "checks" / "probes.py"
    often = "    for _ in range(9000): candidate.stats\n"
    path.write_text(path.read_text().replace("values):\n", "values):\n" + often, 1))

    assert verify(load_queue(pack / "tiny.yaml"), folder).green


def test_a_package_is_imported_as_well(pack: Path, folder: Path) -> None:
    queue = pack / "tiny.yaml"
    queue.write_text(queue.read_text().replace("path: report.py", "path: report/__init__.py"))
    (folder / "report").mkdir()
    (folder / "report" / "__init__.py").write_text("raise RuntimeError('no')\n")

    report = verify(load_queue(queue), folder)

    assert any("RuntimeError: no" in line for line in errors(report, "import"))


def test_a_file_in_a_folder_that_ruff_leaves_out_is_read(pack: Path, folder: Path) -> None:
    queue = pack / "tiny.yaml"
    queue.write_text(queue.read_text().replace("path: report.py", "path: dist/report.py"))
    (folder / "dist").mkdir()
    (folder / "dist" / "report.py").write_text("nothing_like_it\n")

    report = verify(load_queue(queue), folder)

    assert report.gates["ruff"] == "failed"


def test_a_program_that_a_signal_ends_is_told_by_it(loaded: LoadedQueue, folder: Path) -> None:
    (folder / "report.py").write_text("import os\nos.kill(os.getpid(), 11)\n")

    report = verify(loaded, folder)

    assert any("was ended by signal 11" in line for line in errors(report, "pipeline"))
