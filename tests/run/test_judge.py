"""The judge of a run: a warm pytest says what a cold one says, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from promptqueue.errors import UsageError
from promptqueue.queue.inputs import resolve_inputs
from promptqueue.queue.load import load_queue
from promptqueue.run.judge import ContractJudge, contract_judge
from promptqueue.run.pool import POOL
from promptqueue.verify.contract import TookTooLong, run_pytest
from promptqueue.verify.gates import verify
from promptqueue.verify.warm import ServerGone, WarmPytest

PACK = Path(__file__).parents[1] / "packs" / "tiny"
STATS = (PACK / "reference" / "stats.py").read_text()
WRONG = "def mean(values):\n    return 1.5\n\n\ndef median(values):\n    return nothing\n"

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each verdict starts a pytest"),
]


@pytest.fixture
def warm() -> Iterator[WarmPytest]:
    with contextlib.closing(WarmPytest(["json", "no_such_module"])) as warm:
        yield warm


@pytest.fixture
def judge() -> Iterator[ContractJudge]:
    loaded = load_queue(PACK / "tiny.yaml")
    with contextlib.closing(contract_judge(loaded, resolve_inputs(loaded.queue))) as judge:
        yield judge


def server_of(warm: WarmPytest | None) -> subprocess.Popen[bytes]:
    assert warm is not None
    assert warm._server is not None
    return warm._server


def waiting() -> subprocess.Popen[bytes]:
    """Return the server of the one pytest that waits for a verdict."""
    (warm,) = POOL._idle
    return server_of(warm)


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8")
    return [int(word) for word in text.split()]


def below(pid: int) -> list[int]:
    """Return a process's children, and theirs, as they are numbered here."""
    return [each for child in children_of(pid) for each in (child, *below(child))]


