"""What happened, read back: runs, show, diff and blame."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.cli.command import Shell
from tests.cli.process import in_a_pipe
from tests.fake_endpoint import Answer, FakeEndpoint, count, error, stream
from tests.scripted import fence

ONE = stream(fence("one.py", "def one():\n    a = 1\n    return a"))
ONE_CHANGED = stream(fence("one.py", "def one():\n    a = 11\n    return a"))
TWO = stream(fence("two.py", "x = 2"))


pytestmark = pytest.mark.usefixtures("configured")


def run(shell: Shell, *arguments: str) -> str:
    shell.run("run", "q.yaml", "--endpoint", "test", *arguments)
    return sorted(shell.folder.glob(".promptqueue/runs/*/run.json"))[-1].parent.name


def say(shell: Shell, *arguments: str, code: int = 0) -> str:
    done = shell.run(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_where_nothing_ran_it_says_how_to_begin(shell: Shell) -> None:
    assert (
        say(shell, "runs") == "no run in .promptqueue/runs; start one with promptqueue run QUEUE\n"
    )
    done = shell.run("runs", "--status", "nope")
    assert done.returncode == 2
    assert "'at work'" in done.stderr


def test_runs_are_listed_latest_first_with_what_became_of_them(
    shell: Shell, server: FakeEndpoint
) -> None:
    server.enqueue(ONE, TWO, *[error(401)] * 4)
    first = run(shell)
    second = run(shell, "--fresh")
    told = json.loads(say(shell, "runs", "--json"))
    assert [(each["run"], each["status"]) for each in told] == [
        (second, "stopped"),
        (first, "complete"),
    ]
    assert told[1]["calls"] == 2
    assert say(shell, "runs").splitlines()[1].startswith(first)
    assert second not in say(shell, "runs", "--status", "complete")
    assert "no such run" in say(shell, "runs", "--queue", "other")


def test_of_many_runs_the_latest_are_listed_and_all_with_their_sizes_on_request(
    shell: Shell, server: FakeEndpoint
) -> None:
    server.enqueue(ONE, TWO)
    first = run(shell)
    runs = shell.folder / ".promptqueue/runs"
    later = [f"3{first[1:-2]}{number}" for number in range(70, 91)]  # of a later day
    for name in later:
        shutil.copytree(runs / first, runs / name)

    *shown, hidden = say(shell, "runs").splitlines()
    assert [line.split()[0] for line in shown] == later[:0:-1]
    assert hidden == "and 2 more: --all"
    told = json.loads(say(shell, "runs", "--all", "--size", "--json"))
    assert len(told) == 22
    files = [path for path in (runs / first).rglob("*") if path.is_file()]
    assert told[-1]["bytes"] == sum(path.stat().st_size for path in files)
    assert " MB" in say(shell, "runs", "--size")


def test_a_run_at_work_is_listed_as_such_and_can_be_read(
    shell: Shell, server: FakeEndpoint
) -> None:
    server.enqueue(ONE, Answer(hangs=True))
    shell.write("config.toml", f'[endpoints.test]\nbase_url = "{server.base_url}"\n')
    with in_a_pipe(shell, "run", "q.yaml", "--endpoint", "test") as process:
        process.wait_for(lambda: len(server.requests) == 2)
        listed, shown = say(shell, "runs"), say(shell, "show")
    assert "at work" in listed
    assert "one: complete, 1 turn" in shown
    assert "two: not complete, 1 turn, no answer yet" in shown


def test_pruning_names_first_and_removes_only_when_told(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(ONE, TWO)
    first = run(shell)
    second = run(shell)
    assert first in say(shell, "runs", "--prune", "1")
    assert len(json.loads(say(shell, "runs", "--json"))) == 2
    assert "removed" in say(shell, "runs", "--prune", "1", "--yes")
    assert [each["run"] for each in json.loads(say(shell, "runs", "--json"))] == [second]
    assert say(shell, "replay", second)


def test_pruning_tells_machines_what_it_removes(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(ONE, TWO)
    first, second = run(shell), run(shell)

    for arguments, removed in ([], False), (["--yes"], True):
        told = json.loads(say(shell, "runs", "--prune", "1", "--json", *arguments))
        assert [(each["run"], each["removed"]) for each in told] == [(first, removed)]
        assert told[0]["bytes"] > 0
    assert [each["run"] for each in json.loads(say(shell, "runs", "--json"))] == [second]


def test_show_tells_what_each_step_took_and_brought(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(stream("no"), ONE, TWO)
    run(shell)
    shown = say(shell, "show")
    assert "one: complete, 2 turns" in shown
    assert "two.py  sha256" in shown


def test_show_gives_the_money_of_each_step(shell: Shell, server: FakeEndpoint) -> None:
    shell.write("p.toml", '[prices."m"]\ninput = 2.0\noutput = 10.0\n')
    bodies = (fence("one.py", "def one():\n    a = 1"), fence("two.py", "x = 2"))
    usages = (count(1000, 50), count(3000, 100))
    server.enqueue(*(stream(text, usage=usage) for text, usage in zip(bodies, usages, strict=True)))
    run(shell, "--model", "m", "--prices", "p.toml")
    shown = say(shell, "show")
    assert [line.rpartition(", ")[2] for line in shown.splitlines() if ": complete" in line] == [
        "0.0025 USD",
        "0.0070 USD",
    ]


def test_show_of_a_step_gives_prompts_replies_and_what_was_wrong(
    shell: Shell, server: FakeEndpoint
) -> None:
    server.enqueue(stream("no"), ONE, TWO)
    name = run(shell)
    shown = say(shell, "show", name, "one")
    order = ["turn 0", "Write one.py.", "---- reply (stop)\nno", "missing", "turn 1", "a = 1"]
    assert [words for words in order if words in shown] == order
    assert sorted(order, key=shown.index) == order


def test_a_step_is_given_to_machines_with_its_prompts_and_replies(
    shell: Shell, server: FakeEndpoint
) -> None:
    server.enqueue(stream("no"), ONE, TWO)
    name = run(shell)
    told = json.loads(say(shell, "show", name, "one", "--json"))

    assert (told["run"], told["step"]) == (name, "one")
    first, second = told["calls"]
    assert "Write one.py." in first["prompt_text"]
    assert (first["turn"], first["reply_text"], first["finish"]) == (0, "no", "stop")
    assert "a = 1" in second["reply_text"]


def test_show_gives_a_reply_byte_for_byte(shell: Shell, server: FakeEndpoint) -> None:
    text = "Ответ:\r\n\n```python path=one.py\ndef one():\n    return '✓'\n```\n\n"
    server.enqueue(stream(text), TWO)
    name = run(shell)
    assert say(shell, "show", name, "one", "--reply") == text


def test_show_gives_the_last_reply_that_there_is(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(stream("no"), error(401, "no key"))
    shell.run("run", "q.yaml", "--endpoint", "test")
    assert say(shell, "show", "--reply", "tiny", "one") == "no"


def test_the_timeline_has_a_line_for_each_call_and_each_wait(
    shell: Shell, server: FakeEndpoint
) -> None:
    server.enqueue(error(503, "busy"), ONE, TWO)
    run(shell)
    lines = say(shell, "show", "--timeline").splitlines()
    assert ["one 0" in lines[0], "two 0" in lines[-1]] == [True, True]
    assert any("waited" in line and "busy" in line for line in lines)
    assert max(len(line) for line in lines if "busy" not in line) < 80  # whatever a server says


def test_equal_runs_have_no_differences(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(ONE, TWO, ONE, TWO)
    first = run(shell)
    second = run(shell, "--fresh")
    assert say(shell, "diff", first, second) == "no differences\n"


def test_diff_shows_prompts_parameters_and_files(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(ONE, TWO, ONE_CHANGED, TWO)
    first = run(shell)
    queue = shell.folder / "q.yaml"
    changed = (
        queue.read_text().replace("seed: 5", "seed: 6").replace("Write one", "Please write one")
    )
    queue.write_text(changed)
    second = run(shell)
    lines = say(shell, "diff", first, second).splitlines()
    assert 'one: parameters: {"seed": 5} → {"seed": 6}' in lines
    for expected in ("-Write one.py.", "+Please write one.py.", "-    a = 1", "+    a = 11"):
        assert expected in lines
    assert "one: the replies differ" in lines
    assert "two: the replies differ" not in lines


def test_blame_names_step_and_turn_of_each_line_and_hand_edits(
    shell: Shell, server: FakeEndpoint
) -> None:
    server.enqueue(ONE, TWO, ONE_CHANGED)
    name = run(shell)
    say(shell, "refine", name, "one", "Make it 11.")
    file = shell.folder / "generated/tiny/one.py"
    file.write_text(file.read_text() + "# mine\n")
    lines = say(shell, "blame", str(file)).splitlines()
    origins = [line.split("   ")[0].strip() for line in lines]
    assert origins == [
        f"one turn 0 {name}",
        f"one turn 1 {name}",
        f"one turn 0 {name}",
        "edited by hand",
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "nowhere"), "there is no run 'nowhere'"),
        (("show", "tiny", "tow"), "did you mean 'two'?"),
        (("show", "--reply"), "--reply needs a STEP"),
        (("show", "tiny", "one", "--timeline"), "--timeline shows all steps"),
        (("show", "tiny", "one", "--reply", "--json"), "name one of them"),
        (("runs", "--yes"), "--prune N --yes"),
        (("diff", "tiny", "nowhere"), "there is no run 'nowhere'"),
        (("blame", "q.yaml"), "no manifest.json"),
        (("blame", "generated/tiny/manifest.json"), "manifest.json does not say which run"),
        (("blame", "generated/tiny/one.py", "--runs", "other"), "not in other; give --runs"),
        (("blame", "nope.py"), "nope.py is no file"),
        (("replay", "nowhere"), "there is no run 'nowhere'"),
    ],
)
def test_what_is_not_there_is_said_with_the_way_out(
    shell: Shell, server: FakeEndpoint, arguments: tuple[str, ...], words: str
) -> None:
    server.enqueue(ONE, TWO)
    run(shell)
    assert words in say(shell, *arguments, code=2)


def test_a_name_that_fits_two_runs_is_refused(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(ONE, TWO)
    first = run(shell)
    second = run(shell)
    said = say(shell, "show", "tiny", code=2)
    assert "fits more than one run" in said
    assert [first in said, second in said] == [True, True]


def test_a_damaged_journal_is_shown_up_to_the_damage(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(ONE, TWO)
    run(shell)
    journal = next(shell.folder.glob(".promptqueue/runs/*/journal.jsonl"))
    lines = journal.read_text().splitlines(keepends=True)
    lines[-2] = lines[-2].replace('"complete":true', '"complete":false')
    journal.write_text("".join(lines))
    said = say(shell, "show")
    assert "the line is damaged, or it or the one above was changed" in said
    assert "one: complete" in said


@pytest.mark.parametrize("line", ["[]", '{"event": "run.finished", "complete": true}'])
def test_a_last_line_that_no_run_writes_does_not_hide_the_other_runs(
    shell: Shell, server: FakeEndpoint, line: str
) -> None:
    server.enqueue(ONE, TWO)
    first, second = run(shell), run(shell)
    with (shell.folder / ".promptqueue/runs" / second / "journal.jsonl").open("a") as file:
        file.write(f"{line}\n")
    told = [row.split()[:2] for row in say(shell, "runs").splitlines()]
    assert told[1] == [first, "complete"]
    assert told[0][0] == second
    assert told[0][1] != "complete"
    assert second in say(shell, "show", second)


@pytest.mark.parametrize("command", ["show", "replay", "resume", "diff", "render"])
def test_a_run_that_says_nothing_of_itself_is_no_fault_of_ours(
    shell: Shell, server: FakeEndpoint, command: str
) -> None:
    server.enqueue(ONE, TWO)
    name = run(shell)
    (shell.folder / ".promptqueue/runs" / name / "run.json").write_text("[]")
    arguments = {"diff": [name, name], "render": ["q.yaml", "--run", name]}.get(command, [name])
    assert "run.json holds no mapping; restore it" in say(shell, command, *arguments, code=6)


def test_diff_says_that_a_journal_is_damaged(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(ONE, TWO)
    first, second = run(shell), run(shell)
    journal = shell.folder / ".promptqueue/runs" / second / "journal.jsonl"
    journal.write_text(journal.read_text().replace('"seq":0', '"seq":7', 1))
    assert f"{second}/journal.jsonl:1: the line is damaged" in say(shell, "diff", first, second)


def test_a_torn_last_line_is_left_out(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(ONE, TWO)
    run(shell)
    journal = next(shell.folder.glob(".promptqueue/runs/*/journal.jsonl"))
    journal.write_text(journal.read_text()[:-20])
    assert "two: complete" in say(shell, "show")
    assert "stopped" in say(shell, "runs")


def test_an_altered_blob_is_named_and_the_rest_shown(shell: Shell, server: FakeEndpoint) -> None:
    server.enqueue(ONE, TWO)
    name = run(shell)
    blobs = shell.folder.glob(".promptqueue/runs/*/blobs/*/*")
    blob = next(path for path in blobs if path.read_text().startswith("```python path=two.py"))
    blob.write_text("forged")
    said = say(shell, "show", name, "two")
    assert blob.name in said
    assert "Write two.py." in said
    assert "forged" not in said
