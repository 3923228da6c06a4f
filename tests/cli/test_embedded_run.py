"""The real model, through the real command: the promise of the README, in small."""

from __future__ import annotations

import ast
import json
import signal
import time
from pathlib import Path

import pytest

from promptqueue.chat.embedded import EmbeddedServer
from tests.cli.command import Shell

pytestmark = pytest.mark.embedded
SMOKE = Path(__file__).parent.parent.parent / "prompts" / "smoke.yaml"


def test_without_any_endpoint_the_embedded_model_writes_the_files(at_home: Shell) -> None:
    done = at_home.run_apart("run", str(SMOKE))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "endpoint: embedded, on this machine (no other endpoint is configured)" in done.stdout
    defined = {
        node.name
        for name in ("stats.py", "report.py")
        for node in ast.parse((at_home.folder / "generated/smoke" / name).read_text()).body
        if isinstance(node, ast.FunctionDef)
    }
    assert {"mean", "median", "report"} <= defined
    assert _servers(at_home.folder) == []


def test_a_separately_started_server_is_used_by_its_address(
    at_home: Shell, weights: Path, tmp_path: Path
) -> None:
    with EmbeddedServer(weights, log_path=tmp_path / "log.txt") as server:
        at_home.environ |= {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": server.api_key}
        done = at_home.run_apart("run", str(SMOKE), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert "OPENAI_BASE_URL" in events[0]["endpoint"]
    assert events[-1]["complete"] is True


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_no_server_is_left_behind_when_the_run_stops(at_home: Shell, kind: signal.Signals) -> None:
    process = at_home.start("run", str(SMOKE), "--endpoint", "embedded")
    _wait_until(lambda: '"event":"call.attempt"' in at_home.journal(), 300)
    children = _children(process.pid)
    assert children
    process.send_signal(kind)
    process.communicate(timeout=600)  # the reply under way comes to its end first
    _wait_until(lambda: not any(_alive(pid) for pid in children), 30)


def _children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _servers(folder: Path) -> list[str]:
    """Return the processes that run llama_server.py in this folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            here = process.joinpath("cwd").readlink() == folder
            words = process.joinpath("cmdline").read_bytes()
        except OSError:  # it has just ended, or is not ours
            continue
        if here and b"llama_server" in words:
            found.append(process.name)
    return found


def _wait_until(condition, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)
