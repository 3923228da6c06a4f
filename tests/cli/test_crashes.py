"""A run that is killed, or whose disk fills up, loses nothing that was paid for: for real."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from promptqueue.run.journal import RunDirectory
from tests.cli.command import COMMAND, Shell
from tests.fake_endpoint import FakeEndpoint, stream
from tests.scripted import fence

FILES = {"a.py": "a = 1", "b.py": "b = 2", "c.py": "c = 3", "d.py": "d = 4"}
QUEUE = "promptqueue: 1\nname: tiny\nsteps:\n" + "".join(
    f"  - {{id: {path[0]}, task: Write {path}., outputs: [{{path: {path}}}]}}\n" for path in FILES
)
REPLIES = [stream(fence(path, body), chunks=20).then(delay_s=0.004) for path, body in FILES.items()]


def answer(asked):
    """Answer by what is asked, so that it does not matter how often."""
    prompt = asked.body["messages"][-1]["content"]
    return next(reply for path, reply in zip(FILES, REPLIES, strict=True) if path in prompt)


@pytest.mark.parametrize("moment_s", [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35])
def test_a_killed_run_can_be_read_and_goes_on_and_pays_for_nothing_twice(
    shell: Shell, moment_s: float
) -> None:
    shell.write("q.yaml", QUEUE)
    with FakeEndpoint(default=answer) as server:
        process = shell.start("run", "q.yaml", "--base-url", server.base_url)
        _wait_for_first_request(server)
        time.sleep(moment_s)  # where it hits differs from machine to machine, and that is fine
        process.send_signal(signal.SIGKILL)
        process.communicate()
    answered = _answered(shell)
    with FakeEndpoint(default=answer) as server:  # another, for the first may still be busy
        done = shell.run("resume", "--base-url", server.base_url)
        assert done.returncode == 0, done.stderr
        assert len(server.requests) == len(FILES) - answered
    for path, body in FILES.items():
        assert (shell.folder / "generated/tiny" / path).read_text() == body + "\n"
    assert _answered(shell) == len(FILES)


KILLER = """
import os, signal, sys
from promptqueue.cli.app import main
from promptqueue.run.journal import RunDirectory
from promptqueue.run.workspace import Workspace

moment, left = sys.argv[1], [int(sys.argv[2])]
place, name = (Workspace, "write") if moment == "a file" else (RunDirectory, "append")
act = getattr(place, name)

def act_and_die(self, what, *given, **data):
    done = act(self, what, *given, **data)
    left[0] -= place is Workspace or what == moment
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return done

