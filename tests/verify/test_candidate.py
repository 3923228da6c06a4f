"""Questions to hostile code: what each leaves behind, and what its replies may look like."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from promptqueue.errors import IsolationError
from promptqueue.queue.verification import Verification
from promptqueue.verify.candidate import Candidate, CandidateError
from promptqueue.verify.replies import Answered, Failed, Raised, read_reply
from promptqueue.verify.sandbox import Process, SandboxLimits, open_sandbox
from promptqueue.verify.snapshot import Copy
from promptqueue.verify.worker_process import WorkerProcess

STAY = """
import os, sys, time

def daemon(token):
    alive, held = os.pipe()  # which ends in the daemon when it has its name
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            program = "import time; time.sleep(60)"
            os.execv(sys.executable, [sys.executable, "-c", program, token])
        os._exit(0)
    os.close(held)
    return os.read(alive, 1) == b""

def seven():
    return 7

def litter(size):
    import tempfile
    with open(tempfile.mkdtemp() + "/file", "wb") as file:
        file.write(bytes(size))
    return os.listdir()

def late(seconds):
    time.sleep(seconds)
    return 7

def place():
    return os.getcwd()

def talk(size):
    print("x" * size)
    return 7

def unblock():
    os.set_blocking(1, False)

def litter_here():
    open("/dev/shm/left", "w").close()
"""
PROBES = """
def daemon(candidate, token):
    return candidate.stay.daemon(token)

def seven(candidate):
    return candidate.stay.seven()

def litter(candidate, size):
    return candidate.stay.litter(size)

def late(candidate, seconds):
    return candidate.stay.late(seconds)

def place(candidate):
    return candidate.stay.place()

def talk(candidate, size):
    return candidate.stay.talk(size)

def do(candidate, name):
    getattr(candidate.stay, name)()
"""


@contextlib.contextmanager
def asked(backend: str, folder: Path, settings: Verification | None = None) -> Iterator[Candidate]:
    (folder / "code").mkdir()
    (folder / "code" / "stay.py").write_text(STAY)
    (folder / "probes.py").write_text(PROBES)
    settings = settings or Verification()
    worker = WorkerProcess(open_sandbox(backend), Copy(folder / "code"), settings)
    with Candidate(worker, folder, settings, 1) as candidate:
        yield candidate


def exhausted(*_: object, **__: object) -> None:
    raise MemoryError


def process_of(candidate: Candidate) -> Process | None:
    assert isinstance(candidate.worker, WorkerProcess)
    return candidate.worker.process


def named(token: str) -> list[Path]:
    """Return the processes of the host whose command line has this word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += [path] if token.encode() in path.read_bytes() else []
    return found


def seen(token: str, patience_s: float = 20.0) -> bool:
    """Tell whether such a process shows up; a start returns before its programs have names."""
    until = time.monotonic() + patience_s
    while not named(token) and time.monotonic() < until:
        time.sleep(0.01)
    return bool(named(token))


@pytest.mark.parametrize("backend", ["bwrap", "landlock", "none"])
def test_a_daemon_does_not_outlive_its_question(tmp_path: Path, backend: str) -> None:
    token = secrets.token_hex(16)
    with asked(backend, tmp_path) as candidate:
        candidate.ask("probes.seven")
        worker = process_of(candidate)

        assert candidate.ask("probes.daemon", token=token)
        assert not named(token)
        assert candidate.ask("probes.seven") == 7
        assert process_of(candidate) is worker


def test_a_worker_that_is_started_early_answers_the_first_question(tmp_path: Path) -> None:
    with asked("none", tmp_path) as candidate:
        candidate.start()
        worker = process_of(candidate)
        candidate.start()

        assert candidate.ask("probes.seven") == 7
        assert worker is not None
        assert process_of(candidate) is worker


def test_a_worker_that_nobody_asked_ends_with_the_checks(tmp_path: Path) -> None:
    with asked("none", tmp_path) as candidate:
        candidate.start()
        assert seen(str(tmp_path))

    assert not named(str(tmp_path))


def test_temporary_files_of_one_question_take_no_room_of_the_next(tmp_path: Path) -> None:
    settings = Verification(limits=SandboxLimits(disk_mib=16))
    with asked("bwrap", tmp_path, settings) as candidate:
        for _ in range(4):
            assert candidate.ask("probes.litter", size=6 << 20) == []


def test_time_in_which_nobody_asks_is_not_the_codes(tmp_path: Path) -> None:
    settings = Verification(limits=SandboxLimits(wall=3))
    with asked("none", tmp_path, settings) as candidate:
        candidate.ask("probes.seven")
        time.sleep(2.8)

        assert candidate.ask("probes.late", seconds=0.5) == 7


def test_the_time_of_all_questions_is_that_of_the_questions(tmp_path: Path) -> None:
    over = "no usable answer: the time of all questions, 3 s, is used up"
    settings = Verification(limits=SandboxLimits(wall=3))
    with asked("none", tmp_path, settings) as candidate:
        assert candidate.ask("probes.late", seconds=1) == 7

        for _ in range(2):
            with pytest.raises(CandidateError, match=over):
                candidate.ask("probes.late", seconds=15)  # less than one question may take
        assert isinstance(candidate.worker, WorkerProcess)
        assert candidate.worker.spent_s < 10


