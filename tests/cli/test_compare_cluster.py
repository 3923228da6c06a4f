"""`compare --executor ray` on a real cluster of two nodes, both on this machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import Shell
from tests.cli.ray_nodes import head, node
from tests.cli.test_compare import PACK, STORE, model, requests
from tests.fake_endpoint import FakeEndpoint

pytest.importorskip("ray")

pytestmark = [pytest.mark.usefixtures("configured"), pytest.mark.sandbox]


@pytest.fixture
def server() -> Iterator[FakeEndpoint]:
    with FakeEndpoint(default=model) as fake:
        yield fake


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    shutil.copytree(PACK, tmp_path / "pack")
    return Shell(tmp_path, {"RAY_USAGE_STATS_ENABLED": "0"})


@pytest.fixture
def address(shell: Shell) -> Iterator[str]:
    with head(shell) as address:
        yield address


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

    before = len(requests(server))  # other checks judge again, and nobody is asked
    check = shell.folder / "pack/checks/test_stats.py"
    check.write_text(check.read_text() + "\n# stricter now\n")
    again = compare(shell, address, "-n", "1", "--arm", "none", "--arm", "full")
    said, _ = again.communicate(timeout=300)
    assert (again.returncode, len(requests(server))) == (0, before), said


@pytest.mark.parametrize("address", ["127.0.0.1:9", "auto", "nonsense", "a:b"])
def test_without_a_cluster_it_says_how_to_start_one(shell: Shell, address: str) -> None:
    child = compare(shell, address, "-n", "1")
    said, _ = child.communicate(timeout=100)
    assert child.returncode == 2, said
    assert f"no Ray cluster at {address}: " in said
    assert "ray start --head" in said
    assert "Traceback" not in said
