"""Ctrl-C and SIGTERM: real signals to a real process, in a pipe and in a terminal."""

from __future__ import annotations

import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from promptqueue.cli import app
from promptqueue.cli.interrupts import Interrupts
from promptqueue.run.events import Spent
from promptqueue.run.journal import RunDirectory
from tests.cli.command import QUEUE, Shell
from tests.cli.process import in_a_pipe, in_a_terminal
from tests.fake_endpoint import Answer, FakeEndpoint, error, stream
from tests.scripted import fence

ONE = stream(fence("one.py", "def one():\n    return 1"), chunks=20)
TWO = stream(fence("two.py", "x = 2"))
RESTING = ONE.then(rests_after=4)
STOPPING = "stopping after this reply; press Ctrl-C again to stop at once"


PLACES = pytest.mark.parametrize("place", [in_a_pipe, in_a_terminal], ids=["pipe", "terminal"])


def events(shell: Shell) -> list[str]:
    journals = list(shell.folder.glob(".promptqueue/runs/2*/journal.jsonl"))
    return [r["event"] for r in RunDirectory(journals[0].parent).records()] if journals else []


def partial(shell: Shell) -> str:
    paths = list(shell.folder.glob(".promptqueue/runs/*/partial.txt"))
    return paths[0].read_text() if paths else ""


def assert_resumes(shell: Shell, answers: list[Answer], asked: int) -> str:
    with FakeEndpoint(answers) as server:
        done = shell.run("resume", "--base-url", server.base_url)
        assert (done.returncode, len(server.requests)) == (0, asked), done.stderr
    assert (shell.folder / "generated/tiny/two.py").exists()
    return done.stdout


@PLACES
def test_the_first_ctrl_c_lets_the_reply_end_and_its_files_be_written(shell: Shell, place) -> None:
    with FakeEndpoint([RESTING, TWO]) as server:
        with place(shell, "run", "q.yaml", "--base-url", server.base_url) as process:
            process.wait_for(lambda: partial(shell))
            process.send(signal.SIGINT)
            process.wait_for(lambda: STOPPING in process.text)
            server.release()  # it is said at once, not when the reply has ended
            assert process.end() == 130, process.text
        assert len(server.requests) == 1
    assert "Traceback" not in process.text
    assert "promptqueue resume" in process.text
    assert (shell.folder / "generated/tiny/one.py").exists()
    assert_resumes(shell, [TWO], asked=1)


@PLACES
def test_the_second_ctrl_c_stops_at_once_and_what_came_is_kept(shell: Shell, place) -> None:
    endless = ONE.then(pieces=ONE.pieces[:9], hangs=True, delay_s=0.05)
    with FakeEndpoint([endless]) as server:
        with place(shell, "run", "q.yaml", "--base-url", server.base_url) as process:
            process.wait_for(lambda: partial(shell))
            process.send(signal.SIGINT)
            process.wait_for(lambda: STOPPING in process.text)
            process.send(signal.SIGINT)
            assert process.end() == 130, process.text
        assert server.wait_for_disconnect()
    assert "Traceback" not in process.text
    run = RunDirectory(next(shell.folder.glob(".promptqueue/runs/2*")))
    last = list(run.records())[-1]
    assert last["event"] == "run.interrupted"
    assert run.blobs.get(last["partial"]).startswith("```")
    assert_resumes(shell, [ONE, TWO], asked=2)


@PLACES
def test_sigterm_stops_at_once_and_it_is_said_how_to_go_on(shell: Shell, place) -> None:
    with (
        FakeEndpoint([ONE, TWO.then(pieces=TWO.pieces[:3], hangs=True)]) as server,
        place(shell, "run", "q.yaml", "--base-url", server.base_url) as process,
    ):
        process.wait_for(lambda: len(server.requests) == 2)
        process.send(signal.SIGTERM)
        assert process.end() == 130, process.text
        assert server.wait_for_disconnect()
    run = next(shell.folder.glob(".promptqueue/runs/2*")).relative_to(shell.folder)
    assert f"promptqueue: stopped; go on with `promptqueue resume {run}`" in process.text
    assert "Traceback" not in process.text
    said = assert_resumes(shell, [TWO], asked=1)
    assert "[1/2] one: answered before, nothing asked" in said


@PLACES
def test_ctrl_c_in_a_wait_stops_at_once(shell: Shell, place) -> None:
    busy = error(429, "slow down", headers={"Retry-After": "600"})
    with (
        FakeEndpoint([busy]) as server,
        place(shell, "run", "q.yaml", "--base-url", server.base_url) as process,
    ):
        process.wait_for(lambda: "call.waiting" in events(shell))
        process.send(signal.SIGINT)
        assert process.end() == 130, process.text
    assert STOPPING not in process.text
    assert "Traceback" not in process.text
    assert_resumes(shell, [ONE, TWO], asked=2)


def test_a_failed_attempt_is_not_repeated_after_ctrl_c(shell: Shell) -> None:
    breaks = ONE.then(pieces=ONE.pieces[:9], hangs=True)
    with FakeEndpoint([breaks], default=TWO) as server:
        with in_a_pipe(shell, "run", "q.yaml", "--base-url", server.base_url) as process:
            process.wait_for(lambda: partial(shell))
            process.send(signal.SIGINT)
            process.wait_for(lambda: STOPPING in process.text)
            server.release()
            assert process.end() == 130, process.text
        assert len(server.requests) == 1


