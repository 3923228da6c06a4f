"""A sandbox begins and ends in bounded time, whatever is in it or in its place."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from promptqueue.errors import IsolationError
from promptqueue.verify import process, watch
from promptqueue.verify.sandbox import Process, Sandbox, SandboxLimits, open_sandbox

LIMITS = SandboxLimits(wall_s=10, memory_mib=512, processes=48, disk_mib=32)


@pytest.fixture(scope="module")
def full() -> Sandbox:
    return open_sandbox("bwrap")


@pytest.fixture(scope="module")
def weaker() -> Sandbox:
    return open_sandbox("landlock")


def with_bwrap(sandbox: Sandbox, folder: Path, script: str) -> Sandbox:
    """Put a shell script in the place of bubblewrap."""
    fake = folder / "bwrap"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    return dataclasses.replace(sandbox, plan=dataclasses.replace(sandbox.plan, bwrap=str(fake)))


def ends_within(patience_s: float, do: Callable[[], Any]) -> Any:
    """Return what a call returns; fail, rather than hang, if it does not."""
    found: list[Any] = []
    raised: list[BaseException] = []

    def target() -> None:
        try:
            found.append(do())
        except BaseException as exc:
            raised.append(exc)

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    thread.join(patience_s)
    assert not thread.is_alive(), "it hangs"
    if raised:
        raise raised[0]
    return found[0]


def runs(pid: int) -> bool:
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def code(folder: Path, text: str) -> Path:
    (folder / "code").mkdir()
    (folder / "code" / "main.py").write_text(text)
    return folder / "code"


def start(sandbox: Sandbox, folder: Path, text: str) -> Process:
    return sandbox.start(["python", "{code}/main.py"], code=code(folder, text), limits=LIMITS)


@pytest.mark.parametrize(
    "script", ["exec sleep 600", "sleep 600; true"], ids=["silent", "silent-child"]
)
def test_a_sandbox_that_never_says_started_is_given_up(
    full: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setattr(process, "_START_S", 0.5)
    before = set(watch.tree(os.getpid()))
    silent = with_bwrap(full, tmp_path, script)
    with pytest.raises(IsolationError, match=r"did not start: no word from inside within 0\.5 s"):
        ends_within(15, lambda: start(silent, tmp_path, ""))
    assert set(watch.tree(os.getpid())) <= before


def test_a_launcher_that_never_reads_a_large_configuration_is_given_up(
    full: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_START_S", 0.5)
    silent = with_bwrap(full, tmp_path, "exec sleep 600")
    begun = {"a": bytes(1 << 20)}  # far more than a pipe holds
    with pytest.raises(IsolationError, match="did not start"):
        ends_within(
            15,
            lambda: silent.start(["true"], code=code(tmp_path, ""), limits=LIMITS, scratch=begun),
        )


def test_a_supervisor_that_is_held_up_is_killed_with_all_below_it(
    weaker: Sandbox, tmp_path: Path
) -> None:
    before = set(watch.tree(os.getpid()))
    text = "import os, time\nfor _ in range(3): os.fork()\nprint('x', flush=True); time.sleep(600)"
    started = start(weaker, tmp_path, text)
    os.read(started.stdout.fileno(), 1)
    tree = set(watch.tree(os.getpid())) - before
    supervisor = min(tree)
    assert len(tree) >= 3
    os.kill(supervisor, signal.SIGSTOP)
    ends_within(15, started.close)
    assert not (set(watch.tree(os.getpid())) - before)
    assert not [pid for pid in tree if runs(pid)]


def test_a_process_that_outlives_its_death_is_no_verdict(
    weaker: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel keeps such a process when a file system hangs; here nobody kills it."""
    started = start(weaker, tmp_path, "import time; time.sleep(600)")
    supervisor = started.pid
    os.kill(supervisor, signal.SIGSTOP)
    with monkeypatch.context() as patch:
        patch.setattr(watch, "kill", lambda *_: None)
        patch.setattr(process, "_END_S", 0.2)
        with pytest.raises(IsolationError, match=f"process {supervisor} .* still there"):
            ends_within(20, started.close)
    watch.kill_tree(supervisor, 5)


def test_code_that_runs_unwatched_is_ended_and_no_verdict(
    weaker: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> str:
        raise RecursionError("too deep")

    monkeypatch.setattr(watch, "folder_crowd", breaks)
    before = set(watch.tree(os.getpid()))
    started = start(weaker, tmp_path, "import time; time.sleep(600)")

    ends_within(15, started.wait)

    assert not (set(watch.tree(os.getpid())) - before)
    with pytest.raises(IsolationError, match=r"the watch .* broke \(RecursionError: too deep\)"):
        started.close()


HOGS = """
import os, sys, time
sys.stdin.readline()
os.fork()  # one alone has a limit of its own
held = bytearray(b"x" * (100 << 20))
time.sleep(1)
"""


def test_a_sandbox_at_rest_is_looked_at_seldom_and_held_to_its_limits_once_it_wakes(
    full: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[object] = []
    usage = watch.usage

    def looked(*arguments: Any, **keywords: Any) -> watch.Usage:
        looks.append(arguments)
        return usage(*arguments, **keywords)

    monkeypatch.setattr(watch, "usage", looked)
    limits = LIMITS.model_copy(update={"memory_mib": 250})
    command = ["python", "{code}/main.py"]
    with full.start(command, code=code(tmp_path, HOGS), limits=limits) as started:
        started.rest()
        time.sleep(0.2)
        looks.clear()
        time.sleep(1)
        assert len(looks) <= 1

        started.wake()
        started.stdin.write(b"\n")

        assert started.wait().stopped == "memory"
