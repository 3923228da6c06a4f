from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import QUEUE, Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    shell = Shell(tmp_path)
    shell.write("q.yaml", QUEUE)
    return shell