def test_ctrl_c_during_the_last_reply_ends_a_complete_run(shell: Shell) -> None:
    with (
        FakeEndpoint([ONE, TWO.then(rests_after=4)]) as server,
        in_a_pipe(shell, "run", "q.yaml", "--base-url", server.base_url) as process,
    ):
        process.wait_for(lambda: len(server.requests) == 2)
        process.wait_for(lambda: partial(shell))
        process.send(signal.SIGINT)
        process.wait_for(lambda: STOPPING in process.text)
        server.release()
        assert process.end() == 0, process.text
    assert events(shell)[-1] == "run.finished"


@pytest.mark.parametrize("moment_s", [0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 1.2])
def test_no_moment_gives_a_traceback_and_every_run_goes_on(shell: Shell, moment_s: float) -> None:
    """Where the signals hit differs from machine to machine, and that is fine."""
    with (
        FakeEndpoint(default=lambda asked: answer_to(asked).then(delay_s=0.01)) as server,
        in_a_pipe(shell, "run", "q.yaml", "--base-url", server.base_url) as process,
    ):
        process.wait_for(beginning_of(process.popen.pid))  # before, it is Python's to answer
        time.sleep(moment_s)
        for _ in range(3):
            process.send(signal.SIGINT)
            time.sleep(0.01)
        code = process.end()
    assert "Traceback" not in process.text, process.text
    assert code in (0, 130, -signal.SIGINT), process.text
    if "run.started" in events(shell):
        with FakeEndpoint(default=answer_to) as server:
            done = shell.run("resume", "--base-url", server.base_url)
        assert done.returncode == 0, done.stderr


def beginning_of(pid: int) -> Callable[[], bool]:
    """Return what tells whether a command has taken Ctrl-C, or SIGTERM, from Python's handlers.

    Before Python sets its own, the signals look as they do behind it.
    """
    pythons = False

    def has_begun() -> bool:
        nonlocal pythons
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
        masks = dict(line.split(":") for line in status if line.startswith("Sig"))
        caught = int(masks["SigCgt"], 16)
        takes_ctrl_c, takes_sigterm = (
            bool(caught >> number - 1 & 1) for number in (signal.SIGINT, signal.SIGTERM)
        )
        pythons |= takes_ctrl_c
        return takes_sigterm or (pythons and not takes_ctrl_c)

    return has_begun


def answer_to(asked) -> Answer:
    return ONE if "one.py" in asked.body["messages"][-1]["content"] else TWO


def test_a_terminal_shows_the_budget_and_what_is_waited_for(shell: Shell) -> None:
    shell.write("q.yaml", QUEUE + "limits: {calls: 3, wall: 30m, tokens: 90000}\n")
    busy = error(429, "slow down", headers={"Retry-After": "600"})
    with (
        FakeEndpoint([ONE, busy]) as server,
        in_a_terminal(shell, "run", "q.yaml", "--base-url", server.base_url) as process,
    ):
        process.wait_for(lambda: "left" in process.text)
        process.send(signal.SIGINT)
        process.end()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", process.text)
    assert re.search(r"waiting: .*slow down · (9:5\d|10:00) left", shown)
    assert re.search(r"\d+ of 90,000 tokens · 1 of 3 calls · 0:\d\d of 30:00", shown)


def within(name: str) -> Callable[[Callable[[], None]], None]:
    """Return a function of a module, which is known by its name."""
    module = {"__name__": name}
    exec("def call(during): during()", module)
    return module["call"]  # type: ignore[return-value]


@pytest.mark.parametrize("place", ["promptqueue.run.journal", "importlib._bootstrap"])
def test_the_limit_of_the_time_does_not_undo_a_ctrl_c_that_was_put_off(place: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        _write_and_wait(within(place))


def _write_and_wait(write: Callable[[Callable[[], None]], None]) -> None:
    spent = Spent(calls=1, tokens=9, usd=None, seconds=1.0, limits={"wall": 600.0})
    with Interrupts(tell=lambda: None) as interrupts:
        write(lambda: signal.raise_signal(signal.SIGINT))
        interrupts.follow(spent)
        time.sleep(5)


def test_a_ctrl_c_that_does_not_wake_a_sleeping_run_is_not_slept_through() -> None:
    """As one that comes just before the sleep; here another thread is the one to receive it."""
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        _sleep_through()
    assert time.monotonic() - begin < 15


def _sleep_through() -> None:
    send = threading.Timer(0.2, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGINT))
    with Interrupts(tell=lambda: None):
        send.start()
        time.sleep(20)


class Dying:
    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def test_a_ctrl_c_that_python_swallows_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    spent = Spent(calls=1, tokens=9, usd=None, seconds=1.0, limits={})
    with Interrupts(tell=lambda: None) as interrupts:
        Dying()
        with pytest.raises(KeyboardInterrupt):
            interrupts.follow(spent)


def test_a_signal_never_cuts_into_an_import() -> None:
    before = {n: signal.signal(n, app._stop) for n in (signal.SIGTERM, signal.SIGALRM)}
    try:
        within("importlib._bootstrap")(lambda: signal.raise_signal(signal.SIGTERM))
        with pytest.raises(KeyboardInterrupt):
            time.sleep(5)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
