"""`compare` on the tiny pack: a scripted endpoint that knows some answers, and is no model."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.command import COMMAND, Shell
from tests.cli.process import in_a_pipe
from tests.fake_endpoint import Answer, Asked, FakeEndpoint, error, stream
from tests.scripted import fence

PACK = Path(__file__).parents[1] / "packs" / "tiny"
STATS = (PACK / "reference" / "stats.py").read_text()
REPORT = (PACK / "reference" / "report.py").read_text()
HALF = STATS.replace("ordered[middle])", "ordered[middle]) + 1").replace("/ 2", "/ 3")  # mean alone

# each sample is judged in the sandbox: with the sandbox's tests, not on the quick path
STORE = ".promptqueue/compare/tiny"

pytestmark = [pytest.mark.usefixtures("configured"), pytest.mark.sandbox]


def model(asked: Asked) -> Answer:
    """Answer all wrong where all is asked at once, else right but for the median, until told."""
    prompt = asked.body["messages"][-1]["content"]
    stats, report = ("Write stats.py" in prompt), ("Write report.py" in prompt)
    if stats and report:
        return stream(fence("stats.py", "x = 1") + "\n" + fence("report.py", "y = 2"))
    if report:
        return stream(fence("report.py", REPORT))
    return stream(fence("stats.py", HALF if stats else STATS))


@pytest.fixture
def server() -> FakeEndpoint:
    with FakeEndpoint(default=model) as fake:
        yield fake


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    shutil.copytree(PACK, tmp_path / "pack")
    return Shell(tmp_path)


def compare(shell: Shell, *arguments: str, code: int = 0) -> str:
    done = shell.run("compare", "pack/tiny.yaml", "--endpoint", "test", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def results(shell: Shell) -> dict:
    return json.loads((shell.folder / ".promptqueue/compare/tiny/results.json").read_text())


def requests(server: FakeEndpoint) -> list[Asked]:
    return [asked for asked in server.requests if asked.method == "POST"]


def test_arms_are_compared_by_what_their_code_meets(shell: Shell, server: FakeEndpoint) -> None:
    said = compare(shell, "-n", "2", "--arm", "monolith", "--arm", "full", "--arm", "full+refine")

    found = results(shell)
    shares = {arm["arm"]: arm["met"]["value"] for arm in found["arms"]}
    assert shares == {
        "monolith": 0,
        "full": pytest.approx(1 / 3),  # the report needs the median, too
        "full+refine": 1,
    }
    assert found["arms"][2]["by_requirement"] == {"mean": 1, "median": 1, "report": 1}
    assert found["arms"][2]["whole"] == 2
    assert [arm["calls"] for arm in found["arms"]] == [1, 2, 3]
    assert len(requests(server)) == 2 * (1 + 2 + 3)
    assert "full: only 1 of 2 samples differ in their replies" in said  # as the script has it
    rows = list(csv.DictReader((shell.folder / STORE / "results.csv").read_text().splitlines()))
    assert sum(int(row["met"]) for row in rows if row["arm"] == "full+refine") == 6
    assert (shell.folder / STORE / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_samples_are_distinct(shell: Shell, server: FakeEndpoint) -> None:
    compare(shell, "-n", "3", "--arm", "none", "--arm", "full")

    bodies = [asked.body for asked in requests(server)]
    firsts = {body["seed"] for body in bodies if "Write stats" in body["messages"][-1]["content"]}
    assert len(firsts) == 6


@pytest.mark.parametrize(("arm", "steps"), [("monolith", "1 step"), ("interface", "2 steps")])
def test_a_sample_keeps_its_run_and_its_code_for_the_other_commands(
    shell: Shell, server: FakeEndpoint, arm: str, steps: str
) -> None:
    compare(shell, "-n", "1", "--arm", arm, "--store", "elsewhere")

    assert not (shell.folder / STORE).exists()
    (place,) = (shell.folder / "elsewhere").glob(f"{arm}-*/1")
    runs = ("--runs", str(place / "runs"))
    for arguments, code, words in (
        (("show", *runs), 0, "stats.py"),
        (("replay", *runs), 0, f"{steps} replayed, 2 files; every byte as it was"),
        (("verify", str(place / "code")), 100, "of 3 requirements met"),
    ):
        done = shell.run(*arguments)
        assert done.returncode == code, done.stderr
        assert words in done.stdout


def test_nothing_is_asked_again(shell: Shell, server: FakeEndpoint) -> None:
    compare(shell, "-n", "1", "--arm", "none", "--arm", "full")
    before = len(requests(server))

    again = compare(shell, "-n", "1", "--arm", "none", "--arm", "full")
    assert len(requests(server)) == before
    assert "all samples are there" in again

    drawn = shell.folder / "drawn.svg"
    told = compare(shell, "-n", "2", "--arm", "full", "--json", "--picture", str(drawn))
    assert len(requests(server)) == before + 2  # one more sample of one arm
    assert json.loads(told) == results(shell)  # and nothing else
    assert drawn.read_text().startswith("<?xml")


def test_changed_checks_judge_again_and_ask_nothing(shell: Shell, server: FakeEndpoint) -> None:
    compare(shell, "-n", "1", "--arm", "full")
    before = len(requests(server))
    assert results(shell)["arms"][0]["by_requirement"]["mean"] == 1
    make_stricter(shell)

    compare(shell, "-n", "1", "--arm", "full")

    assert results(shell)["arms"][0]["by_requirement"]["mean"] == 0
    assert len(requests(server)) == before


def make_stricter(shell: Shell) -> None:
    check = shell.folder / "pack/checks/test_stats.py"
    refused = "    assert False, 'no'\n    values = numbers("
    check.write_text(check.read_text().replace("    values = numbers(", refused))


@pytest.mark.parametrize("moment", ["call.started", "step.finished", "run.finished"])
def test_killed_and_started_again_it_comes_to_the_same(
    shell: Shell, server: FakeEndpoint, moment: str
) -> None:
    arguments = ["compare", "pack/tiny.yaml", "--endpoint", "test", "-n", "2", "--arm", "none",
                 "--arm", "full", "--concurrency", "1"]  # fmt: skip
    child = subprocess.Popen(
        [*COMMAND, *arguments], cwd=shell.folder, env=shell.environment(), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(shell, moment)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()

    compare(shell, *arguments[4:])
    interrupted = comparable(results(shell))
    asked = len(requests(server))
    shutil.rmtree(shell.folder / STORE)
    compare(shell, *arguments[4:])

    assert comparable(results(shell)) == interrupted
    assert asked <= 8 + 1  # at most the call that was under way is asked twice


def test_a_store_is_for_one_at_a_time(shell: Shell) -> None:
    import fcntl

    folder = shell.folder / STORE
    folder.mkdir(parents=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "a comparison is at work in" in compare(shell, "-n", "1", code=6)


def test_a_store_of_another_version_is_left_alone(shell: Shell) -> None:
    head = shell.folder / STORE / "comparison.json"
    head.parent.mkdir(parents=True)
    head.write_text('{"promptqueue_compare": 0}')

    assert "version 0" in compare(shell, "-n", "1", code=6)
    assert head.read_text() == '{"promptqueue_compare": 0}'


def test_a_store_that_is_a_file_is_refused(shell: Shell) -> None:
    shell.write("taken", "")
    said = compare(shell, "--store", "taken", "--estimate", code=6)
    assert "taken is no folder; name another folder with --store DIR" in said


def test_an_endpoint_that_fails_half_of_the_time(shell: Shell, server: FakeEndpoint) -> None:
    count = iter(range(10_000))
    server._default = lambda asked: model(asked) if next(count) % 2 else error(500)

    compare(shell, "-n", "3", "--arm", "full", "--concurrency", "1")

    assert len(results(shell)["arms"][0]["samples"]) == 3


def test_an_endpoint_that_is_not_there(shell: Shell, server: FakeEndpoint) -> None:
    server._default = error(401)

    # a process of its own, for it ends with conversations under way, and they end with it
    done = shell.run_apart(
        "compare", "pack/tiny.yaml", "--endpoint", "test", "-n", "60", "--arm", "full"
    )

    assert done.returncode == 3
    assert "Set the API key of this endpoint to a valid key" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(requests(server)) < 60  # three in a row, and what was under way
    server._default = model
    compare(shell, "-n", "1", "--arm", "full")


def test_ctrl_c_ends_it_at_once_and_it_can_be_started_again(
    shell: Shell, server: FakeEndpoint
) -> None:
    server._default = Answer(hangs=True)
    arguments = ("pack/tiny.yaml", "--endpoint", "test", "-n", "2", "--arm", "full")
    with in_a_pipe(shell, "compare", *arguments) as process:
        process.wait_for(lambda: len(requests(server)) > 1)
        process.send(signal.SIGINT)
        assert process.end() == 130, process.text
    assert f"start the same command again: what is there is kept in {STORE}" in process.text
    assert "Traceback" not in process.text
    server._default = model
    compare(shell, "-n", "2", "--arm", "full")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (
            error(400, "prompt is too long"),
            "context overflow: 400 prompt is too long (asked with max_tokens 800; a smaller one "
            "may fit: none,max_tokens=N)",
        ),
        (stream("", finish="content_filter"), "filtered: finish_reason content_filter"),
    ],
    ids=["overflow", "filtered"],
)
def test_a_failure_that_comes_of_what_was_asked_counts(
    shell: Shell, server: FakeEndpoint, answer: Answer, why: str
) -> None:
    def failing(asked: Asked) -> Answer:
        prompt = asked.body["messages"][-1]["content"]
        return answer if "Write report.py" in prompt else model(asked)

    server._default = failing
    said = compare(shell, "-n", "3", "--arm", "monolith", "--arm", "none", "--concurrency", "1")

    monolith, queue = results(shell)["arms"]
    assert [len(arm["samples"]) for arm in (monolith, queue)] == [3, 3]
    assert (monolith["met"]["value"], queue["met"]["value"]) == (0, pytest.approx(1 / 3))
    assert queue["samples"][0]["stopped"] == why
    assert queue["stopped"] == 3
    assert "samples that ended early, counted as they stand (3)" in said

    before = len(requests(server))  # other checks judge again, and nobody is asked
    make_stricter(shell)
    compare(shell, "-n", "1", "--arm", "monolith", "--arm", "none")
    assert results(shell)["arms"][1]["met"]["value"] == 0
    assert len(requests(server)) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--arm", "monolit"], "did you mean 'monolith'?"),
        (["--arm", "full+refined"], "did you mean 'full+refine'?"),
        (["--arm", "all"], "did you mean 'full'?"),
        (["--arm", "full,temperature=hot"], "a number is needed here, not 'hot'"),
        (["--arm", "full,temperature"], "write NAME=VALUE"),
        (["--arm", "full,colour=red"], "'colour' in the arm 'full,colour=red' is no setting"),
        (["--arm", "full", "--arm", "full"], "there twice"),
        (["--base", "files"], "none of the arms"),
        (["-n", "0"], "greater than or equal to 1"),
        (["--arm", "full", "--arm", "none", "--ablate"], "takes one arm apart"),
        (["--arm", "full,queue=nowhere.yaml"], "nowhere.yaml"),
        (["--picture", "result.txt"], "must end in .png, .svg or .pdf"),
    ],
)
def test_wrong_use_is_refused_before_anything_is_asked(
    shell: Shell, server: FakeEndpoint, arguments: list[str], words: str
) -> None:
    assert words in compare(shell, *arguments, code=2)
    assert not server.requests


def test_a_queue_without_checks_cannot_be_compared(shell: Shell, server: FakeEndpoint) -> None:
    shell.write(
        "q.yaml", "promptqueue: 1\nname: q\nsteps:\n  - {id: a, task: x, outputs: [{path: a.py}]}\n"
    )

    done = shell.run("compare", "q.yaml", "--endpoint", "test")

    assert done.returncode == 2
    assert "cannot be compared: it names no checks (prompts/PACKS.md" in done.stderr


def test_an_arm_may_be_another_queue_that_asks_for_the_same(
    shell: Shell, server: FakeEndpoint
) -> None:
    text = (shell.folder / "pack/tiny.yaml").read_text()
    other = text.replace("Write stats.py", "Please: Write stats.py")
    other = other.replace(
        '      median: "median, the', '      polite: "something more"\n      median: "median, the'
    )
    (shell.folder / "pack/polite.yaml").write_text(other)

    compare(shell, "-n", "1", "--arm", "written", "--arm", "written,queue=pack/polite.yaml")

    assert sum("Please" in str(asked.body) for asked in requests(server)) == 2
    assert results(shell)["requirements"] == ["mean", "median", "report"]
    assert [arm["met"]["value"] for arm in results(shell)["arms"]] == [pytest.approx(1 / 3)] * 2


def test_an_arm_of_another_queue_is_judged_by_the_contract_of_what_is_compared(
    shell: Shell, server: FakeEndpoint
) -> None:
    checks = shell.folder / "pack/checks"
    mark = '@pytest.mark.requirement("{}")\ndef test_{}():\n    pass\n'
    names = ("mean", "median", "report")
    easy = "import pytest\n\n\n" + "\n\n".join(mark.format(name, name) for name in names)
    (checks / "test_easy.py").write_text(easy)  # passes whatever the code does
    text = (shell.folder / "pack/tiny.yaml").read_text()
    other = text.replace("test_stats.py", "test_easy.py").replace("test_report.py", "test_easy.py")
    other = other.replace("{path: stats.py,", "{path: more.py}, {path: stats.py,")
    (shell.folder / "pack/easy.yaml").write_text(other)
    server._default = stream(  # of the two files that the pack declares, one needs a third
        fence("more.py", STATS) + fence("stats.py", "from more import mean\nmedian = 0\n")
    )

    compare(shell, "-n", "1", "--arm", "monolith,queue=pack/easy.yaml")

    (sample,) = results(shell)["arms"][0]["samples"]
    assert (sample["met"], sample["unmet"]) == (["mean"], ["median", "report"])


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        ("median:", "middle:", "it does not ask for median of"),
        ("path: stats.py", "path: figures.py", "it does not bring stats.py of"),
    ],
)
def test_a_queue_that_the_contract_does_not_fit_is_no_arm(
    shell: Shell, server: FakeEndpoint, ours: str, theirs: str, words: str
) -> None:
    text = (shell.folder / "pack/tiny.yaml").read_text()
    (shell.folder / "pack/other.yaml").write_text(text.replace(ours, theirs))
    assert words in compare(shell, "--arm", "written,queue=pack/other.yaml", code=2)


def with_bullet(shell: Shell) -> None:
    """Write the one requirement of the second step as a bullet, too."""
    queue = shell.folder / "pack/tiny.yaml"
    bullet = "Write report.py.\n      - report: `python report.py numbers.json` reads"
    edited = queue.read_text().replace(
        "Write report.py: `python report.py numbers.json` reads", bullet
    )
    queue.write_text(
        edited.replace("writes\n      report.json, a", "writes\n        report.json, a")
    )


def test_leaving_out_shows_what_each_sentence_buys(shell: Shell, server: FakeEndpoint) -> None:
    with_bullet(shell)

    compare(shell, "-n", "1", "--ablate")

    arms = [arm["arm"] for arm in results(shell)["arms"]]
    assert arms == [
        "written",
        *("written,without role", "written,without stats.mean", "written,without stats.median"),
        *("written,without report.report", "written,without report<stats"),
    ]
    asked = [request.body["messages"] for request in requests(server)]
    stats, report = (
        [messages for messages in asked if f"Write {name}.py" in messages[-1]["content"]]
        for name in ("stats", "report")
    )
    for sentence in ("- mean:", "- median:"):
        assert sum(sentence not in messages[-1]["content"] for messages in stats) == 1
    assert sum("- report:" not in messages[-1]["content"] for messages in report) == 1
    assert sum("careful Python modules" not in str(messages) for messages in asked) == 2
    assert sum("Write stats.py" not in str(messages) for messages in report) == 1


def test_a_limit_of_the_whole_ends_it_between_two_samples(
    shell: Shell, server: FakeEndpoint
) -> None:
    arms = ("-n", "3", "--arm", "monolith", "--concurrency", "1")

    said = compare(shell, *arms, "--limit", "calls=2", code=4)

    assert "the limit calls of the comparison is reached: 2 calls of 2" in said
    assert len(results(shell)["arms"][0]["samples"]) == len(requests(server)) == 2  # shown
    compare(shell, *arms, "--limit", "calls=2", code=4)
    assert len(requests(server)) == 2
    compare(shell, *arms, "--limit", "calls=3")
    assert len(requests(server)) == 3


def test_a_requirement_of_two_steps_is_counted_once(shell: Shell, server: FakeEndpoint) -> None:
    queue = shell.folder / "pack/tiny.yaml"
    again = '      mean: "the same, in the report"\n      report: "report.json'
    queue.write_text(queue.read_text().replace('      report: "report.json', again))

    compare(shell, "-n", "1", "--arm", "full")

    assert results(shell)["requirements"] == ["mean", "median", "report"]
    assert results(shell)["arms"][0]["met"]["value"] == pytest.approx(1 / 3)


def test_the_estimate_for_machines_says_the_same(shell: Shell, server: FakeEndpoint) -> None:
    told = json.loads(compare(shell, "-n", "4", "--estimate", "--json"))

    assert [(arm["arm"], arm["samples"]) for arm in told["arms"]] == [
        *(("monolith", 4), ("full", 4), ("interface", 4)),
    ]
    assert told["smallest_p"] == pytest.approx(2 * 2 / 70)  # two tests, 70 ways to part 8 samples
    assert (told["detectable"], told["fewest"]) == (None, 5)


def test_the_estimate_asks_nothing(shell: Shell, server: FakeEndpoint) -> None:
    said = compare(shell, "-n", "5", "--estimate")

    # 2 of the 252 ways to deal ten samples, and one of two tests
    assert "the smallest p is 0.016" in said
    assert "full: 5 samples" in said
    assert "temperature 0: samples of monolith, full, interface may be copies" in said
    assert not requests(server)
    assert not (shell.folder / STORE).exists()
    # 2 of the 70 ways to deal eight samples, twice: nothing is shown at 5 %, however far apart
    assert "their smallest p is 0.057; take 5 or more" in compare(shell, "-n", "4", "--estimate")
    two = ("-n", "4", "--arm", "monolith", "--arm", "full", "--estimate")
    assert "the smallest p is 0.029" in compare(shell, *two)


def wait_for(shell: Shell, event: str) -> None:
    for _ in range(6000):
        for journal in (shell.folder / STORE).rglob("journal.jsonl"):
            if f'"{event}"' in journal.read_text("utf-8", errors="replace"):
                return
        time.sleep(0.02)
    raise AssertionError(f"no {event}")


def comparable(found: dict) -> dict:
    """Return what a kill must not change: names of runs and times are others each time."""
    for arm in found["arms"]:
        arm.pop("seconds")
        for sample in arm["samples"]:
            for name in ("run", "seed"):
                sample.pop(name)
            sample["spending"].pop("seconds")
            sample["spending"].pop("calls")
            sample["spending"].pop("endings")
        for name in ("calls", "endings"):
            arm.pop(name)
    return found


def test_each_step_is_asked_of_its_own_model(shell: Shell, server: FakeEndpoint) -> None:
    queue = shell.folder / "pack/tiny.yaml"
    text = queue.read_text().replace("defaults: {", "defaults: {model: small, ")
    queue.write_text(text.replace("  - id: report\n", "  - id: report\n    model: big\n"))

    compare(shell, "-n", "1", "--arm", "full")

    assert [asked.body["model"] for asked in requests(server)] == ["small", "big"]


def test_samples_of_two_models_are_kept_apart(shell: Shell, server: FakeEndpoint) -> None:
    compare(shell, "-n", "1", "--arm", "full")
    server._models = ("another-model",)

    said = compare(shell, "-n", "2", "--arm", "full", code=2)

    assert "the samples so far are of fake-model, and the endpoint has another-model now" in said
    assert len(requests(server)) == 2
    compare(shell, "-n", "2", "--arm", "full", "--model", "another-model")
    assert len(requests(server)) == 2 + 4  # what the other one answered is not taken for this one's


def test_a_check_that_breaks_is_told_and_is_no_verdict(shell: Shell, server: FakeEndpoint) -> None:
    path = shell.folder / "pack/checks/test_stats.py"
    (shell.folder / "broken").touch()  # it is no part of the checks, which stay as they are
    breaks = f"    assert not Path({str(shell.folder / 'broken')!r}).exists() or {{}}['x']\n"
    checks = path.read_text().replace("    values = numbers(", f"{breaks}    values = numbers(")
    path.write_text(f"from pathlib import Path\n\n{checks}")

    said = compare(shell, "-n", "1", "--arm", "full")

    (sample,) = results(shell)["arms"][0]["samples"]
    assert sample["errors"] == ["mean", "median"]
    assert "verdicts that are errors of checks, counted as not met (2)" in said
    before = len(requests(server))
    (shell.folder / "broken").unlink()  # a check that is mended judges again
    compare(shell, "-n", "1", "--arm", "full")
    (sample,) = results(shell)["arms"][0]["samples"]
    assert (sample["met"], sample["errors"]) == (["mean"], [])
    assert len(requests(server)) == before


def test_taking_another_queue_apart(shell: Shell, server: FakeEndpoint) -> None:
    with_bullet(shell)
    other = (shell.folder / "pack/tiny.yaml").read_text().replace("id: stats", "id: figures")
    shell.write("pack/other.yaml", other.replace("name: tiny", "name: other"))

    said = compare(shell, "--ablate", "--arm", "full,queue=pack/other.yaml", "--estimate")

    assert "without figures.mean" in said


def test_replies_of_any_length_have_no_estimate(shell: Shell, server: FakeEndpoint) -> None:
    queue = shell.folder / "pack/tiny.yaml"
    queue.write_text(queue.read_text().replace("max_tokens: 800, ", ""))

    assert "and no cap of replies" in compare(shell, "--arm", "full", "--estimate")
