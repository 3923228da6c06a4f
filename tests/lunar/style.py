"""One of the correct answers to the lunar queue, imported."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import NamedTuple

MODULES = ("preprocessing", "model", "training", "main")


class Style(NamedTuple):
    name: str
    folder: Path
    preprocessing: ModuleType
    model: ModuleType
    training: ModuleType
    main: ModuleType
