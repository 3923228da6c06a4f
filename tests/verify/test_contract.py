"""The trusted pytest ends in its time and with whoever asked for it, and minds no environment."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from promptqueue.errors import PromptQueueError
from promptqueue.queue.load import load_queue
from promptqueue.verify import contract
from promptqueue.verify.contract import Completed, Runner, TookTooLong, run_pytest
from promptqueue.verify.gates import verify
from promptqueue.verify.warm import WarmPytest

PACK = Path(__file__).parents[1] / "packs" / "tiny"
SLOW = """
import os, pathlib, time
def test_slow():
    pathlib.Path("pid.new").write_text(str(os.getpid()))
    os.rename("pid.new", "pid")
    time.sleep(60)
"""
ARGUMENTS = ["-p", "no:cacheprovider", "test_slow.py"]
ASKS = f"""
import os
from pathlib import Path
from promptqueue.verify.contract import run_pytest
run_pytest({ARGUMENTS!r}, Path.cwd(), dict(os.environ))
"""


def wait_until_gone(pid: int, patience_s: float = 20) -> None:
    deadline = time.monotonic() + patience_s
    with contextlib.suppress(OSError):
        while ") Z" not in Path(f"/proc/{pid}/stat").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.fixture(params=["cold", "warm"])
def runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    with contextlib.closing(WarmPytest([])) as warm:
        yield run_pytest if request.param == "cold" else warm


def test_a_pytest_that_never_ends_is_ended(runner: Runner, tmp_path: Path) -> None:
    (tmp_path / "test_slow.py").write_text(SLOW)

    with pytest.raises(TookTooLong):
        runner(ARGUMENTS, tmp_path, dict(os.environ), 8)

    wait_until_gone(int((tmp_path / "pid").read_text()))


def test_a_pytest_ends_with_whoever_asked_for_it(tmp_path: Path) -> None:
    (tmp_path / "test_slow.py").write_text(SLOW)
    with subprocess.Popen([sys.executable, "-c", ASKS], cwd=tmp_path) as asker:
        while not (tmp_path / "pid").exists():
            assert asker.poll() is None
            time.sleep(0.02)
        asker.send_signal(signal.SIGKILL)

    wait_until_gone(int((tmp_path / "pid").read_text()))


def test_a_check_that_hangs_is_told(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = Path(shutil.copytree(PACK, tmp_path / "pack"))
    (pack / "checks/test_stats.py").write_text("import time\ntime.sleep(600)\n")
    loaded = load_queue(pack / "tiny.yaml")
    settings = loaded.queue.verify
    assert settings.pipeline is not None
    code_s = settings.limits.wall_s + settings.pipeline.wall
    monkeypatch.setattr(contract, "_SLACK_S", 4 - code_s)
    begin = time.monotonic()

    with pytest.raises(PromptQueueError, match=r"did not end within 4 s.* a check hangs"):
        verify(loaded, PACK / "reference", runner=runner)

    assert time.monotonic() - begin < 60


@pytest.mark.parametrize("code", [0, 1])
def test_a_pytest_that_ran_nothing_is_no_verdict(code: int) -> None:
    def starts_nothing(*_: object) -> Completed:
        return Completed(code, "python: No module named so\n")

    with pytest.raises(PromptQueueError, match=r"broke .* No module named so"):
        verify(load_queue(PACK / "tiny.yaml"), PACK / "reference", runner=starts_nothing)


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PYTEST_ADDOPTS", "--collect-only"),
        ("PYTEST_PLUGINS", "no_such_plugin"),
        ("PYTHONOPTIMIZE", "1"),  # takes asserts out, but those that pytest rewrites
    ],
)
def test_no_variable_of_whoever_asks_changes_a_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    pack = Path(shutil.copytree(PACK, tmp_path / "pack"))
    (pack / "checks" / "helper.py").write_text("def agree(a, b):\n    assert abs(a - b) < 1e-9\n")
    checks, stats = pack / "checks" / "test_stats.py", pack / "reference" / "stats.py"
    text = checks.read_text().replace("import pytest", "import helper\nimport pytest")
    asserted = "assert answer == pytest.approx(expected, rel=1e-9)"
    assert asserted in text
    checks.write_text(text.replace(asserted, "helper.agree(answer, expected)"))
    code = Path(shutil.copytree(pack / "reference", tmp_path / "code"))
    (code / "stats.py").write_text(stats.read_text().replace("sorted(values)", "list(values)"))
    monkeypatch.setenv(name, value)

    report = verify(load_queue(pack / "tiny.yaml"), code, seed=7)

    verdicts = {each.id: each.verdict for each in report.requirements}
    assert verdicts == {"mean": "met", "median": "not met", "report": "not met"}
