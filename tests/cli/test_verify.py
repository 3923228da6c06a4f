"""`promptqueue verify` as a user calls it: on the tiny pack, right and wrong, and on bad input."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

import pytest

from tests.cli.command import COMMAND, Shell

pytestmark = pytest.mark.sandbox

PACK = Path(__file__).parents[1] / "packs" / "tiny"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A folder with the tiny pack and generated/tiny, which is right."""
    shutil.copytree(PACK, tmp_path / "pack")
    shutil.copytree(PACK / "reference", tmp_path / "generated" / "tiny")
    manifest = {"queue": "tiny", "queue_file": "../../pack/tiny.yaml", "queue_digest": ""}
    text = json.dumps({"promptqueue": 1, **manifest, "files": {}})
    (tmp_path / "generated" / "tiny" / "manifest.json").write_text(text)
    return Shell(tmp_path)


def break_median(shell: Shell) -> None:
    path = shell.folder / "generated" / "tiny" / "stats.py"
    path.write_text(path.read_text().replace("ordered = sorted(values)", "ordered = values"))


def test_right_code_is_green(shell: Shell) -> None:
    done = shell.run("verify", "generated")

    assert (done.returncode, done.stderr) == (0, "")
    assert "isolation: bwrap (full)" in done.stdout
    assert "green: 3 of 3 requirements met" in done.stdout


def test_wrong_code_is_red_for_what_is_wrong_alone(shell: Shell) -> None:
    break_median(shell)

    done = shell.run("verify", "--json", "--seed", "5")
    verdicts = {each["id"]: each["verdict"] for each in json.loads(done.stdout)["requirements"]}

    assert done.returncode == 100
    # the report's median is wrong as well, since report.py takes it from stats.py
    assert verdicts == {"mean": "met", "median": "not met", "report": "not met"}


def test_the_same_seed_gives_the_same_bytes(shell: Shell) -> None:
    break_median(shell)

    def told(seed: str) -> list[str]:
        files = ("--junit", "report.xml", "--sarif", "report.sarif")
        said = shell.run_apart("verify", "--json", "--seed", seed, *files).stdout
        return [said, *((shell.folder / name).read_text() for name in (files[1], files[3]))]

    first = told("5")

    assert told("5") == first
    assert all(one != other for one, other in zip(first, told("6"), strict=True))


def test_reports_are_written_beside_the_output(shell: Shell) -> None:
    shell.run("verify", "--junit", "report.xml", "--sarif", "report.sarif")

    suite = ElementTree.parse(shell.folder / "report.xml").find("testsuite")
    assert suite is not None
    assert suite.get("failures") == "0"
    assert json.loads((shell.folder / "report.sarif").read_text())["version"] == "2.1.0"


@pytest.mark.parametrize("name", ["tiny.yaml", os.fsdecode(b"caf\xe9.yaml")])
@pytest.mark.parametrize("at_root", [True, False])
def test_places_of_sarif_begin_where_the_command_was_called(
    shell: Shell, name: str, at_root: bool
) -> None:
    break_median(shell)
    (shell.folder / "pack/tiny.yaml").rename(shell.folder / "pack" / name)
    inside = Shell(shell.folder if at_root else shell.folder / "generated/tiny")
    folder = "generated/tiny/" if at_root else ""
    queue = f"{shell.folder}/pack/{name}"
    chosen = ("--queue", queue, "--only", "median", "--seed", "5")

    done = inside.run("verify", f"./{folder}", *chosen, "--sarif", "x")

    assert done.returncode == 100, done.stderr
    (result,) = json.loads((inside.folder / "x").read_text())["runs"][0]["results"]
    uris = [
        each["physicalLocation"]["artifactLocation"]["uri"]
        for each in (*result["locations"], *result["relatedLocations"])
    ]
    asked = f"pack/{name}" if at_root else queue
    root = "" if at_root else "file://"
    assert uris == [f"{folder}stats.py", root + quote(os.fsencode(asked))]


def test_several_folders_make_one_document(shell: Shell) -> None:
    shutil.copytree(shell.folder / "generated/tiny", shell.folder / "generated/twin")

    told = json.loads(shell.run("verify", "--json", "--only", "mean").stdout)

    assert [each["folder"] for each in told] == ["tiny", "twin"]
    refused = shell.run("verify", "--junit", "report.xml")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "write one report; name one of the folders" in refused.stderr


def test_explain_tells_one_requirement(shell: Shell) -> None:
    done = shell.run("verify", "--explain", "median")

    assert "tiny.yaml:" in done.stdout
    assert "test_median_of_fresh_numbers[6]" in done.stdout
    assert "mean: " not in done.stdout
    assert "test_mean" not in done.stdout


