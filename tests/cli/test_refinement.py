"""From red to green: verdicts lead the conversation; the tiny pack, a scripted endpoint."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.command import COMMAND, Shell
from tests.fake_endpoint import Answer, Asked, FakeEndpoint, error, stream
from tests.scripted import fence

PACK = Path(__file__).parents[1] / "packs" / "tiny"
STATS = (PACK / "reference" / "stats.py").read_text()
REPORT = (PACK / "reference" / "report.py").read_text()
HALF = STATS.replace("ordered[middle])", "ordered[middle]) + 1").replace("/ 2", "/ 3")  # mean alone
BROKEN = HALF.replace("if not values:", "if values:")  # neither mean nor median
FAILING = STATS.replace("middle = len", "middle = length")  # mean alone; its error has a line
WRONG = HALF.replace("/ len(values)", "/ 2.5")  # neither, and no error

# nearly each test judges code several times: with the sandbox's tests, not on the quick path
pytestmark = [pytest.mark.usefixtures("configured"), pytest.mark.sandbox]


def reply(text: str, path: str = "stats.py") -> Answer:
    return stream(fence(path, text.rstrip()))


def both(stats: str, report: str = REPORT) -> Answer:
    return stream(fence("stats.py", stats.rstrip()) + "\n" + fence("report.py", report.rstrip()))


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    shutil.copytree(PACK, tmp_path / "pack")
    return Shell(tmp_path)


def edit(shell: Shell, old: str, new: str, name: str = "tiny.yaml") -> None:
    path = shell.folder / "pack" / name
    assert old in path.read_text("utf-8")
    path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")


def run(shell: Shell, *arguments: str, code: int = 0) -> str:
    done = shell.run("run", "pack/tiny.yaml", "--endpoint", "test", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def written(shell: Shell, name: str = "stats.py") -> str:
    return (shell.folder / "generated/tiny" / name).read_text("utf-8")


def asked(server: FakeEndpoint, number: int) -> str:
    """Return the last message of a request."""
    text: str = server.requests[number].body["messages"][-1]["content"]
    return text


def test_what_is_red_goes_back_until_it_is_green(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(reply(HALF), reply(STATS), reply(REPORT, "report.py"))

    said = run(shell)

    assert "judged in" in said
    assert "1 of 2 requirements met" in said
    assert "verdict: 3 of 3 requirements met" in said
    assert written(shell).strip() == STATS.strip()


def test_the_model_is_told_what_was_asked_and_seen_and_no_check(
    shell: Shell, server: FakeEndpoint
) -> None:
    server.enqueue(reply(HALF), reply(STATS), reply(REPORT, "report.py"))

    run(shell)
    told = asked(server, 1)

    assert "median: median(values) returns the median; the mean of the middle two" in told
    assert "fresh numbers" in told
    assert "mean of nothing" not in told
    assert "pytest" not in told
    assert "approx" not in told
    assert str(shell.folder) not in told
    # of the conversation only the prompt and the reply that is to be mended go along
    roles = [message["role"] for message in server.requests[1].body["messages"]]
    assert roles == ["system", "user", "assistant", "user"]


def test_the_best_version_is_kept_not_the_last(shell: Shell, server: FakeEndpoint) -> None:
    edit(shell, "seed: 1}}", "seed: 1}, refine: {turns: 1}}")
    server.enqueue(reply(HALF), reply(BROKEN), reply(REPORT, "report.py"))
    server.enqueue(reply(REPORT, "report.py"))

    said = run(shell, code=100)

    assert "0 of 2 requirements met; the version before stands" in said
    assert written(shell).strip() == HALF.strip()
    assert "1 of 3 requirements met; not met: median, report" in said
    assert "  red  " in shell.run("runs").stdout


def test_a_later_step_does_not_lose_what_was_green(shell: Shell, server: FakeEndpoint) -> None:
    edit(shell, "[{path: report.py}]", "[{path: report.py}, {path: stats.py}]")
    edit(shell, "seed: 1}}", "seed: 1}, refine: {turns: 1}}")
    server.enqueue(reply(STATS), both(WRONG), both(HALF))

    said = run(shell)

    assert "mean(values) returns the arithmetic mean" in asked(server, 2)
    assert written(shell).strip() == STATS.strip()
    assert "verdict: 3 of 3 requirements met" in said


def test_a_run_is_replayed_with_its_verdicts(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(reply(HALF), reply(BROKEN), reply(STATS), reply(REPORT, "report.py"))
    run(shell)
    shutil.rmtree(shell.folder / "pack")  # a run needs nothing but its own directory

    done = shell.run("replay")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "every byte as it was" in done.stdout


def test_a_run_of_several_samples_is_replayed_from_a_first_one_that_is_not_usable(
    shell: Shell, server: FakeEndpoint
) -> None:
    edit(shell, "defaults: {", "defaults: {refine: {samples: 2}, ")
    server.enqueue(stream("I will."), reply(STATS), reply(REPORT, "report.py"))
    run(shell)

    done = shell.run("replay")

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_run_that_ended_with_another_model_is_replayed(
    shell: Shell, server: FakeEndpoint
) -> None:
    edit(shell, "defaults: {", "defaults: {model: small, refine: {turns: 1, escalate: big}, ")
    server.enqueue(reply(HALF), reply(STATS), reply(REPORT, "report.py"))
    run(shell)
    assert [asked.body["model"] for asked in server.requests] == ["small", "big", "small"]

    done = shell.run("replay")

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_verdict_is_not_asked_for_twice(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(reply(HALF), error(401, "no key"))
    run(shell, code=3)
    server.enqueue(reply(STATS), reply(REPORT, "report.py"))

    done = shell.run("resume")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "judged before: 1 of 2 requirements met" in done.stdout
    assert "verdict: 3 of 3 requirements met" in done.stdout


def test_another_contract_judges_anew(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(reply(STATS), reply(REPORT, "report.py"))
    run(shell)
    edit(shell, "rel=1e-9", "rel=1e-8", "checks/test_stats.py")

    said = run(shell)

    assert "answered before" in said
    assert "judged before" not in said
    assert "judged in" in said


def test_the_best_of_several_samples_is_refined(shell: Shell, server: FakeEndpoint) -> None:
    edit(shell, "seed: 1}}", "seed: 1}, refine: {turns: 1, samples: 3}}")
    server.enqueue(reply(BROKEN), reply(HALF), reply(BROKEN + "\n# again\n"), reply(STATS))
    server.enqueue(reply(REPORT, "report.py"))

    said = run(shell)

    bodies = [request.body for request in server.requests[:4]]
    assert [body["seed"] for body in bodies[:3]] == [1, 2, 3]
    assert [body["temperature"] for body in bodies] == [0, 0.2, 0.4, 0]  # to mend, not to guess
    assert "+ 1" in server.requests[3].body["messages"][2]["content"]
    assert "if values:" not in server.requests[3].body["messages"][2]["content"]
    assert "verdict: 3 of 3 requirements met" in said


@pytest.mark.parametrize("remark", ["", "\n# again\n"], ids=["word for word", "in score"])
def test_samples_that_are_alike_are_followed_by_what_was_found(
    shell: Shell, server: FakeEndpoint, remark: str
) -> None:
    edit(shell, "seed: 1}}", "seed: 1}, refine: {turns: 1, samples: 3}}")
    server.enqueue(*(reply(HALF + remark * number) for number in range(3)), reply(STATS))
    server.enqueue(reply(REPORT, "report.py"))

    run(shell)

    assert "This is not as the task asks for" in asked(server, 3)


def test_an_error_with_its_line_goes_back_before_another_sample_is_drawn(
    shell: Shell, server: FakeEndpoint
) -> None:
    edit(shell, "seed: 1}}", "seed: 1}, refine: {turns: 1, samples: 3}}")
    nameless = STATS.replace("sorted(", "in_order(").replace("not values", "no_values")
    server.enqueue(reply(nameless), reply(STATS), reply(REPORT, "report.py"))

    run(shell)

    assert "Undefined name `in_order` (stats.py:13)" in asked(server, 1)
    assert "1. Found: " in asked(server, 1)


def test_after_two_answers_without_gain_the_function_is_asked_for_alone_and_then_all_anew(
    shell: Shell, server: FakeEndpoint
) -> None:
    edit(shell, "seed: 1}}", "seed: 1}, refine: {turns: 5}}")
    server.enqueue(*(reply(FAILING + "\n# again\n" * number) for number in range(5)), reply(STATS))
    server.enqueue(reply(REPORT, "report.py"))

    run(shell)

    openings = ("not as the task asks", "which is left out here", "An earlier answer failed")
    told = [[words in asked(server, number) for words in openings] for number in range(6)]
    mend, alone, afresh = ([each == wanted for each in openings] for wanted in openings)
    assert told == [[False] * 3, mend, mend, alone, afresh, mend]
    assert asked(server, 4).partition("An earlier")[0] in asked(server, 0)


def test_a_model_that_sends_the_same_file_again_is_asked_for_the_function_alone(
    shell: Shell, server: FakeEndpoint
) -> None:
    edit(shell, "seed: 1}}", "seed: 1}, refine: {turns: 3}}")
    server.enqueue(reply(FAILING), stream("Mended:\n\n" + fence("stats.py", FAILING.rstrip())))
    server.enqueue(reply(STATS[STATS.index("def median") :]), reply(REPORT, "report.py"))

    run(shell)

    messages = server.requests[2].body["messages"]
    assert [message["role"] for message in messages] == ["system", "user"]
    assert "def median(values):\n    ...  # left out\n```" in messages[1]["content"]
    assert "length(ordered)" not in messages[1]["content"]
    assert "def mean" not in messages[1]["content"]
    assert "- median: median(values) returns the median" in messages[1]["content"]
    assert written(shell).strip() == STATS.strip()


def test_a_red_step_stops_the_queue_where_it_is_told_to(shell: Shell, server: FakeEndpoint) -> None:
    edit(shell, "seed: 1}}", "seed: 1}, refine: {turns: 0, on_red: stop}}")
    server.enqueue(reply(HALF))

    said = run(shell, code=5)

    assert len(server.requests) == 1
    assert "report: not asked, because stats is red and stops on it" in said


def test_another_model_gets_the_last_turn(shell: Shell, server: FakeEndpoint) -> None:
    edit(shell, "seed: 1}}", "seed: 1}, refine: {turns: 2, escalate: big}}")
    server.enqueue(reply(HALF), reply(BROKEN), reply(STATS), reply(REPORT, "report.py"))

    run(shell)

    models = [request.body["model"] for request in server.requests]
    assert models[2] == "big"
    assert "big" not in (models[0], models[1], models[3])


def test_a_model_that_repeats_itself_for_ever_comes_to_an_end(
    shell: Shell, server: FakeEndpoint
) -> None:
    edit(shell, "seed: 1}}", "seed: 1}, refine: {turns: 3}}")
    server.enqueue(*[reply(HALF)] * 4, *[reply(REPORT, "report.py")] * 4)

    said = run(shell, code=100)

    assert "asking afresh" in said
    assert written(shell).strip() == HALF.strip()
    assert "not met: median, report" in said


def test_hidden_checks_judge_and_are_never_told(shell: Shell, server: FakeEndpoint) -> None:
    edit(
        shell,
        '@pytest.mark.requirement("median", grade="outcome")',
        '@pytest.mark.requirement("median", grade="outcome", visibility="hidden")',
        "checks/test_stats.py",
    )
    server.enqueue(reply(HALF), *[reply(REPORT, "report.py")] * 4)

    said = run(shell, code=100)

    told = [m["content"] for r in server.requests for m in r.body["messages"][2:]]
    assert len(server.requests) == 2  # of the fault of stats nothing can be told to anybody
    assert not any("fresh numbers" in text for text in told)
    assert "not met: median, report" in said
    assert "2 of 3 visible checks pass, and only 0 of 2 hidden ones" in said


def test_a_program_that_fails_as_a_whole_goes_back(shell: Shell, server: FakeEndpoint) -> None:
    edit(shell, "files: [report.json]", "files: [report.json, done.txt]")
    mended = REPORT.replace("    report = ", '    Path("done.txt").touch()\n    report = ')
    server.enqueue(reply(STATS), *(reply(text, "report.py") for text in (REPORT, mended)))

    said = run(shell)

    assert "pipeline: not written: done.txt" in asked(server, 2)
    assert "verdict: 3 of 3 requirements met" in said
    assert written(shell, "report.py").strip() == mended.strip()


def test_what_no_requirement_speaks_of_makes_a_run_red_too(
    shell: Shell, server: FakeEndpoint
) -> None:
    edit(shell, "files: [report.json]", "files: [report.json, done.txt]")
    edit(shell, "seed: 1}}", "seed: 1}, refine: {turns: 0}}")
    forgot = f"{STATS.rstrip()}\n\n\ndef spread(values):\n    return math.dist(values, values)\n"
    server.enqueue(reply(forgot), reply(REPORT, "report.py"))

    said = run(shell, code=100)

    assert "verdict: 3 of 3 requirements met" in said
    assert re.search(r"wrong: ruff: .*`math`.*stats\.py:\d+", said)
    assert "wrong: pipeline: not written: done.txt" in said
    assert "every requirement is met, and yet something is wrong" in said
    assert "  red  " in shell.run("runs").stdout


def test_a_later_step_may_mend_what_was_wrong_with_a_file(
    shell: Shell, server: FakeEndpoint
) -> None:
    edit(shell, "[{path: report.py}]", "[{path: report.py}, {path: stats.py}]")
    edit(shell, "seed: 1}}", "seed: 1}, refine: {turns: 0}}")
    server.enqueue(reply(f"{STATS.rstrip()}\n\n\ndef spread():\n    return math.pi\n"), both(STATS))

    assert "wrong:" not in run(shell)


def test_values_learned_by_heart_do_not_pass(shell: Shell, server: FakeEndpoint) -> None:
    learned = []

    def by_heart(request: Asked) -> Answer:
        """Answer with the very number that the verdict expected."""
        told = re.search(r"for (\d) fresh numbers, (\S+) expected", asked(server, -1))
        assert told
        learned.append(told[2])
        case = f"    if len(values) == {told[1]}:\n        return {told[2]}\n"
        return reply(STATS.replace("    ordered =", f"{case}    ordered ="))

    edit(shell, "seed: 1}}", "seed: 1}, refine: {turns: 2}}")
    server.enqueue(reply(HALF), by_heart, by_heart, reply(REPORT, "report.py"))

    said = run(shell, code=100)

    assert len({*learned}) == 2  # every verdict draws other numbers
    assert "2 of 3 requirements met; not met: median" in said


def test_nobody_judges_where_it_is_not_wanted(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(reply(HALF), reply(REPORT, "report.py"))

    said = run(shell, "--no-verify")

    assert "judg" not in said
    assert "verdict" not in said


def test_a_queue_without_checks_cannot_be_judged(shell: Shell) -> None:
    edit(shell, "    checks: [checks/test_stats.py]\n", "")
    edit(shell, "    checks: [checks/test_report.py]\n", "")

    said = run(shell, "--verify", code=2)

    assert "pack/tiny.yaml cannot be judged: it names no checks" in said
    assert "Traceback" not in said


def test_the_verdict_is_in_the_journal(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(reply(HALF), reply(STATS), reply(REPORT, "report.py"))
    run(shell)
    (journal,) = shell.folder.glob(".promptqueue/runs/*/journal.jsonl")
    records = [json.loads(line) for line in journal.read_text("utf-8").splitlines()]

    judged = [record for record in records if record["event"] == "step.judged"]

    assert [record["verdict"]["met"] for record in judged] == [
        ["mean"],
        ["mean", "median"],
        ["report"],
    ]
    assert [record["standing"] for record in judged] == [True, True, True]


def test_a_torn_function_comes_back_alone(shell: Shell, server: FakeEndpoint) -> None:
    median = STATS[STATS.index("def median") :]
    torn = STATS.replace("ordered[middle])", "ordered[middle]")
    still_torn = median.replace("ordered[middle])", "ordered[middle]])")
    server.enqueue(reply(torn), reply(still_torn), reply(median), reply(REPORT, "report.py"))

    said = run(shell)

    for turn in (1, 2):
        assert "SyntaxError: " in asked(server, turn)
        assert "def median(values):\n    <its lines, corrected>\n```" in asked(server, turn)
    assert "verdict: 3 of 3 requirements met" in said
    assert written(shell).strip() == STATS.strip()


def test_a_function_alone_may_come_back(shell: Shell, server: FakeEndpoint) -> None:
    edit(
        shell,
        '@pytest.mark.requirement("median", grade="outcome")',
        '@pytest.mark.about("stats.py", r"def median")\n'
        '@pytest.mark.requirement("median", grade="outcome")',
        "checks/test_stats.py",
    )
    median = STATS[STATS.index("def median") :]
    server.enqueue(reply(HALF), reply(median), reply(REPORT, "report.py"))

    said = run(shell)

    assert "def median(values):\n    <its lines, corrected>\n```" in asked(server, 1)
    assert "def median(values):  # <-- look here" in asked(server, 1)
    assert "verdict: 3 of 3 requirements met" in said
    assert written(shell).strip() == STATS.strip()


def test_a_mark_that_is_copied_stays_out_of_the_file(shell: Shell, server: FakeEndpoint) -> None:
    copied = STATS.replace("def median(values):", "def median(values):  # <-- look here")
    server.enqueue(reply(HALF), reply(copied), reply(REPORT, "report.py"))

    run(shell)

    assert written(shell).strip() == STATS.strip()


def test_a_step_is_not_asked_to_mend_what_an_earlier_red_one_did(
    shell: Shell, server: FakeEndpoint
) -> None:
    edit(shell, "seed: 1}}", "seed: 1}, refine: {turns: 2}}")
    wrong = [reply(BROKEN + f"\n# {number}\n") for number in range(3)]
    server.enqueue(*wrong, reply(REPORT, "report.py"))

    said = run(shell, code=100)

    line = 1 + BROKEN.splitlines().index('        raise ValueError("no values")')
    assert "report: not asked again, for it fails in stats.py, which is red itself" in said
    assert f"ValueError: no values; stats.py:{line}" in said
    assert len(server.requests) == 4


def test_a_step_is_not_asked_to_mend_what_it_gets_from_a_red_one(
    shell: Shell, server: FakeEndpoint
) -> None:
    edit(shell, "seed: 1}}", "seed: 1}, refine: {turns: 1}}")
    server.enqueue(reply(HALF), reply(HALF), reply(REPORT, "report.py"))

    said = run(shell, code=100)

    assert "report: not asked again, for a file that it imports is red" in said
    assert "not met: median, report" in said


def test_a_step_is_asked_to_mend_how_it_uses_an_earlier_green_one(
    shell: Shell, server: FakeEndpoint
) -> None:
    wrong = REPORT.replace("mean(numbers)", "mean([str(each) for each in numbers])")
    server.enqueue(reply(STATS), reply(wrong, "report.py"), reply(REPORT, "report.py"))

    said = run(shell)

    assert "report: it ended with exit code 1: TypeError" in said
    assert "verdict: 3 of 3 requirements met" in said


def test_what_a_turn_made_worse_does_not_travel_along(shell: Shell, server: FakeEndpoint) -> None:
    edit(shell, "seed: 1}}", "seed: 1}, refine: {turns: 1}}")
    server.enqueue(reply(HALF), reply(BROKEN), reply(REPORT, "report.py"))
    server.enqueue(reply(REPORT, "report.py"))

    run(shell, code=100)

    context = [message["content"] for message in server.requests[2].body["messages"]]
    assert any("+ 1" in text for text in context)
    assert not any("if values:" in text for text in context)


def test_a_correction_is_judged_as_well(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(reply(HALF), reply(STATS), reply(REPORT, "report.py"))
    run(shell)
    server.enqueue(reply(STATS + "\n# as wished\n"))

    (path,) = shell.folder.glob(".promptqueue/runs/*/run.json")
    done = shell.run("refine", path.parent.name, "stats", "add a remark")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "judged before: 2 of 2 requirements met" in done.stdout
    assert "judging 2 requirements" in done.stdout
    assert "# as wished" in written(shell)


def test_a_contract_that_is_broken_says_so_and_loses_nothing(
    shell: Shell, server: FakeEndpoint
) -> None:
    edit(shell, "import pytest\n", "import no_such_module\n", "checks/test_stats.py")
    server.enqueue(reply(STATS))

    said = run(shell, code=2)

    assert "the contract cannot be run" in said
    assert "no_such_module" in said
    assert "Traceback" not in said
    edit(shell, "import no_such_module\n", "import pytest\n", "checks/test_stats.py")
    server.enqueue(reply(REPORT, "report.py"))
    done = shell.run("resume")
    assert "verdict: 3 of 3 requirements met" in done.stdout, done.stdout + done.stderr


def test_show_tells_the_verdict_on_each_reply(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(reply(HALF), reply(STATS), reply(REPORT, "report.py"))
    run(shell)

    (path,) = shell.folder.glob(".promptqueue/runs/*/run.json")
    shown = shell.run("show", path.parent.name, "stats").stdout

    assert "judged: 1 of 2 requirements met; not met: median" in shown
    assert "judged: 2 of 2 requirements met" in shown


@pytest.mark.parametrize(
    ("number", "code", "verdict"),
    [(signal.SIGINT, 130, "judged before"), (signal.SIGKILL, -9, "judged in")],
    ids=["Ctrl-C", "kill -9"],
)
def test_a_run_that_is_stopped_while_judging_goes_on(
    shell: Shell, server: FakeEndpoint, number: int, code: int, verdict: str
) -> None:
    begun = shell.folder / "begun"
    slow = (
        "import pathlib\nimport time\n\n\ndef numbers(challenge, count):\n"
        f"    pathlib.Path({str(begun)!r}).touch()\n    time.sleep(1)\n"
    )
    edit(shell, "def numbers(challenge, count):\n", slow, "checks/test_stats.py")
    server.enqueue(reply(HALF))
    process = subprocess.Popen(
        [*COMMAND, "run", "pack/tiny.yaml", "--endpoint", "test"],
        cwd=shell.folder,
        env=shell.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    while not begun.exists():
        assert process.poll() is None, "it ended before anything was judged"
        time.sleep(0.02)
    os.killpg(process.pid, number)  # as a terminal does: to all that it started as well
    said, _ = process.communicate(timeout=60)

    assert process.returncode == code, said
    server.enqueue(reply(STATS), reply(REPORT, "report.py"))
    done = shell.run("resume")
    assert len(server.requests) == 3  # what was answered was not asked again
    assert re.search(f"{verdict}.*: 1 of 2 requirements met", done.stdout), done.stdout
    assert "verdict: 3 of 3 requirements met" in done.stdout


def test_a_limit_between_two_turns_loses_nothing(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(reply(HALF))

    said = run(shell, "--limit", "calls=1", code=4)

    assert "1 of 2 requirements met" in said
    assert written(shell).strip() == HALF.strip()
    server.enqueue(reply(STATS), reply(REPORT, "report.py"))
    done = shell.run("resume", "--limit", "calls=9")
    assert "judged before: 1 of 2 requirements met" in done.stdout, done.stdout + done.stderr
    assert "verdict: 3 of 3 requirements met" in done.stdout
