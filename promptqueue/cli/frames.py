"""Where a signal found the program: some places are left in peace."""

from __future__ import annotations

from collections.abc import Collection
from types import FrameType

LOADERS = ("importlib._bootstrap", "_frozen_importlib")
"""Python swallows, and tells with a traceback, what is raised in the callbacks of an import."""


def is_within(modules: Collection[str], frame: FrameType | None) -> bool:
    """Tell whether code of one of these modules is at work in a frame, or waits below it."""
    while frame is not None:
        if frame.f_globals.get("__name__") in modules:
            return True
        frame = frame.f_back
    return False