@pytest.mark.parametrize("backend", ["bwrap", "landlock", "none"])
def test_a_worker_that_turns_to_other_code_begins_as_it_did(tmp_path: Path, backend: str) -> None:
    settings = Verification(limits=SandboxLimits(wall=6))
    with asked(backend, tmp_path, settings) as candidate:
        assert isinstance(candidate.worker, WorkerProcess)
        place, process = Path(candidate.ask("probes.place")).name, process_of(candidate)
        candidate.ask("probes.late", seconds=4)
        candidate.worker.rest()
        stay = tmp_path / "code" / "stay.py"
        stay.chmod(0o644)
        stay.write_text(STAY.replace("return 7", "return 8"))

        candidate.worker.turn_to(Copy(tmp_path / "code"))

        assert Path(candidate.ask("probes.place")).name == place
        assert candidate.ask("probes.late", seconds=4) == 8  # with all its time
        assert (process_of(candidate) is process) == (backend == "bwrap")


@pytest.mark.parametrize("name", ["seven", "unblock", "litter_here"])
def test_a_worker_that_code_has_changed_is_not_kept(tmp_path: Path, name: str) -> None:
    with asked("bwrap", tmp_path) as candidate:
        assert isinstance(candidate.worker, WorkerProcess)
        candidate.ask("probes.do", name=name)
        before = process_of(candidate)

        candidate.worker.turn_to(Copy(tmp_path / "code"))

        assert candidate.ask("probes.seven") == 7
        assert (process_of(candidate) is before) == (name == "seven")


def test_what_one_code_prints_does_not_count_against_the_next(tmp_path: Path) -> None:
    settings = Verification(limits=SandboxLimits(output_mib=1))
    with asked("bwrap", tmp_path, settings) as candidate:
        assert isinstance(candidate.worker, WorkerProcess)
        for _ in range(3):
            assert candidate.ask("probes.talk", size=700_000) == 7
            candidate.worker.turn_to(Copy(tmp_path / "code"))


def test_a_worker_that_was_stopped_after_its_answer_is_ended_when_it_rests(tmp_path: Path) -> None:
    with asked("bwrap", tmp_path) as candidate:
        assert isinstance(candidate.worker, WorkerProcess)
        candidate.ask("probes.seven")
        process = process_of(candidate)
        assert process is not None
        process._blind = OSError("no /proc")
        process.stop("watch")

        with pytest.raises(IsolationError, match="no /proc"):
            candidate.worker.rest()


def test_an_answer_that_was_not_read_answers_no_other_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with asked("bwrap", tmp_path) as candidate:
        assert candidate.ask("probes.seven") == 7
        with monkeypatch.context() as patch:
            patch.setattr("promptqueue.verify.wire.receive", exhausted)
            with pytest.raises(MemoryError):
                candidate.ask("probes.late", seconds=0)

        assert str(candidate.ask("probes.place")).startswith("/scratch/")


def test_a_worker_whose_processor_time_is_limited_is_not_kept(tmp_path: Path) -> None:
    settings = Verification(limits=SandboxLimits(cpu=60))
    with asked("bwrap", tmp_path, settings) as candidate:
        assert isinstance(candidate.worker, WorkerProcess)
        candidate.ask("probes.seven")
        before = process_of(candidate)

        candidate.worker.turn_to(Copy(tmp_path / "code"))

        assert candidate.ask("probes.seven") == 7
        assert process_of(candidate) is not before


def test_a_missing_module_is_told_at_the_question_and_leaves_nothing(tmp_path: Path) -> None:
    settings = Verification(preload=("no_such_module",))
    with asked("none", tmp_path, settings) as candidate:
        candidate.start()

        for _ in range(2):
            with pytest.raises(RuntimeError, match="not installed: no_such_module; the queue"):
                candidate.ask("probes.seven")
            assert not named(str(tmp_path))


RAISED = {"kind": "ValueError", "text": "no values", "at": "stats.py:3"}


@pytest.mark.parametrize(
    ("message", "shape"),
    [
        ({"answer": 7, "tampered": []}, Answered),
        ({"answer": None, "tampered": ["math.sqrt"]}, Answered),
        ({"raised": RAISED}, Raised),
        ({"failed": "time", "stage": "answering"}, Failed),
        ({"failed": "ended", "stage": "", "status": None}, Failed),
    ],
)
def test_a_reply_has_one_of_three_shapes(message: object, shape: type) -> None:
    assert isinstance(read_reply(message), shape)


@pytest.mark.parametrize(
    "message",
    [
        None,
        7,
        [],
        {},
        {"answer": 7},
        {"answer": 7, "tampered": 5},
        {"answer": 7, "tampered": [5]},
        {"answer": 7, "tampered": [], "raised": RAISED},
        {"answer": 7, "tampered": [], "verdict": "passed"},
        {"raised": 5},
        {"raised": {"kind": "ValueError"}},
        {"raised": {**RAISED, "at": 3}},
        {"failed": "not at all"},
        {"failed": "ended", "status": "0"},
    ],
    ids=repr,
)
def test_any_other_reply_is_garbage(message: object) -> None:
    reply = read_reply(message)

    assert isinstance(reply, Failed)
    assert reply.failed == "garbage"
