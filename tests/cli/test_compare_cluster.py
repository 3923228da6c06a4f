"""`compare --executor ray` on a real cluster of two nodes, both on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import Shell
from tests.cli.test_compare import PACK, STORE, model, requests
from tests.fake_endpoint import FakeEndpoint

pytest.importorskip("ray")
RAY = str(Path(sys.executable).with_name("ray"))

pytestmark = [pytest.mark.usefixtures("configured"), pytest.mark.sandbox]


@pytest.fixture
def server() -> Iterator[FakeEndpoint]:
    with FakeEndpoint(default=model) as fake:
        yield fake


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    shutil.copytree(PACK, tmp_path / "pack")
    return Shell(tmp_path, {"RAY_USAGE_STATS_ENABLED": "0"})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def node(shell: Shell, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a node in a process group of its own, which can be killed as a machine can."""
    child = subprocess.Popen(
        [RAY, "start", "--block", "--num-cpus=1", "--object-store-memory=80000000",
         "--disable-usage-stats", *arguments],
        cwd=shell.folder, env=shell.environment(), start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        assert child.stdout is not None
        lines = []
        for line in child.stdout:
            lines.append(line)
            if "Ray runtime started" in line:
                break
        else:
            raise AssertionError("".join(lines))
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.communicate()


@pytest.fixture
def address(shell: Shell) -> Iterator[str]:
    address = f"127.0.0.1:{free_port()}"
    # short: a socket's path may have 107 characters
    folder = Path(f"/tmp/pq-{os.getpid()}")
    with node(
        shell, "--head", f"--port={address.partition(':')[2]}", "--node-ip-address=127.0.0.1",
        "--include-dashboard=false", f"--temp-dir={folder}",
    ):  # fmt: skip
        yield address
    shutil.rmtree(folder, ignore_errors=True)


def compare(shell: Shell, address: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "promptqueue", "compare", "pack/tiny.yaml", "--endpoint",
               "test", "--executor", "ray", "--ray-address", address, *arguments]  # fmt: skip
    return subprocess.Popen(
        command, cwd=shell.folder, env=shell.environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def test_a_node_that_is_killed_costs_the_task_that_it_was_at(
    shell: Shell, server: FakeEndpoint, address: str
) -> None:
    with node(shell, f"--address={address}") as second:
        child = compare(shell, address, "-n", "4", "--arm", "none", "--arm", "full")
        for _ in range(1200):
            if len(list((shell.folder / STORE).rglob("sample.json"))) >= 2:
                break
            time.sleep(0.05)
        os.killpg(second.pid, signal.SIGKILL)
        said, _ = child.communicate(timeout=300)

    assert child.returncode == 0, said
    found = json.loads((shell.folder / STORE / "results.json").read_text())
    assert {arm["arm"]: len(arm["samples"]) for arm in found["arms"]} == {"none": 4, "full": 4}
    assert 16 <= len(requests(server)) <= 16 + 2  # what the lost node was at, once more
    # the runs came back with the samples
    assert len(list((shell.folder / STORE).rglob("run.json"))) == 8


@pytest.mark.parametrize("address", ["127.0.0.1:9", "auto", "nonsense", "a:b"])
def test_without_a_cluster_it_says_how_to_start_one(shell: Shell, address: str) -> None:
    child = compare(shell, address, "-n", "1")
    said, _ = child.communicate(timeout=100)
    assert child.returncode == 2, said
    assert f"no Ray cluster at {address}: " in said
    assert "ray start --head" in said
    assert "Traceback" not in said
