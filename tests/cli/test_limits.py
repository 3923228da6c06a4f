"""Limits through the real command: each ends the run cleanly, and it can be gone on with."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from promptqueue.run.journal import RunDirectory
from tests.cli.command import QUEUE, Shell
from tests.fake_endpoint import FakeEndpoint, count, error, stream
from tests.scripted import fence

ONE = stream(fence("one.py", "def one():\n    return 1"), usage=count(600, 400))
TWO = stream(fence("two.py", "x = 2"), usage=count(600, 400))
PRICES = '[prices."fake-model"]\ninput = 1000.0\noutput = 1000.0\n'
CAPPED = QUEUE.replace("{seed: 5}", "{seed: 5, max_tokens: 400}")


def run_meta(shell: Shell) -> dict:
    path = next(shell.folder.glob(".promptqueue/runs/*/run.json"))
    return json.loads(path.read_text())


def records(shell: Shell) -> list[dict]:
    return list(RunDirectory(next(shell.folder.glob(".promptqueue/runs/2*"))).records())


def command_in(done: subprocess.CompletedProcess[str]) -> list[str]:
    found = re.search(r"`promptqueue (resume [^`]*--limit [^`]*)`", done.stderr)
    assert found, done.stderr
    return shlex.split(found[1])


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("calls=1", "1 calls were made, the limit is 1"),
        ("tokens=1200", "1,000 tokens are spent and the next call may take"),
        ("usd=1.2", "1.0000 USD are spent and the next call may cost"),
    ],
)
def test_a_limit_ends_the_run_and_the_command_that_it_names_goes_on(
    shell: Shell, limit: str, said: str
) -> None:
    shell.write("q.yaml", CAPPED)
    shell.write("p.toml", PRICES)
    with FakeEndpoint([ONE, TWO]) as server:
        place = ("--base-url", server.base_url, "--prices", "p.toml")
        done = shell.run("run", "q.yaml", *place, "--limit", limit)
        assert (done.returncode, len(server.requests)) == (4, 1), done.stderr
        assert said in done.stderr
        assert (shell.folder / "generated/tiny/one.py").exists()
        again = shell.run(*command_in(done), "--prices", "p.toml")
        assert (again.returncode, len(server.requests)) == (0, 2), again.stderr
    assert (shell.folder / "generated/tiny/two.py").exists()


def test_the_proposed_limit_lets_the_next_call_go_ahead(shell: Shell) -> None:
    shell.write("q.yaml", CAPPED)
    with FakeEndpoint([ONE, TWO]) as server:
        done = shell.run("run", "q.yaml", "--base-url", server.base_url, "--limit", "tokens=9")
        assert (done.returncode, len(server.requests)) == (4, 0), done.stderr
        shell.run(*command_in(done))
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("in_queue", "flag", "code"),
    [("calls: 1", "calls=5", 0), ("calls: 5", "calls=1", 4), ("tokens: 9", "calls=5", 4)],
    ids=["looser", "tighter", "another"],
)
def test_a_limit_of_the_command_line_wins_over_that_of_the_queue(
    shell: Shell, in_queue: str, flag: str, code: int
) -> None:
    shell.write("q.yaml", QUEUE + f"limits: {{{in_queue}}}\n")
    with FakeEndpoint([ONE, TWO]) as server:
        done = shell.run("run", "q.yaml", "--base-url", server.base_url, "--limit", flag)
    assert done.returncode == code, done.stderr


def test_a_limit_of_the_queue_names_both_ways_to_raise_it(shell: Shell) -> None:
    shell.write("q.yaml", QUEUE + "limits: {calls: 1}\n")
    with FakeEndpoint([ONE, TWO]) as server:
        done = shell.run("run", "q.yaml", "--base-url", server.base_url)
    assert "--limit calls=2`" in done.stderr
    assert "in the queue file under `limits`" in done.stderr


def test_a_limit_of_the_command_line_holds_when_the_run_goes_on(shell: Shell) -> None:
    with FakeEndpoint([ONE, TWO]) as server:
        shell.run("run", "q.yaml", "--base-url", server.base_url, "--limit", "calls=1")
        again = shell.run("resume")
        assert (again.returncode, len(server.requests)) == (4, 1)
    assert "it was given with --limit" in again.stderr
    assert run_meta(shell)["limits"] == {"calls": 1}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["calls=0"], "--limit calls=0: this must be at least 1, not 0; for example"),
        (["tokens=-5"], "--limit tokens=-5: this must be at least 1, not -5"),
        (["usd=0"], "--limit usd=0: this must be more than 0, not 0"),
        (["usd=nan"], "--limit usd=nan: a number is needed here, not 'nan'"),
        (["calls=ten"], "--limit calls=ten: a whole number is needed here, not 'ten'"),
        (["tokens=200k"], "a whole number is needed here, not '200k'"),
        (["wall=soon"], "'soon' is not a duration; write 90m, 1h30m or 45s"),
        (["wall=0s"], "this must be more than 0"),
        (["wall=" + "9" * 400 + "h"], "is not a duration"),
        (["tokens=" + "9" * 5000], "a whole number is needed here"),
        (["cals=3"], "no limit 'cals'; did you mean 'calls'?"),
        (["money=3"], "no limit 'money'; there is calls, tokens, wall, usd"),
        (["calls"], "write it as NAME=VALUE, for example --limit calls=10"),
        (["calls=1", "calls=2"], "this limit is given twice; keep one"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else "",
)
def test_a_limit_that_is_none(shell: Shell, flags: list[str], said: str) -> None:
    done = shell.run("run", "q.yaml", *(part for flag in flags for part in ("--limit", flag)))
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (shell.folder / ".promptqueue").exists()


def test_a_number_may_be_written_as_in_yaml(shell: Shell) -> None:
    with FakeEndpoint([ONE, TWO]) as server:
        place = ("--base-url", server.base_url)
        assert shell.run("run", "q.yaml", *place, "--limit", "tokens=20_000_").returncode == 0


def test_a_limit_that_is_none_when_a_run_is_to_go_on(shell: Shell) -> None:
    with FakeEndpoint([ONE, TWO]) as server:
        shell.run("run", "q.yaml", "--base-url", server.base_url)
    done = shell.run("resume", "--limit", "calls=0")
    assert (done.returncode, done.stdout) == (2, "")
    assert "this must be at least 1, not 0" in done.stderr


def test_the_time_is_up_while_a_reply_streams(shell: Shell) -> None:
    endless = stream(" ".join(map(str, range(20_000))), chunks=2000).then(delay_s=0.05)
    with FakeEndpoint([endless], default=TWO) as server:
        done = shell.run("run", "q.yaml", "--base-url", server.base_url, "--limit", "wall=3")
        assert (done.returncode, server.wait_for_disconnect()) == (4, True), done.stderr
        assert "limit wall is reached" in done.stderr
    last = records(shell)[-1]
    assert last["event"] == "run.interrupted"
    assert "limit wall" in last["reason"]
    run = RunDirectory(next(shell.folder.glob(".promptqueue/runs/2*")))
    assert run.blobs.get(last["partial"]).startswith("0 1 2 3")
    with FakeEndpoint([ONE, TWO]) as server:
        again = shell.run("resume", "--base-url", server.base_url, "--limit", "wall=10m")
        assert again.returncode == 0, again.stderr


def test_the_time_is_up_while_the_endpoint_is_silent(shell: Shell) -> None:
    with FakeEndpoint([ONE.then(pieces=(), hangs=True)]) as server:
        done = shell.run("run", "q.yaml", "--base-url", server.base_url, "--limit", "wall=1")
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr
    assert "limit wall" in records(shell)[-1]["reason"]


def test_a_wait_that_is_longer_than_the_time_left_is_not_begun(shell: Shell) -> None:
    busy = error(429, "slow down", headers={"Retry-After": "600"})
    with FakeEndpoint([busy]) as server:
        done = shell.run("run", "q.yaml", "--base-url", server.base_url, "--limit", "wall=5m")
    assert done.returncode == 4, done.stderr
    assert "and the next wait is 600 s" in done.stderr


def test_retries_count_as_calls(shell: Shell) -> None:
    busy = error(503, "busy", headers={"Retry-After": "0"})
    with FakeEndpoint(default=busy) as server:
        done = shell.run("run", "q.yaml", "--base-url", server.base_url, "--limit", "calls=2")
        assert (done.returncode, len(server.requests)) == (4, 2), done.stderr


def test_parts_of_a_cut_reply_count_before_the_next_part_is_asked(shell: Shell) -> None:
    part = stream("```python path=one.py\n" + "x = 1\n" * 9, finish="length", usage=count(600, 400))
    with FakeEndpoint(default=part) as server:
        done = shell.run("run", "q.yaml", "--base-url", server.base_url, "--limit", "tokens=1400")
        assert (done.returncode, len(server.requests)) == (4, 1), done.stderr
        assert "1,000 tokens are spent" in done.stderr
        again = shell.run("resume", "--limit", "tokens=1040")  # what the part took is not forgotten
    assert "1,000 tokens are spent" in again.stderr
    assert len(server.requests) == 1


def test_a_reply_without_a_cap_is_cut_when_it_passes_the_limit(shell: Shell) -> None:
    endless = stream(" ".join(map(str, range(20_000))), chunks=2000).then(delay_s=0.02)
    with FakeEndpoint([endless]) as server:
        done = shell.run("run", "q.yaml", "--base-url", server.base_url, "--limit", "tokens=900")
        assert (done.returncode, server.wait_for_disconnect()) == (4, True), done.stderr
    cut = next(record for record in records(shell) if record["event"] == "call.failed")
    assert cut["failure"] == "cut"
    assert cut["usage"]["completion"] > 0


def test_what_is_spent_is_told_in_a_pipe_at_80_percent_and_at_the_end(shell: Shell) -> None:
    with FakeEndpoint([ONE, TWO]) as server:
        place = ("--base-url", server.base_url)
        done = shell.run("run", "q.yaml", *place, "--limit", "tokens=2400", "--limit", "calls=60")
    assert done.returncode == 0, done.stderr
    assert "note: 83% of the limit tokens: 2,000 of 2,400 tokens\n" in done.stdout
    assert "\nlimits: 2,000 of 2,400 tokens · 2 of 60 calls\n" in done.stdout


def test_without_limits_no_line_speaks_of_them(shell: Shell) -> None:
    with FakeEndpoint([ONE, TWO]) as server:
        done = shell.run("run", "q.yaml", "--base-url", server.base_url)
    assert "limit" not in done.stdout


def test_json_says_what_is_spent_after_each_answer(shell: Shell) -> None:
    with FakeEndpoint([ONE, TWO]) as server:
        place = ("--base-url", server.base_url, "--json")
        done = shell.run("run", "q.yaml", *place, "--limit", "calls=9")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    spent = [event for event in events if event["event"] == "run.spent"]
    assert [(event["calls"], event["tokens"]) for event in spent] == [(0, 0), (1, 1000), (2, 2000)]
    assert spent[0]["limits"] == {"calls": 9}


def test_quiet_leaves_results_and_problems_in_a_pipe(shell: Shell) -> None:
    broken = stream(fence("two.py", "x = ("))
    with FakeEndpoint([ONE, broken, TWO]) as server:
        done = shell.run("run", "q.yaml", "--base-url", server.base_url, "--quiet")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"[1/2] one: wrote {Path('generated/tiny/one.py')} (2 lines)"
    assert any("not usable yet" in line for line in lines)
    assert not any("asking fake-model" in line or "answered in" in line for line in lines)
    assert any(line.startswith("done in") for line in lines)