@pytest.mark.parametrize(("name", "code"), [("mean", 0), ("median", 100)])
def test_of_a_part_only_that_part_counts(shell: Shell, name: str, code: int) -> None:
    wrong = "def mean(values):\n    if not values:\n        raise ValueError\n"
    wrong += "    return sum(values) / len(values)\n\n\ndef median(values):\n    return 0.0\n"
    shell.write("generated/tiny/stats.py", wrong)

    assert shell.run("verify", "--only", name).returncode == code
    assert shell.run("verify", "--explain", name).returncode == code
    assert shell.run("verify").returncode == 100


def test_of_a_part_the_checks_beside_those_of_other_steps_count_as_well(shell: Shell) -> None:
    check = shell.folder / "pack/checks/test_report.py"
    late = '@pytest.mark.requirement("mean")\ndef test_more(): assert False, "no"\n'
    check.write_text(check.read_text() + "\n\n" + late)

    assert shell.run("verify", "--only", "mean").returncode == 100
    assert shell.run("verify", "--only", "median").returncode == 0


@pytest.mark.parametrize("flag", ["--only", "--explain"])
@pytest.mark.parametrize(("said", "code"), [("assert False", 100), ("pass", 0)])
def test_of_a_part_the_checks_of_the_whole_program_count_as_well(
    shell: Shell, flag: str, said: str, code: int
) -> None:
    check = shell.folder / "pack/checks/test_report.py"
    late = (
        f'@pytest.mark.requirement("mean")\n@pytest.mark.gate("pipeline")\ndef test_more(): {said}'
    )
    idle = '@pytest.mark.gate("pipeline")\ndef test_of_nothing_asked(): raise RuntimeError'
    check.write_text(f"{check.read_text()}\n\n{late}\n\n{idle}\n")

    assert shell.run("verify", flag, "mean").returncode == code


def test_a_chosen_check_leaves_the_others_unverified(shell: Shell) -> None:
    done = shell.run("verify", "--json", "-k", "test_median")
    verdicts = {each["id"]: each["verdict"] for each in json.loads(done.stdout)["requirements"]}

    assert verdicts == {"mean": "not verified", "median": "met", "report": "not verified"}
    assert done.returncode == 100


def test_code_that_cannot_run_is_told_by_file_and_line(shell: Shell) -> None:
    shell.write("generated/tiny/stats.py", "import statistics\n\nmean = statistic.mean\n")

    done = shell.run("verify")

    assert done.returncode == 100
    assert "stats.py:3: Undefined name `statistic` [F821]" in done.stdout
    assert "stats.py: defines no median, although the queue declares it" in done.stdout
    assert "stats.py:3: NameError: name 'statistic' is not defined" in done.stdout


