"""The modules of each correct style of the lunar pack, and the same randomness for every test."""

from __future__ import annotations

import importlib
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.lunar.style import MODULES, Style

STYLES = Path(__file__).parent / "styles"


@pytest.fixture(scope="module", params=["plain", "functional", "renamed"])
def style(request: pytest.FixtureRequest) -> Iterator[Style]:
    """Import the modules of one style by the names by which they import each other."""
    folder = STYLES / request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        modules = [importlib.import_module(name) for name in MODULES]
        yield Style(request.param, folder, *modules)
        for name in MODULES:
            del sys.modules[name]


@pytest.fixture
def seeded() -> Iterator[None]:
    """Start the global generators anew; on one thread, since tests run side by side."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
