"""Runs the real command in a process of its own, in a clean environment."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

COMMAND = [sys.executable, "-m", "promptqueue"]
QUEUE = """\
promptqueue: 1
name: tiny
defaults: {params: {seed: 5}, refine: {turns: 1}}
steps:
  - id: one
    task: Write one.py.
    outputs: [{path: one.py, symbols: [one]}]
  - id: two
    task: Write two.py.
    outputs: [{path: two.py}]
"""
CONFIG = """\
[endpoints.test]
base_url = "{base_url}"
attempts = 2
idle_timeout_s = 0.5
"""


@dataclass
class Shell:
    """A folder with a queue, in which commands are run."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "HOME")}
        config = {"PROMPTQUEUE_CONFIG": str(self.folder / "config.toml")}
        return {**kept, **config, "NO_COLOR": "1", **self.environ}

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(textwrap.dedent(text), "utf-8")
        return path

    def configure(self, base_url: str) -> None:
        self.write("config.toml", CONFIG.format(base_url=base_url))

    def run(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def journal(self) -> str:
        paths = sorted(self.folder.glob(".promptqueue/runs/*/journal.jsonl"))
        return paths[-1].read_text("utf-8") if paths else ""
