"""The commands as a user meets them: output, files, exit codes."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import time

import pytest

from promptqueue.chat.endpoints import EndpointChoice
from promptqueue.queue.load import load_queue
from promptqueue.run.prepare import prepare_resumed
from tests.cli.command import COMMAND, QUEUE, Shell
from tests.fake_endpoint import FakeEndpoint, error, stream
from tests.scripted import fence

ONE = stream(fence("one.py", "def one():\n    return 1"))
TWO = stream(fence("two.py", "x = 2"))


def test_run_writes_the_files_and_says_so_in_plain_lines(shell: Shell) -> None:
    with FakeEndpoint([ONE, TWO]) as server:
        done = shell.run("run", "q.yaml", "--base-url", server.base_url)
    assert (done.returncode, done.stderr) == (0, "")
    assert (shell.folder / "generated/tiny/one.py").read_text() == "def one():\n    return 1\n"
    lines = done.stdout.splitlines()
    assert lines[0].startswith("run 20")
    assert lines[1] == f"endpoint: url, {server.base_url} (--base-url)"
    assert "[1/2] one: wrote generated/tiny/one.py (2 lines)" in lines
    assert "[2/2] two: wrote generated/tiny/two.py (1 line)" in lines
    assert "\x1b" not in done.stdout


def test_json_prints_one_event_a_line(shell: Shell) -> None:
    with FakeEndpoint([ONE, TWO]) as server:
        done = shell.run("run", "q.yaml", "--base-url", server.base_url, "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["event"] == "run.started"
    assert (events[-1]["event"], events[-1]["complete"]) == ("run.finished", True)
    assert [e["path"] for e in events if e["event"] == "file.written"] == ["one.py", "two.py"]


def test_the_environment_names_the_endpoint_and_its_key(shell: Shell) -> None:
    with FakeEndpoint([ONE, TWO]) as server:
        shell.environ = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "sk-of-the-user"}
        done = shell.run("run", "q.yaml")
        assert done.returncode == 0, done.stderr
        assert {r.headers["authorization"] for r in server.requests} == {"Bearer sk-of-the-user"}
    assert "sk-of-the-user" not in done.stdout + done.stderr
    kept = [path for path in shell.folder.rglob("*") if path.is_file()]
    assert [path for path in kept if b"sk-of-the-user" in path.read_bytes()] == []
    assert {"run.json", "journal.jsonl", "manifest.json"} <= {path.name for path in kept}


def test_the_organisation_of_the_environment_goes_along(shell: Shell) -> None:
    with FakeEndpoint([ONE, TWO]) as server:
        shell.environ = {"OPENAI_BASE_URL": server.base_url, "OPENAI_ORG_ID": "org-7"}
        assert shell.run("run", "q.yaml").returncode == 0
        assert {r.headers["openai-organization"] for r in server.requests} == {"org-7"}
        elsewhere = server.base_url.replace("127.0.0.1", "localhost")
        shell.run("run", "q.yaml", "--base-url", elsewhere, "--attempts", "1")
        assert "org-7" not in str(server.requests[-1].headers)


def test_the_users_key_does_not_go_to_another_address(shell: Shell) -> None:
    shell.environ = {"OPENAI_API_KEY": "sk-of-the-user"}
    with FakeEndpoint([ONE, TWO]) as server:
        assert shell.run("run", "q.yaml", "--base-url", server.base_url).returncode == 0
        assert "sk-of-the-user" not in str([r.headers for r in server.requests])


def test_a_queue_may_name_a_profile_and_never_a_url(shell: Shell) -> None:
    shell.write("q.yaml", QUEUE.replace("name: tiny", "name: tiny\nendpoint: test"))
    with FakeEndpoint([ONE, TWO]) as server:
        shell.configure(server.base_url)
        assert shell.run("run", "q.yaml").returncode == 0
    shell.write("q.yaml", QUEUE.replace("name: tiny", "name: tiny\nendpoint: http://evil/v1"))
    assert shell.run("check", "q.yaml").returncode == 2


@pytest.mark.parametrize(
    ("flag", "environ", "queue", "expected"),
    [
        ("from-flag", "from-env", "from-queue", "from-flag"),
        (None, "from-env", "from-queue", "from-queue"),
        (None, "from-env", None, "from-env"),
        (None, None, None, "fake-model"),
    ],
)
def test_the_model_is_chosen_in_the_documented_order(
    shell: Shell, flag: str | None, environ: str | None, queue: str | None, expected: str
) -> None:
    if queue:
        shell.write("q.yaml", QUEUE.replace("defaults: {", f"defaults: {{model: {queue}, "))
    shell.environ = {"PROMPTQUEUE_MODEL": environ} if environ else {}
    with FakeEndpoint([ONE, TWO]) as server:
        flags = ["--model", flag] if flag else []
        assert shell.run("run", "q.yaml", "--base-url", server.base_url, *flags).returncode == 0
        assert {request.body["model"] for request in server.requests} == {expected}


def test_waits_are_shown_with_their_reason(shell: Shell) -> None:
    slow = error(429, "slow down", headers={"Retry-After": "1"})
    with FakeEndpoint([slow, ONE, TWO]) as server:
        done = shell.run("run", "q.yaml", "--base-url", server.base_url)
    assert done.returncode == 0
    assert re.search(r"\[1/2\] one: waiting 1 s, until \d\d:\d\d:\d\d: .*slow down", done.stdout)


def test_check_is_silent_about_nothing_and_exits_0(shell: Shell) -> None:
    done = shell.run("check", "q.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(
        r"q\.yaml: sound; 2 steps, 0 requirements, 2 files \(one\.py, two\.py\); "
        r"digest [0-9a-f]{12}\n",
        done.stdout,
    )


def test_check_counts_one_of_each(shell: Shell) -> None:
    shell.write(
        "q.yaml", "promptqueue: 1\nname: q\nsteps:\n  - {id: a, task: x, outputs: [{path: a.py}]}\n"
    )
    assert "sound; 1 step, 0 requirements, 1 file (a.py);" in shell.run("check", "q.yaml").stdout


def test_render_shows_what_will_be_sent_and_with_a_run_the_real_thing(shell: Shell) -> None:
    before = shell.run("render", "q.yaml", "--step", "two").stdout
    assert "‹the reply of step one, known when it has run›" in before
    with FakeEndpoint([ONE, TWO]) as server:
        shell.run("run", "q.yaml", "--base-url", server.base_url)
        sent = server.requests[1].body["messages"]
    after = shell.run("render", "q.yaml", "--step", "two", "--run", "tiny").stdout
    assert "def one():" in after
    told = "".join(f"---- {message['role']}\n{message['content']}\n" for message in sent)
    assert after.partition("\n")[2] == told + "\n"


def test_render_with_a_run_takes_its_inputs(shell: Shell) -> None:
    shell.write(
        "q.yaml",
        QUEUE.replace("one.py.", "one.py in {{ inputs.n }} lines.").replace(
            "steps:", "inputs: {n: {type: int, default: 3}}\nsteps:"
        ),
    )
    with FakeEndpoint([ONE, TWO]) as server:
        shell.run("run", "q.yaml", "--base-url", server.base_url, "--set", "n=7")
    assert "in 7 lines" in shell.run("render", "q.yaml", "--run", "tiny").stdout


def test_resuming_a_finished_run_says_so(shell: Shell) -> None:
    with FakeEndpoint([ONE, TWO]) as server:
        shell.run("run", "q.yaml", "--base-url", server.base_url)
        assert "note: this run was finished" in shell.run("resume").stdout
        assert len(server.requests) == 2


@pytest.mark.parametrize("anew", [["--fresh"], ["--from", "one"]], ids=["fresh", "from"])
def test_a_resumed_run_asks_anew_what_it_was_told_to(shell: Shell, anew: list[str]) -> None:
    with FakeEndpoint([ONE, TWO, ONE, TWO]) as server:
        run = ["run", "q.yaml", "--base-url", server.base_url]
        assert shell.run(*run).returncode == 0
        assert shell.run(*run, *anew, "--limit", "calls=1", "--no-verify").returncode == 4
        assert shell.run("resume", "--limit", "calls=9").returncode == 0
        assert len(server.requests) == 4


def test_a_resumed_run_judges_as_it_began_and_an_older_one_as_this_machine_can(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPTQUEUE_CONFIG", str(shell.folder / "config.toml"))
    with FakeEndpoint([ONE, TWO]) as server:
        shell.run("run", "q.yaml", "--base-url", server.base_url, "--no-verify", "--from", "two")
    path = next(shell.folder.glob(".promptqueue/runs/2*"))
    loaded = load_queue(shell.folder / "q.yaml")
    plan = prepare_resumed(loaded, path, EndpointChoice())
    assert (plan.fresh, plan.start, plan.verify) == (False, "two", False)
    assert prepare_resumed(loaded, path, EndpointChoice(), verify=True).verify is True

    older = json.loads((path / "run.json").read_text())
    for key in ("fresh", "from", "verify"):
        del older[key]
    (path / "run.json").write_text(json.dumps(older))
    plan = prepare_resumed(loaded, path, EndpointChoice())
    assert (plan.fresh, plan.start, plan.verify) == (False, None, None)


def test_schema_is_json(shell: Shell) -> None:
    schema = json.loads(shell.run("schema").stdout)
    assert schema["additionalProperties"] is False
    assert {"promptqueue", "name", "steps"} == set(schema["required"])


@pytest.mark.parametrize("command", [["--help"], ["check", "q.yaml"], ["render", "q.yaml"]])
def test_a_command_that_asks_nobody_imports_no_client_and_no_torch(
    shell: Shell, command: list[str]
) -> None:
    code = (
        "import sys; from promptqueue.cli.app import main\n"
        f"sys.argv = ['promptqueue', *{command!r}]\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'openai', 'torch', 'httpx2', 'xllamacpp'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=shell.folder,
        env=shell.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_a_fault_of_ours_is_told_in_a_line_and_kept_in_a_file(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(shell.folder))
    monkeypatch.setattr("promptqueue.queue.schema.queue_schema", lambda: 1 // 0)
    done = shell.run("schema")

    (report,) = shell.folder.glob("promptqueue-*.txt")
    assert done.returncode == 1
    assert done.stderr == (
        "promptqueue: a fault in promptqueue itself (ZeroDivisionError: integer division or "
        f"modulo by zero); please report it with {report}\n"
    )
    assert "Traceback" in report.read_text()


def test_a_closed_pipe_ends_quietly(shell: Shell) -> None:
    with FakeEndpoint([ONE.then(delay_s=0.05), TWO]) as server:
        line = f"{' '.join(COMMAND)} run q.yaml --base-url {server.base_url} | head -1"
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=shell.folder,
            env=shell.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 130
    assert "nobody reads the output any more; go on with `promptqueue resume" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("arguments", [["schema"], ["runs"], ["--help"], ["check", "q.yaml"]])
def test_where_nobody_reads_it_ends_as_the_signal_would_have_it(
    shell: Shell, arguments: list[str]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=shell.folder,
        env=shell.environment(),
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writing)

    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_on_a_terminal_the_stream_is_shown_and_the_lines_stay(shell: Shell) -> None:
    slow = stream(fence("one.py", "def one():\n    return 'moonlight'")).then(delay_s=0.1)
    with FakeEndpoint([slow, TWO]) as server:
        screen, code = _in_terminal(shell, "run", "q.yaml", "--base-url", server.base_url)
    assert code == 0
    assert "[1/2] one: writing" in screen
    assert "tokens," in screen
    assert "moonlight" in screen
    assert "wrote generated/tiny/two.py" in screen
    assert screen.count("\x1b[?25h") == screen.count("\x1b[?25l")  # the cursor is given back


def test_quiet_does_not_show_the_text(shell: Shell) -> None:
    slow = stream(fence("one.py", "def one():\n    return 'moonlight'")).then(delay_s=0.1)
    with FakeEndpoint([slow, TWO]) as server:
        screen, _ = _in_terminal(shell, "run", "q.yaml", "--quiet", "--base-url", server.base_url)
    assert "[1/2] one: writing" in screen
    assert "moonlight" not in screen


def _in_terminal(shell: Shell, *arguments: str) -> tuple[str, int]:
    """Run a command on a real pseudo terminal and return all that it wrote there."""
    master, slave = pty.openpty()
    environ = {**shell.environment(), "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    process = subprocess.Popen(
        [*COMMAND, *arguments], cwd=shell.folder, env=environ, stdout=slave, stderr=slave
    )
    os.close(slave)
    screen = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if select.select([master], [], [], 0.1)[0]:
            try:
                data = os.read(master, 65536)
            except OSError:
                break
            if not data:
                break
            screen += data
        elif process.poll() is not None:
            break
    os.close(master)
    return screen.decode("utf-8", "replace"), process.wait(timeout=10)