def runs(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    return False


def until(true: object, patience_s: float = 60) -> None:
    assert callable(true)
    deadline = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("stats", [STATS, WRONG, "import os\nos._exit(3)\n"])
def test_a_warm_report_is_the_cold_one(warm: WarmPytest, tmp_path: Path, stats: str) -> None:
    loaded = load_queue(PACK / "tiny.yaml")
    folder = Path(shutil.copytree(PACK / "reference", tmp_path / "generated"))
    (folder / "stats.py").write_text(stats)

    cold, first, second = (
        asdict(verify(loaded, folder, seed=7, runner=runner)) for runner in (run_pytest, warm, warm)
    )

    assert first == cold
    assert second == cold
    assert runs(server_of(warm).pid)


def test_a_broken_contract_has_the_same_words(warm: WarmPytest, tmp_path: Path) -> None:
    shutil.copytree(PACK, tmp_path / "pack")
    (tmp_path / "pack/checks/test_stats.py").write_text("import no_such_thing\n")
    loaded = load_queue(tmp_path / "pack/tiny.yaml")
    said = []
    for runner in (run_pytest, warm):
        with pytest.raises(UsageError) as raised:
            verify(loaded, PACK / "reference", runner=runner)
        said.append(str(raised.value))

    assert "no_such_thing" in said[0]
    assert said[0] == said[1]


LEAKY = """
import json, os, sys
def test_leaves_no_trace():
    assert not hasattr(json, "trace") and "TRACE" not in os.environ
    json.trace, os.environ["TRACE"] = 1, "1"
    print(sys.path[0], os.getcwd(), os.environ["GIVEN"], os.getsid(0) == os.getpid())
    sys.stderr.write("and errors")
"""


def test_what_a_verdict_changes_is_gone_in_the_next(warm: WarmPytest, tmp_path: Path) -> None:
    (tmp_path / "test_leaky.py").write_text(LEAKY)
    words = ["-s", "-p", "no:cacheprovider", "--import-mode=importlib", "test_leaky.py"]
    for given in ("one", "two"):
        done = warm(words, tmp_path, {**os.environ, "GIVEN": given})

        assert done.code == 0, done.output
        assert f"{tmp_path} {tmp_path} {given} True" in done.output
        assert "and errors" in done.output


DYING = "import os, signal\ndef test_dies():\n    os.kill(os.getpid(), signal.SIGKILL)\n"


def test_a_verdict_that_is_killed_leaves_no_half_word_to_the_next(
    warm: WarmPytest, tmp_path: Path
) -> None:
    (tmp_path / "test_dying.py").write_text(DYING)

    done = warm(["-p", "no:cacheprovider", "test_dying.py"], tmp_path, dict(os.environ))

    assert done.code == -signal.SIGKILL
    assert warm._server is None  # and the keeper with it


def test_a_server_that_still_imports_is_not_waited_for(tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    text = f"import time\ntime.sleep(10)\nopen({str(ended)!r}, 'w')\n"
    (tmp_path / "slow_module.py").write_text(text)
    slow = WarmPytest(["slow_module"])
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with pytest.raises(TookTooLong):
        slow([], tmp_path, environment, time_s=4)
    assert slow._server is None
    assert not ended.exists()


SLOW = "import time\ndef test_slow():\n    time.sleep(600)\n"


@contextlib.contextmanager
def under_way(warm: WarmPytest, folder: Path) -> Iterator[list[BaseException]]:
    """Have a verdict that takes long run in a thread, and give what becomes of it."""
    (folder / "test_slow.py").write_text(SLOW)
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            warm(["-p", "no:cacheprovider", "test_slow.py"], folder, dict(os.environ))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    until(lambda: warm._server is not None and len(children_of(warm._server.pid)) == 2)
    yield errors
    thread.join(60)
    assert not thread.is_alive()


def test_a_verdict_ends_with_a_server_that_is_killed(warm: WarmPytest, tmp_path: Path) -> None:
    with under_way(warm, tmp_path) as errors:
        server = server_of(warm)
        children = children_of(server.pid)
        server.kill()

    assert isinstance(errors[0], ServerGone)
    until(lambda: not any(map(runs, children)))


CALLER = """
import os, signal, sys
from pathlib import Path
from promptqueue.verify.warm import WarmPytest
signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it
Path("test_slow.py").write_text({slow!r})
WarmPytest([])(["-p", "no:cacheprovider", "test_slow.py"], Path.cwd(), dict(os.environ))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_the_caller(tmp_path: Path, number: signal.Signals) -> None:
    root = str(Path(__file__).parents[2])
    caller = subprocess.Popen(
        [sys.executable, "-c", CALLER.format(slow=SLOW)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": root},
        stderr=subprocess.DEVNULL,
    )
    until(lambda: len(below(caller.pid)) == 3)  # the server, its keeper, and a verdict
    started = below(caller.pid)
    caller.send_signal(number)

    assert caller.wait(60) != 0
    until(lambda: not any(map(runs, started)))


def test_a_server_that_is_gone_changes_no_verdict(judge: ContractJudge) -> None:
    step = judge.loaded.queue.steps[0]
    before = judge.judge(step, {"stats.py": STATS})
    server = waiting()
    server.kill()

    after = judge.judge(step, {"stats.py": STATS})

    assert after.met == before.met == tuple(step.requirements)
    assert not POOL._idle


def test_a_judge_asks_one_server_and_one_worker_and_ends_them(judge: ContractJudge) -> None:
    step = judge.loaded.queue.steps[0]
    judge.judge(step, {"stats.py": STATS})
    server = waiting()
    begun = below(server.pid)
    judge.judge(step, {"stats.py": WRONG})
    assert waiting() is server
    assert below(server.pid) == begun
    assert len(begun) > 2  # the keeper, and the sandbox with its worker

    judge.close()

    assert not any(map(runs, [server.pid, *begun]))


LITTERING = """
from pathlib import Path

for place in ("/tmp/seen", "/dev/shm/seen", "../seen"):
    Path(place).write_text("")

"""
LOOKING = """
from pathlib import Path

for place in ("/tmp/seen", "/dev/shm/seen", "../seen"):
    assert not Path(place).exists()

"""


def test_what_code_leaves_is_gone_in_the_next_verdict(judge: ContractJudge) -> None:
    step = judge.loaded.queue.steps[0]
    for before in (LITTERING, LOOKING, LITTERING):
        judgement = judge.judge(step, {"stats.py": before + STATS})

        assert judgement.met == tuple(step.requirements), judgement.faults


def test_a_keeper_that_is_gone_changes_no_verdict(judge: ContractJudge) -> None:
    step = judge.loaded.queue.steps[0]
    before = judge.judge(step, {"stats.py": STATS})
    (keeper,) = children_of(waiting().pid)
    os.kill(keeper, signal.SIGKILL)

    after = [judge.judge(step, {"stats.py": text}) for text in (STATS, WRONG, STATS)]

    assert [each.met for each in after] == [before.met, (), before.met]
    assert before.met == tuple(step.requirements)
