"""What the lunar contract takes for a device that is named in the code."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from tests.lunar.twins import ROOT

Devices = Callable[[Path], list[str]]


@pytest.fixture(scope="module")
def devices_of(pytestconfig: pytest.Config) -> Devices:
    for marker in ("requirement", "about"):  # the plugin's: here it is not loaded
        pytestconfig.addinivalue_line("markers", f"{marker}: of a check")
    spec = spec_from_file_location("checks", ROOT / "prompts/lunar/checks/test_model.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Devices = module.devices_of
    return found


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("x = 1\nmodel.to('cuda')\n", ["a.py:2"]),
        ("device = 'cuda:0' if big else 'mps'\n", ["a.py:1", "a.py:1"]),
        ("\ufeffmodel.cuda()\n", ["a.py:1"]),
        ("if x.device.type == 'cuda':\n    pass\n", []),
        ("free = torch.cuda.is_available()\n", []),
        ("if __name__ == '__main__':\n    model.to('cuda')\n", []),
    ],
)
def test_a_device_is_what_is_chosen_not_what_is_asked_for(
    devices_of: Devices, tmp_path: Path, text: str, lines: list[str]
) -> None:
    (tmp_path / "a.py").write_text(text, "utf-8")

    assert devices_of(tmp_path / "a.py") == lines


@pytest.mark.parametrize("line", ["a<b\n", "if '__main__': a\n"])
def test_a_long_file_is_read_in_no_time(devices_of: Devices, tmp_path: Path, line: str) -> None:
    (tmp_path / "a.py").write_text(line * 15_000)
    begin = time.monotonic()

    assert devices_of(tmp_path / "a.py") == []
    assert time.monotonic() - begin < 10, "comparing each with each took minutes"
