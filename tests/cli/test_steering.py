"""Steering a run: corrections, starting in the middle, earlier answers, plans and replays."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator

import pytest

from promptqueue.run.journal import RunDirectory
from tests.cli.command import QUEUE, Shell
from tests.cli.process import Process, in_a_pipe, in_a_terminal
from tests.fake_endpoint import Answer, FakeEndpoint, error, stream
from tests.run.test_replay import forge
from tests.scripted import fence

THREE = (
    QUEUE
    + """\
  - id: apart
    task: Write apart.py.
    context: none
    outputs: [{path: apart.py}]
"""
)


ONE = stream(fence("one.py", "def one():\n    return 1"))
ONE_CHANGED = stream(fence("one.py", "def one():\n    return 11"))
TWO = stream(fence("two.py", "x = 2"))
TWO_CHANGED = stream(fence("two.py", "x = 22"))
APART = stream(fence("apart.py", "y = 3"))


pytestmark = pytest.mark.usefixtures("configured")


def run(shell: Shell, *arguments: str, code: int = 0) -> str:
    done = shell.run("run", "q.yaml", "--endpoint", "test", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def runs_of(shell: Shell) -> list[str]:
    return sorted(path.parent.name for path in shell.folder.glob(".promptqueue/runs/*/run.json"))


def text(shell: Shell, name: str) -> str:
    return (shell.folder / "generated/tiny" / name).read_text("utf-8")


def edit(shell: Shell, old: str, new: str) -> None:
    queue = shell.folder / "q.yaml"
    assert old in queue.read_text("utf-8")
    queue.write_text(queue.read_text("utf-8").replace(old, new), "utf-8")


# ---- earlier answers


def test_an_unchanged_queue_is_not_asked_again(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(ONE, TWO)
    run(shell)
    said = run(shell)
    assert len(server.requests) == 2
    assert said.count(f"answered before, by the run {runs_of(shell)[0]}") == 2
    assert "0 calls, 0 tokens in" in said


def test_after_an_edit_only_that_step_and_its_dependents_are_asked(
    shell: Shell, server: FakeEndpoint
) -> None:
    shell.write("q.yaml", THREE)
    server.enqueue(ONE, TWO, APART)
    run(shell)
    edit(shell, "Write one.py.", "Write one.py, please.")
    server.enqueue(ONE_CHANGED, TWO_CHANGED)
    run(shell)
    prompts = [request.body["messages"][-1]["content"] for request in server.requests[3:]]
    assert ["one.py, please" in prompts[0], "two.py" in prompts[1], len(prompts)] == [True, True, 2]
    assert (text(shell, "two.py"), text(shell, "apart.py")) == ("x = 22\n", "y = 3\n")


def test_fresh_asks_everything_anew(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(ONE, TWO, ONE_CHANGED, TWO_CHANGED)
    run(shell)
    run(shell, "--fresh")
    assert len(server.requests) == 4
    assert text(shell, "two.py") == "x = 22\n"


def test_from_a_step_the_ones_before_are_taken_as_they_are(
    shell: Shell, server: FakeEndpoint
) -> None:
    server.enqueue(ONE, TWO, TWO_CHANGED)
    run(shell)
    run(shell, "--from", "two")
    assert len(server.requests) == 3
    assert text(shell, "two.py") == "x = 22\n"


def test_a_step_to_start_from_that_is_none_is_refused(shell: Shell, server: FakeEndpoint) -> None:
    said = run(shell, "--from", "tow", code=2)
    assert "has no step 'tow'; did you mean 'two'?" in said
    assert server.requests == []
    assert runs_of(shell) == []


def test_an_incomplete_step_is_asked_again(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(stream("no"), stream("never"), TWO)
    run(shell, code=5)
    server.enqueue(ONE, TWO)
    run(shell)
    assert len(server.requests) == 5


def test_another_endpoint_does_not_answer_for_this_one(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(ONE, TWO)
    run(shell)
    with FakeEndpoint([ONE, TWO]) as other:
        done = shell.run("run", "q.yaml", "--base-url", other.base_url)
        assert done.returncode == 0
        assert len(other.requests) == 2


def test_an_altered_run_is_not_believed(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(ONE, TWO)
    run(shell)
    journal = next(shell.folder.glob(".promptqueue/runs/*/journal.jsonl"))
    journal.write_text(journal.read_text().replace('"turn":0', '"turn":7'))
    server.enqueue(ONE, TWO)
    run(shell)
    assert len(server.requests) == 4


def test_a_run_on_earlier_answers_can_be_read_without_the_earlier_run(
    shell: Shell, server: FakeEndpoint
) -> None:
    server.enqueue(ONE, TWO)
    run(shell)
    run(shell)
    first, second = runs_of(shell)
    subprocess.run(["rm", "-r", str(shell.folder / ".promptqueue/runs" / first)], check=True)
    done = shell.run("replay", second)
    assert done.returncode == 0, done.stderr
    assert "2 steps replayed, 2 files; every byte as it was" in done.stdout


# ---- refine


def test_a_correction_is_one_more_turn_and_what_depends_on_it_is_stale(
    shell: Shell, server: FakeEndpoint
) -> None:
    server.enqueue(ONE, TWO, ONE_CHANGED)
    run(shell)
    done = shell.run("refine", runs_of(shell)[0], "one", "Return 11.")
    assert done.returncode == 0, done.stderr
    messages = server.requests[2].body["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert messages[-1]["content"].startswith("Return 11.\n")
    assert text(shell, "one.py") == "def one():\n    return 11\n"
    assert text(shell, "two.py") == "x = 2\n"
    assert "asked with the old one: two" in done.stdout


def test_resume_asks_the_stale_steps_with_the_corrected_reply(
    shell: Shell, server: FakeEndpoint
) -> None:
    server.enqueue(ONE, TWO, ONE_CHANGED, TWO_CHANGED)
    run(shell)
    name = runs_of(shell)[0]
    shell.run("refine", name, "one", "Return 11.")
    done = shell.run("resume", name)
    assert done.returncode == 0, done.stderr
    assert len(server.requests) == 4
    assert "return 11" in json.dumps(server.requests[3].body["messages"])
    assert text(shell, "two.py") == "x = 22\n"


def test_rerun_asks_the_stale_steps_at_once(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(ONE, TWO, ONE_CHANGED, TWO_CHANGED)
    run(shell)
    done = shell.run("refine", runs_of(shell)[0], "one", "Return 11.", "--rerun")
    assert done.returncode == 0, done.stderr
    assert text(shell, "two.py") == "x = 22\n"
    assert "done in" in done.stdout


def test_a_step_that_does_not_depend_on_the_corrected_one_is_not_stale(
    shell: Shell, server: FakeEndpoint
) -> None:
    shell.write("q.yaml", THREE)
    server.enqueue(ONE, TWO, APART, ONE_CHANGED)
    run(shell)
    done = shell.run("refine", runs_of(shell)[0], "one", "Return 11.")
    assert "with the old one: two\n" in done.stdout


def test_a_correction_holds_in_the_next_run(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(ONE, TWO, ONE_CHANGED, TWO_CHANGED)
    run(shell)
    shell.run("refine", runs_of(shell)[0], "one", "Return 11.", "--rerun")
    run(shell)
    assert len(server.requests) == 4
    assert text(shell, "one.py") == "def one():\n    return 11\n"


def test_a_correction_that_brings_nothing_keeps_the_file_and_says_so(
    shell: Shell, server: FakeEndpoint
) -> None:
    server.enqueue(ONE, TWO, stream("I will."), stream("Soon."))
    run(shell)
    done = shell.run("refine", runs_of(shell)[0], "one", "Return 11.")
    assert text(shell, "one.py") == "def one():\n    return 1\n"
    assert "not usable: one.py" in done.stdout


def test_a_correction_works_on_the_queue_as_it_was(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(ONE, TWO, ONE_CHANGED)
    run(shell)
    edit(shell, "Write one.py.", "Write something else.")
    done = shell.run("refine", runs_of(shell)[0], "one", "Return 11.")
    assert done.returncode == 0, done.stderr
    assert "Write one.py." in server.requests[2].body["messages"][0]["content"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere", "one", "x"), "there is no run 'nowhere'"),
        (("tiny", "tow", "x"), "has no step 'tow'; did you mean 'two'?"),
        (("tiny", "one", "  "), "the correction is empty"),
    ],
)
def test_a_correction_of_what_is_not_there_is_refused(
    shell: Shell, server: FakeEndpoint, arguments: tuple[str, ...], words: str
) -> None:
    server.enqueue(ONE, TWO)
    run(shell)
    done = shell.run("refine", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert len(server.requests) == 2


def test_a_correction_does_not_forget_what_is_missing_of_an_earlier_step(
    shell: Shell, server: FakeEndpoint
) -> None:
    server.enqueue(stream("I will."), stream("Soon."), TWO, TWO_CHANGED)
    run(shell, code=5)
    done = shell.run("refine", "tiny", "two", "Say 22.")
    assert (done.returncode, "one did not bring usable files" in done.stderr) == (5, True)
    assert text(shell, "two.py") == "x = 22\n"
    assert len(server.requests) == 4


def test_a_step_before_the_corrected_one_may_have_been_skipped(
    shell: Shell, server: FakeEndpoint, at_the_wheel: AtTheWheel
) -> None:
    server.enqueue(ONE, TWO, TWO_CHANGED)
    terminal = at_the_wheel()
    for key in "sa":
        terminal.read_until("(q)uit [a]: ")
        terminal.type(key)
    assert terminal.end() == 5, terminal.text
    assert shell.run("refine", "tiny", "two", "Say 22.").returncode == 5
    assert text(shell, "two.py") == "x = 22\n"


def test_a_stale_step_is_asked_again_before_it_is_corrected(
    shell: Shell, server: FakeEndpoint
) -> None:
    server.enqueue(ONE, TWO, ONE_CHANGED)
    run(shell)
    assert shell.run("refine", "tiny", "one", "Return 11.").returncode == 0
    done = shell.run("refine", "tiny", "two", "Say 22.")
    assert (done.returncode, len(server.requests)) == (2, 3)
    assert "'two' with what an earlier one has changed since; go on with" in done.stderr


def test_a_step_without_an_answer_cannot_be_corrected(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(ONE, *[Answer(status=401)] * 2)
    run(shell, code=3)
    done = shell.run("refine", "tiny", "two", "x")
    assert done.returncode == 2
    assert "no answer of the step 'two' yet; go on with `promptqueue resume" in done.stderr


def test_a_run_at_work_cannot_be_corrected(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(ONE, Answer(hangs=True))
    shell.write("config.toml", f'[endpoints.test]\nbase_url = "{server.base_url}"\n')
    with in_a_pipe(shell, "run", "q.yaml", "--endpoint", "test") as process:
        process.wait_for(lambda: len(server.requests) == 2)
        done = shell.run("refine", "tiny", "one", "x")
    assert done.returncode == 6
    assert "is at work in another process" in done.stderr


# ---- plan


def test_plan_says_what_run_then_asks(shell: Shell, server: FakeEndpoint) -> None:
    shell.write("q.yaml", THREE)
    server.enqueue(ONE, TWO, APART)
    run(shell)
    edit(shell, "Write one.py.", "Write one.py, please.")
    done = shell.run("plan", "q.yaml", "--endpoint", "test", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [(each["step"], each["asked"]) for each in told] == [
        ("one", True),
        ("two", True),
        ("apart", False),
    ]
    assert told[1]["reason"] == "it depends on one"
    assert len(server.requests) == 3


def test_plan_gives_tokens_and_money(shell: Shell, server: FakeEndpoint) -> None:
    config = (shell.folder / "config.toml").read_text()
    prices = 'model = "m"\n\n[prices.m]\ninput = 10.0\noutput = 1000.0\n'
    shell.write("config.toml", config + prices)
    server.enqueue(ONE, TWO)
    run(shell)
    edit(shell, "Write two.py.", "Write two.py!")
    done = shell.run("plan", "q.yaml", "--endpoint", "test", "--json")
    two = json.loads(done.stdout)[1]
    expected = (two["prompt_tokens"] * 10 + two["reply_tokens"] * 1000) / 1e6
    assert two["usd"] == pytest.approx(expected)
    last = [json.loads(line) for line in shell.journal().splitlines()]
    answers = [record for record in last if record["event"] == "call.finished"]
    assert two["reply_tokens"] == answers[1]["usage"]["completion"]


def test_plan_of_a_new_queue_asks_everything(shell: Shell, server: FakeEndpoint) -> None:
    done = shell.run("plan", "q.yaml", "--endpoint", "test")
    assert "2 of 2 steps would be asked" in done.stdout
    assert "tokens and replies of unknown length, money not known" in done.stdout
    assert server.requests == []

    shell.write("q.yaml", THREE + "defaults: {params: {max_tokens: 50}}\n")
    assert "unknown length" not in shell.run("plan", "q.yaml", "--endpoint", "test").stdout


# ---- replay


def test_replay_writes_the_same_files_without_an_endpoint(
    shell: Shell, server: FakeEndpoint
) -> None:
    server.enqueue(stream("no"), ONE, TWO)
    run(shell)
    edit(shell, "Write one.py.", "Write something else.")
    done = shell.run("replay", "--out", "again")
    assert done.returncode == 0, done.stderr
    assert len(server.requests) == 3
    for name in ("one.py", "two.py"):
        assert (shell.folder / "again" / name).read_bytes() == text(shell, name).encode()


def test_a_run_that_stopped_early_is_replayed_as_far_as_it_came(
    shell: Shell, server: FakeEndpoint
) -> None:
    server.enqueue(ONE, *[Answer(status=401)] * 2)
    run(shell, code=3)
    done = shell.run("replay")
    assert done.returncode == 0, done.stderr
    assert "1 file" in done.stdout


def test_a_run_that_ended_before_it_began_cannot_be_replayed(
    shell: Shell, server: FakeEndpoint
) -> None:
    server.enqueue(ONE, TWO)
    run(shell)
    next(shell.folder.glob(".promptqueue/runs/*/journal.jsonl")).write_text("")
    for arguments in (("replay",), ("refine", "tiny", "one", "x")):
        done = shell.run(*arguments)
        assert done.returncode == 6
        assert "holds no copy of its queue: it ended before it began" in done.stderr


def test_a_corrected_run_is_replayed(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(ONE, TWO, ONE_CHANGED, TWO_CHANGED)
    run(shell)
    shell.run("refine", "tiny", "one", "Return 11.")
    assert shell.run("replay").returncode == 0
    shell.run("resume")
    done = shell.run("replay", "--out", "again")
    assert done.returncode == 0, done.stderr
    assert (shell.folder / "again/one.py").read_text() == "def one():\n    return 11\n"


@pytest.mark.parametrize("what", ["altered", "missing"])
@pytest.mark.parametrize("words", ["```python path=two.py", "x = 2", "## TASK\n\nWrite two.py."])
def test_replay_names_the_blob_that_was_tampered_with(
    shell: Shell, server: FakeEndpoint, what: str, words: str
) -> None:
    server.enqueue(ONE, TWO)
    run(shell)
    blobs = shell.folder.glob(".promptqueue/runs/*/blobs/*/*")
    blob = next(path for path in blobs if path.read_text().startswith(words))
    blob.unlink() if what == "missing" else blob.write_text("forged")
    done = shell.run("replay")
    assert done.returncode == 6
    assert blob.name in done.stderr
    assert "Traceback" not in done.stderr


def test_replay_names_the_line_of_a_journal_that_was_tampered_with(
    shell: Shell, server: FakeEndpoint
) -> None:
    server.enqueue(ONE, TWO)
    run(shell)
    journal = next(shell.folder.glob(".promptqueue/runs/*/journal.jsonl"))
    journal.write_text(journal.read_text().replace('"path":"two.py"', '"path":"too.py"'))
    done = shell.run("replay")
    assert done.returncode == 6
    assert re.search(r"journal\.jsonl:\d+: the line is damaged, or it or the one", done.stderr)


def test_a_replay_that_goes_another_way_fails_and_says_where(
    shell: Shell, server: FakeEndpoint
) -> None:
    server.enqueue(ONE, TWO)
    run(shell)
    (name,) = runs_of(shell)
    directory = RunDirectory(shell.folder / ".promptqueue/runs" / name)
    forge(directory, "file.written", digest=directory.blobs.put("x = 3\n"))
    done = shell.run("replay")
    assert done.returncode == 6
    assert f"the replay of {name} is not the run:\ntwo: two.py comes out" in done.stderr


# ---- at a terminal


AtTheWheel = Callable[[], Process]


@pytest.fixture
def at_the_wheel(shell: Shell) -> Iterator[AtTheWheel]:
    with contextlib.ExitStack() as stack:
        command = ("run", "q.yaml", "--endpoint", "test", "--interactive")
        yield lambda: stack.enter_context(in_a_terminal(shell, *command))


def test_a_change_in_the_users_words_is_a_turn_that_later_steps_see(
    shell: Shell, server: FakeEndpoint, at_the_wheel: AtTheWheel
) -> None:
    server.enqueue(ONE, ONE_CHANGED, TWO)
    terminal = at_the_wheel()
    terminal.read_until("(q)uit [a]: ")
    assert not (shell.folder / "generated/tiny/one.py").exists()
    terminal.type("c Return 11.")
    terminal.read_until("(q)uit [a]: ")
    terminal.type("")
    terminal.read_until("(q)uit [a]: ")
    terminal.type("a")
    assert terminal.end() == 0, terminal.text
    assert text(shell, "one.py") == "def one():\n    return 11\n"
    assert "Return 11." in json.dumps(server.requests[2].body["messages"])
    assert shell.run("replay").returncode == 0


def test_an_edited_prompt_takes_the_place_of_the_steps(
    shell: Shell, server: FakeEndpoint, at_the_wheel: AtTheWheel
) -> None:
    shell.environ |= {"VISUAL": "sed -i s/Write/Compose/", "EDITOR": "false"}
    server.enqueue(ONE, ONE_CHANGED, TWO)
    terminal = at_the_wheel()
    terminal.read_until("(q)uit [a]: ")
    terminal.type("e")
    terminal.read_until("(q)uit [a]: ")
    terminal.type("a")
    terminal.read_until("(q)uit [a]: ")
    terminal.type("a")
    assert terminal.end() == 0, terminal.text
    edited = server.requests[1].body["messages"]
    assert len(edited) == 1
    assert "Compose one.py." in edited[0]["content"]
    assert text(shell, "one.py") == "def one():\n    return 11\n"


def test_a_retry_asks_for_another_sample(
    shell: Shell, server: FakeEndpoint, at_the_wheel: AtTheWheel
) -> None:
    server.enqueue(ONE, ONE_CHANGED, TWO)
    terminal = at_the_wheel()
    terminal.read_until("(q)uit [a]: ")
    terminal.type("r")
    for _ in range(2):
        terminal.read_until("(q)uit [a]: ")
        terminal.type("a")
    assert terminal.end() == 0, terminal.text
    first, second = (request.body for request in server.requests[:2])
    assert first["messages"] == second["messages"]
    assert (first["seed"], second["seed"]) == (5, 6)


def test_a_later_correction_is_asked_with_the_turns_that_the_retry_left(
    shell: Shell, server: FakeEndpoint, at_the_wheel: AtTheWheel
) -> None:
    server.enqueue(ONE, ONE_CHANGED, TWO)
    terminal = at_the_wheel()
    for key in ("r", "a", "a"):
        terminal.read_until("(q)uit [a]: ")
        terminal.type(key)
    assert terminal.end() == 0, terminal.text
    assert shell.run("resume").returncode == 0  # the decisions are then older than the turns
    server.enqueue(TWO_CHANGED)
    done = shell.run("refine", "tiny", "two", "Return 22.")
    assert done.returncode == 0, done.stderr
    asked, corrected = (request.body["messages"] for request in server.requests[-2:])
    assert corrected[: len(asked)] == asked


def test_a_skipped_step_writes_nothing_and_the_run_is_not_complete(
    shell: Shell, server: FakeEndpoint, at_the_wheel: AtTheWheel
) -> None:
    server.enqueue(ONE, TWO)
    terminal = at_the_wheel()
    terminal.read_until("(q)uit [a]: ")
    terminal.type("s")
    terminal.read_until("(q)uit [a]: ")
    terminal.type("a")
    assert terminal.end() == 5, terminal.text
    assert not (shell.folder / "generated/tiny/one.py").exists()
    assert text(shell, "two.py") == "x = 2\n"


def test_what_is_wrong_can_be_sent_back_or_accepted_as_it_is(
    shell: Shell, server: FakeEndpoint, at_the_wheel: AtTheWheel
) -> None:
    server.enqueue(stream("no"), stream(fence("one.py", "two = 2")), TWO)
    terminal = at_the_wheel()
    terminal.read_until("(f)ix what is wrong")
    terminal.type("")
    terminal.read_until("not usable: one.py")
    terminal.read_until("(q)uit [f]: ")
    terminal.type("nonsense")
    terminal.read_until("'nonsense' is none of these")
    terminal.type("a")
    terminal.read_until("(q)uit [a]: ")
    terminal.type("a")
    assert terminal.end() == 5, terminal.text
    assert len(server.requests) == 3


def test_quitting_keeps_the_reply_for_the_resumed_run(
    shell: Shell, server: FakeEndpoint, at_the_wheel: AtTheWheel
) -> None:
    server.enqueue(ONE, TWO)
    terminal = at_the_wheel()
    terminal.read_until("(q)uit [a]: ")
    terminal.type("v")
    terminal.read_until("def one():")
    terminal.read_until("(q)uit [a]: ")
    terminal.type("q")
    assert terminal.end() == 130
    assert "promptqueue resume" in terminal.text
    assert "Traceback" not in terminal.text
    assert shell.run("resume").returncode == 0
    assert len(server.requests) == 2
    assert text(shell, "one.py") == "def one():\n    return 1\n"


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_without_a_terminal_there_is_nobody_to_ask(
    shell: Shell, server: FakeEndpoint, more: tuple[str, ...]
) -> None:
    said = run(shell, "--interactive", *more, code=2)
    assert "needs a terminal" in said
    assert server.requests == []


def test_a_step_that_was_renamed_on_the_way_is_no_difference(
    shell: Shell, server: FakeEndpoint
) -> None:
    server.enqueue(ONE, error(401))
    run(shell, code=3)
    edit(shell, "id: two", "id: second")
    server.enqueue(TWO)
    resumed = shell.run("resume")
    assert resumed.returncode == 0, resumed.stderr
    replayed = shell.run("replay")
    assert (replayed.returncode, replayed.stderr) == (0, "")


def test_an_edit_back_to_what_was_asked_before_is_another_sample(
    shell: Shell, server: FakeEndpoint, at_the_wheel: AtTheWheel
) -> None:
    shell.write(
        "turn.sh", "grep -q Write $1 && sed -i s/Write/Compose/ $1 || sed -i s/Compose/Write/ $1"
    )
    shell.environ["EDITOR"] = f"sh {shell.folder}/turn.sh"
    server.enqueue(ONE, ONE_CHANGED, ONE, TWO)
    terminal = at_the_wheel()
    for key in "eeaa":
        terminal.read_until("(q)uit [a]: ")
        terminal.type(key)
    assert terminal.end() == 0, terminal.text
    seeds = [request.body.get("seed") for request in server.requests]
    assert seeds[0] == seeds[1] != seeds[2]


def test_an_archived_reply_that_is_lost_is_asked_again(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(ONE, TWO)
    run(shell)
    (path,) = shell.folder.glob(".promptqueue/runs/2*")
    reply = next(r for r in RunDirectory(path).records() if r["event"] == "call.finished")
    RunDirectory(path).blobs.path(reply["text"]).unlink()
    server.enqueue(ONE)
    run(shell)
    assert len(server.requests) == 3


def test_plan_knows_a_step_that_was_renamed(shell: Shell, server: FakeEndpoint) -> None:
    edit(shell, "defaults: {", "defaults: {model: m, ")
    server.enqueue(ONE, TWO)
    run(shell)
    edit(shell, "id: two", "id: second")
    done = shell.run("plan", "q.yaml", "--endpoint", "test")
    assert done.returncode == 0, done.stderr
    assert "nothing would be asked" in done.stdout


def test_plan_does_not_take_another_queue_for_this_one(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(ONE, TWO)
    edit(shell, "name: tiny", "name: tiny-fine")
    run(shell)
    edit(shell, "name: tiny-fine", "name: tiny")
    edit(shell, "Write one.py.", "Write one.py, please.")
    done = shell.run("plan", "q.yaml", "--endpoint", "test")
    assert "no run has answered it" in done.stdout


def test_resume_goes_to_no_other_host(shell: Shell, server: FakeEndpoint) -> None:
    shell.environ |= {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "k"}
    server.enqueue(ONE, error(401, "no"))
    assert shell.run("run", "q.yaml").returncode == 3
    with FakeEndpoint([TWO]) as other:
        shell.environ["OPENAI_BASE_URL"] = other.base_url
        done = shell.run("resume")
        assert done.returncode == 2, done.stderr
        for words in (server.base_url, other.base_url, "--endpoint openai"):
            assert words in done.stderr
        assert other.requests == []
        assert shell.run("resume", "--endpoint", "openai").returncode == 0


def test_resume_says_where_a_profile_has_moved_to(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(ONE, error(401, "no"))
    run(shell, code=3)
    with FakeEndpoint([TWO]) as other:
        shell.configure(other.base_url)
        done = shell.run("resume")
    assert f"as the run began, then at {server.base_url}" in done.stdout


def test_what_a_resumed_run_got_elsewhere_does_not_answer_here(
    shell: Shell, server: FakeEndpoint
) -> None:
    server.enqueue(ONE, error(401, "no"))
    run(shell, code=3)
    with FakeEndpoint([TWO, ONE]) as other:
        shell.run("resume", "--base-url", other.base_url)
        done = shell.run("run", "q.yaml", "--base-url", other.base_url)
        assert done.returncode == 0, done.stderr
        assert len(other.requests) == 2  # of the new run the first step alone


def test_a_correction_that_is_no_text_is_refused_and_the_run_stays_sound(
    shell: Shell, server: FakeEndpoint
) -> None:
    server.enqueue(ONE, TWO)
    run(shell)
    done = shell.run("refine", runs_of(shell)[0], "one", os.fsdecode(b"caf\xe9"))
    assert (done.returncode, "no text in UTF-8" in done.stderr) == (2, True)
    assert shell.run("resume", "--endpoint", "test").returncode == 0


def test_a_file_of_inputs_wins_over_those_of_the_run(shell: Shell, server: FakeEndpoint) -> None:
    edit(shell, "defaults: {", "inputs: {n: {type: int, default: 1}}\ndefaults: {")
    edit(shell, "Write one.py.", "Write one.py, {{ inputs.n }} times.")
    server.enqueue(ONE, TWO)
    run(shell, "--set", "n=2")
    shell.write("new.yaml", "n: 3\n")

    def rendered(*arguments: str) -> str:
        return shell.run("render", "q.yaml", "--run", "tiny", *arguments).stdout

    assert "one.py, 2 times" in rendered()
    assert "one.py, 3 times" in rendered("--inputs", "new.yaml")
    assert "one.py, 4 times" in rendered("--inputs", "new.yaml", "--set", "n=4")


@pytest.mark.parametrize("in_the_way", ["a folder", "a file"])
def test_a_replay_into_what_is_in_the_way(
    shell: Shell, server: FakeEndpoint, in_the_way: str
) -> None:
    server.enqueue(ONE, TWO)
    run(shell)
    if in_the_way == "a folder":
        (shell.folder / "copy/one.py").mkdir(parents=True)
    else:
        shell.write("copy", "")
    done = shell.run("replay", "--out", "copy")
    assert done.returncode == 6
    assert "copy/one.py cannot be written" in done.stderr
    assert "name another folder with --out DIR" in done.stderr