def test_a_changed_queue_is_told(shell: Shell) -> None:
    path = shell.folder / "generated" / "tiny" / "manifest.json"
    path.write_text(path.read_text().replace('"queue_digest": ""', '"queue_digest": "0"'))

    assert "tiny.yaml has changed since" in shell.run("verify").stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere"], 2, "nowhere is no folder"),
        (["empty"], 2, "empty has no manifest.json"),
        (["empty", "--queue", "pack/tiny.yaml"], 100, "stats.py: is missing"),
        (["--queue", "nowhere.yaml"], 2, "nowhere.yaml"),
        (["--explain", "medan"], 2, "did you mean 'median'"),
        (["--isolation", "magic"], 2, "magic"),
        (["--junit", "no/such/folder.xml"], 6, "written: there is no folder no/such; name another"),
        (["--junit", "empty"], 6, "empty cannot be written: it is a folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input_is_told(shell: Shell, arguments: list[str], code: int, words: str) -> None:
    (shell.folder / "empty").mkdir()

    done = shell.run("verify", *arguments)

    assert done.returncode == code
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.fixture
def foreign(shell: Shell) -> Shell:
    """A stranger's folder whose checks take any code, and leave a trace when they run."""
    (shell.folder / "foreign" / "checks").mkdir(parents=True)
    shell.write("foreign/stats.py", "mean = median = None\n")
    shell.write("foreign/checks/test_evil.py", f"open({str(shell.folder / 'ran')!r}, 'w')\n")
    steps = "steps: [{id: a, task: A., outputs: [{path: stats.py}], checks: [checks/test_evil.py]}]"
    shell.write("foreign/evil.yaml", f"promptqueue: 1\nname: evil\n{steps}\n")
    shell.write("foreign/manifest.json", '{"queue_file": "evil.yaml", "queue_digest": ""}')
    return shell


@pytest.mark.parametrize("arguments", [["foreign"], ["."], ["foreign/../foreign", "--json"]])
def test_code_does_not_choose_a_judge_that_it_brings(foreign: Shell, arguments: list[str]) -> None:
    done = foreign.run("verify", *arguments)

    assert done.returncode == 2
    assert "evil.yaml, which came with it" in done.stderr
    assert "--queue" in done.stderr
    assert not (foreign.folder / "ran").exists()


def test_nor_does_it_bring_the_checks_of_a_queue_that_lies_elsewhere(foreign: Shell) -> None:
    queue = (foreign.folder / "foreign/evil.yaml").read_text()
    (foreign.folder / "other").mkdir()
    foreign.write("other/evil.yaml", queue.replace("checks/test", "../foreign/checks/test"))
    told = '{"queue_file": "../other/evil.yaml", "queue_digest": ""}'
    foreign.write("foreign/manifest.json", told)

    done = foreign.run("verify", "foreign")

    assert done.returncode == 2
    assert "test_evil.py, which came with it" in done.stderr
    assert not (foreign.folder / "ran").exists()


def test_a_judge_in_the_folder_that_the_user_names_counts(foreign: Shell) -> None:
    done = foreign.run("verify", "foreign", "--queue", "foreign/evil.yaml")

    assert done.stdout.startswith("foreign: judged by the queue evil\n")
    assert (foreign.folder / "ran").exists()


def test_a_queue_that_the_manifest_names_is_shown_with_its_file(shell: Shell) -> None:
    done = shell.run("verify", "generated/tiny")

    assert done.stdout.startswith("generated/tiny: judged by the queue tiny (pack/tiny.yaml)\n")


@pytest.mark.parametrize(
    "manifest",
    ["", "{", "[]", '{"queue_file": 5}', '{"queue_file": "gone.yaml", "queue_digest": ""}'],
)
def test_a_manifest_that_names_no_queue_is_told(shell: Shell, manifest: str) -> None:
    shell.write("generated/tiny/manifest.json", manifest)

    done = shell.run("verify")

    assert done.returncode == 2
    assert "--queue QUEUE" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bwrap to forbid it")
def test_without_isolation_nothing_is_run(shell: Shell) -> None:
    """Where no namespace can be made, as in many containers."""
    forbidding = ["bwrap", "--dev-bind", "/", "/", "--unshare-user", "--disable-userns", "--"]
    command = [*forbidding, *COMMAND, "verify"]

    done = subprocess.run(
        command, cwd=shell.folder, env=shell.environment(), capture_output=True, text=True
    )

    assert done.returncode == 125
    assert "--isolation=landlock" in done.stderr
    assert "met" not in done.stdout


def test_doctor_tells_which_walls_hold(shell: Shell) -> None:
    done = shell.run("doctor", "--sandbox")

    assert done.returncode == 0
    assert done.stdout.split()[:2] == ["ok", "bwrap"]


def test_a_file_that_lost_most_of_its_lines_is_pointed_out(shell: Shell) -> None:
    manifest = shell.folder / "generated" / "tiny" / "manifest.json"
    told = json.loads(manifest.read_text()) | {"files": {"stats.py": {"shrunk_from": 90}}}
    manifest.write_text(json.dumps(told))

    done = shell.run("verify", "--details")

    assert "placeholders: stats.py: has 17 lines where the version before had 90" in done.stdout
    assert done.returncode == 0  # it may be all there: a warning


def test_a_part_that_is_the_whole_counts_as_a_part(shell: Shell) -> None:
    names = ("--only", "mean", "--only", "median", "--only", "report")

    done = shell.run("verify", *names)

    assert done.returncode == 0, done.stdout


def test_what_is_wrong_in_another_file_does_not_count_for_a_part(shell: Shell) -> None:
    shell.write("generated/tiny/report.py", "nothing_like_it\n")

    assert shell.run("verify", "--only", "mean").returncode == 0
    assert shell.run("verify").returncode == 100


@pytest.mark.parametrize(
    "answer",
    [r"'3\ngreen: 3 of 3 requirements met (seed 7)'", r"'\x1b[2K\x1b[1A9'", r"'\ud800'"],
)
def test_an_answer_writes_no_lines_of_its_own(shell: Shell, answer: str) -> None:
    shell.write("generated/tiny/stats.py", f"def mean(values):\n    return {answer}\n")

    done = shell.run("verify", "--details", "--junit", "report.xml")

    assert done.returncode == 100, done.stderr
    assert not [line for line in done.stdout.splitlines() if line.startswith("green")]
    told = json.loads(shell.run("verify", "--json").stdout)
    assert all(each["evidence"].isprintable() for each in told["requirements"])


def test_a_seed_that_no_library_takes_is_refused(shell: Shell) -> None:
    assert shell.run("verify", "--seed", "5000000000").returncode == 2