setattr(place, name, act_and_die)
sys.argv = ["promptqueue", *sys.argv[3:]]
main()
"""
"""Runs the real command, and kills it behind the n-th file, or line of a kind in the journal."""


@pytest.mark.parametrize(
    ("event", "number"),
    [
        ("run.started", 1),
        ("step.started", 2),
        ("call.started", 2),
        ("call.attempt", 2),
        ("call.finished", 2),
        ("modules.extracted", 2),
        ("a file", 2),
        ("file.written", 2),
        ("step.finished", 2),
        ("step.finished", 4),
        ("run.finished", 1),
    ],
)
def test_a_run_killed_in_any_phase_ends_like_one_that_was_not(
    shell: Shell, event: str, number: int
) -> None:
    shell.write("q.yaml", QUEUE)
    shell.write("killer.py", KILLER)
    with FakeEndpoint(default=answer) as server:
        command = ["run", "q.yaml", "--base-url", server.base_url]
        killed = subprocess.run(
            [sys.executable, "killer.py", event, str(number), *command],
            cwd=shell.folder,
            env={**shell.environment(), "PYTHONPATH": os.getcwd()},  # noqa: PTH109
            check=False,
            capture_output=True,
        )
        assert killed.returncode == -signal.SIGKILL
        resumed = shell.run("resume")
        assert resumed.returncode == 0, resumed.stdout + resumed.stderr
        assert len(server.requests) == len(FILES)  # nothing was asked twice
        assert shell.run(*command, "--fresh", "--out", "untouched").returncode == 0
    for path in FILES:
        one, other = (shell.folder / out / path for out in ("generated/tiny", "untouched"))
        assert one.read_bytes() == other.read_bytes()
    first, second = sorted(path.name for path in shell.folder.glob(".promptqueue/runs/2*"))
    replayed = shell.run("replay", first)
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    compared = shell.run("diff", first, second)
    assert compared.stdout == "no differences\n", compared.stdout + compared.stderr


def test_what_a_killed_run_had_streamed_is_kept(shell: Shell) -> None:
    shell.write("q.yaml", QUEUE)
    slow = REPLIES[0].then(delay_s=0.15)
    with FakeEndpoint([slow], default=answer) as server:
        process = shell.start("run", "q.yaml", "--base-url", server.base_url)
        _wait_for(lambda: _partial(shell) != "")
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kept = _partial(shell)
        done = shell.run("resume")
    assert "characters of an unfinished reply are kept" in done.stdout
    run = RunDirectory(next(shell.folder.glob(".promptqueue/runs/2*")))
    lost = next(record for record in run.records() if record["event"] == "call.lost")
    assert run.blobs.get(lost["partial"]) == kept


def test_two_runs_at_once_in_one_workspace_are_kept_apart(shell: Shell) -> None:
    shell.write("q.yaml", QUEUE)
    slow = REPLIES[0].then(delay_s=0.15)
    with FakeEndpoint([slow], default=answer) as server:
        first = shell.start("run", "q.yaml", "--base-url", server.base_url)
        _wait_for_first_request(server)
        second = shell.run("run", "q.yaml", "--base-url", server.base_url)
        elsewhere = shell.run("run", "q.yaml", "--base-url", server.base_url, "--out", "other")
        _, stderr = first.communicate(timeout=60)
    assert second.returncode == 6
    assert "is in use by" in second.stderr
    assert "--out" in second.stderr
    assert (first.returncode, elsewhere.returncode) == (0, 0), stderr


def test_the_same_run_cannot_be_resumed_twice_at_once(shell: Shell) -> None:
    shell.write("q.yaml", QUEUE)
    with FakeEndpoint([REPLIES[0].then(delay_s=0.15)], default=answer) as server:
        first = shell.start("run", "q.yaml", "--base-url", server.base_url)
        _wait_for_first_request(server)
        second = shell.run("resume")
        first.communicate(timeout=60)
    assert second.returncode == 6
    assert "at work in another process" in second.stderr


def test_on_a_full_disk_the_reply_under_way_is_kept_and_nothing_more_is_paid(
    shell: Shell, tmp_path: Path
) -> None:
    """A real file system of 2 MB that fills up while the second reply streams."""
    if not _can_mount():
        pytest.skip("needs unshare with user namespaces, or root")
    shell.write("q.yaml", QUEUE)
    small = tmp_path / "small"
    small.mkdir()
    script = f"""
        mount -t tmpfs -o size=2m tmpfs {small}
        {" ".join(COMMAND)} run q.yaml --base-url $1 --runs {small}/runs > first.txt 2>&1
        echo $? > code.txt
        cp -r {small}/runs after-first
        rm -f {small}/ballast
        {" ".join(COMMAND)} resume --runs {small}/runs > second.txt 2>&1
        echo $? >> code.txt
        """
    shell.write("script.sh", textwrap.dedent(script))

    def fill_up(asked):
        """Fill the disk from inside the namespace, when the second question has come."""
        if "b.py" in asked.body["messages"][-1]["content"] and not filled:
            filled.append(_fill(process.pid, small))
        return answer(asked)

    filled: list[int] = []
    with FakeEndpoint(default=fill_up) as server:
        process = subprocess.Popen(
            [*_unshare(), "sh", "script.sh", server.base_url],
            cwd=shell.folder,
            env=shell.environment(),
        )
        assert process.wait(timeout=120) == 0
        asked = [request.body["messages"][-1]["content"] for request in server.requests]
    first = (shell.folder / "first.txt").read_text()
    assert (shell.folder / "code.txt").read_text().split() == ["6", "0"], first
    assert "promptqueue resume" in first
    assert "Traceback" not in first
    run = RunDirectory(next((shell.folder / "after-first").glob("2*")))
    replies = [r for r in run.records() if r["event"] == "call.finished"]
    assert [run.blobs.get(r["text"]) for r in replies][-1] == fence("b.py", "b = 2")
    assert len(asked) == len(FILES)  # nobody was asked twice


def _fill(pid: int, small: Path) -> int:
    """Write until nothing goes in any more, in the mount namespace of the run."""
    inside = f"/proc/{_child(pid)}/root{small}/ballast"
    code = (
        "import sys\n"
        "with open(sys.argv[1], 'wb', buffering=0) as f:\n"
        "    for size in (65536, 4096, 512, 1):\n"
        "        try:\n"
        "            while True: f.write(bytes(size))\n"
        "        except OSError: pass\n"
    )
    return subprocess.run([sys.executable, "-c", code, inside], check=True).returncode


def _child(pid: int) -> int:
    """Return the deepest child: it is inside the namespace for sure."""
    while True:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if not children:
            return pid
        pid = int(children[0])


def _unshare() -> list[str]:
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *user, "--mount"]


def _can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    command = [*_unshare(), "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _answered(shell: Shell) -> int:
    run = RunDirectory(next(shell.folder.glob(".promptqueue/runs/2*")))
    return sum(record["event"] == "call.finished" for record in run.records())


def _partial(shell: Shell) -> str:
    paths = list(shell.folder.glob(".promptqueue/runs/*/partial.txt"))
    return paths[0].read_text() if paths else ""


def _wait_for_first_request(server: FakeEndpoint) -> None:
    _wait_for(lambda: len(server.requests) > 0)


def _wait_for(condition, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
