"""Wrong twins: copies of the reference with one thing broken, made by a script.

Each breaks one requirement, so that its checks, and no others, must turn red: that is how we know
that a check can fail, and that it fails for its own reason only.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "reference_impl" / "lunar"


@dataclass(frozen=True, slots=True)
class Twin:
    """One thing that is wrong."""

    requirement: str
    """Id of the requirement that it breaks."""
    what: str
    """What is wrong, in a few words."""
    file: str
    """Of the reference."""
    old: str
    """A text that occurs there exactly once."""
    new: str
    """What the twin has instead."""
    language: str = "en"
    """That its comments are judged by."""
    stops: tuple[str, ...] = ()
    """Requirements that nobody can meet with it: a program whose loader hands out what no network
    takes does not run."""

    @property
    def name(self) -> str:
        """Return a short name for tables and tests."""
        return f"{self.requirement}: {self.what}"

    def make(self, folder: Path) -> Path:
        """Copy the reference below `folder`, break it, and return the copy.

        Raises:
            ValueError: the text to replace is not there exactly once.
        """
        package = folder / REFERENCE.parent.name
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        copy = package / REFERENCE.name
        ignored = shutil.ignore_patterns("__pycache__", "*.md", "*.png")
        shutil.copytree(REFERENCE, copy, ignore=ignored)
        text = (copy / self.file).read_text("utf-8")
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.old!r} is {text.count(self.old)} times in it")
        (copy / self.file).write_text(text.replace(self.old, self.new), "utf-8")
        return copy
