from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from promptqueue.chat.weights import ensure_weights
from tests.cli.command import QUEUE, Shell
from tests.fake_endpoint import FakeEndpoint


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    shell = Shell(tmp_path)
    shell.write("q.yaml", QUEUE)
    return shell


@pytest.fixture
def server() -> Iterator[FakeEndpoint]:
    with FakeEndpoint() as fake:
        yield fake


@pytest.fixture
def configured(shell: Shell, server: FakeEndpoint) -> None:
    """Make the server the endpoint `test` of the shell."""
    shell.configure(server.base_url)


@pytest.fixture(scope="session")
def weights() -> Path:
    """Return the file of the embedded model, fetched if need be."""
    return ensure_weights(lambda progress: None)


@pytest.fixture
def at_home(shell: Shell, weights: Path) -> Shell:
    """The cache of the tests, wherever it is, is that of the commands too; no endpoint is known."""
    (shell.folder / "config.toml").touch()
    shell.environ = {"PROMPTQUEUE_CACHE": str(weights.parent.parent)}
    return shell
