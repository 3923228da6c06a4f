"""Finds the folders of generated code below a path, and the queue that each of them answers to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from promptqueue.errors import UsageError
from promptqueue.queue.inputs import Value
from promptqueue.queue.load import LoadedQueue
from promptqueue.run.workspace import MANIFEST, SHRUNK_FROM, manifest_files


@dataclass(frozen=True, slots=True)
class Target:
    """A folder of generated code."""

    folder: Path
    queue_file: Path
    queue_digest: str
    """Of the queue that it was asked by; empty where nobody knows."""
    inputs: Mapping[str, Value]
    """That the prompts were made with; empty where nobody knows."""
    shrunk: Mapping[str, int]
    """Lines that the version before had, of each file that lost most of them."""
    named: bool = False
    """The user named the queue; else the manifest did, which came with the code."""


def find_targets(path: Path, queue: Path | None = None) -> list[Target]:
    """Return the folders to judge: `path` itself, or those right below it with a manifest.

    Args:
        path: a folder with a manifest, or a parent of such folders.
        queue: judge `path` by this queue file, whatever a manifest says.

    Raises:
        UsageError: there is no such folder, or no manifest and no `queue`.
    """
    if not path.is_dir():
        raise UsageError(f"{path} is no folder; name one that holds generated files")
    if queue is not None:
        return [Target(path, queue, "", _inputs_of(path), _shrunk_of(path), named=True)]
    if (path / MANIFEST).exists():
        return [_target(path)]
    below = sorted(manifest.parent for manifest in path.glob(f"*/{MANIFEST}"))
    if not below:
        raise UsageError(
            f"{path} has no {MANIFEST}, nor has a folder in it; generate code first "
            "(promptqueue run QUEUE), or say what it answers to with --queue QUEUE"
        )
    return [_target(folder) for folder in below]


def refuse_own_judge(path: Path, target: Target, loaded: LoadedQueue) -> None:
    """Refuse code that brings its own contract, which would run outside of the sandbox.

    Args:
        path: what the user wants to be judged.
        target: a folder of it.
        loaded: the queue that it answers to.

    Raises:
        UsageError: the manifest chose a queue whose files lie below `path`.
    """
    queue = loaded.queue
    checks = [check for step in queue.steps for check in step.checks]
    brought = [queue.reference] if queue.reference else []
    judges = [loaded.path, *(loaded.folder / each for each in (*checks, *brought))]
    own = next((each for each in judges if each.resolve().is_relative_to(path.resolve())), None)
    if own is not None and not target.named:
        raise UsageError(
            f"{target.folder / MANIFEST} has the code judged by {own}, which came with it: "
            "checks run with your rights, outside of the sandbox; read them, then name the queue: "
            f"promptqueue verify {target.folder} --queue {loaded.path}"
        )


def _inputs_of(folder: Path) -> Mapping[str, Value]:
    """Return the inputs that a manifest tells; none where there is none that can be read."""
    try:
        return dict(json.loads((folder / MANIFEST).read_text("utf-8"))["inputs"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _shrunk_of(folder: Path) -> Mapping[str, int]:
    """Return what a manifest tells of files that shrank."""
    told = {path: entry.get(SHRUNK_FROM) for path, entry in manifest_files(folder).items()}
    return {path: lines for path, lines in told.items() if isinstance(lines, int)}


def _target(folder: Path) -> Target:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text("utf-8"))
        queue_file, digest = manifest["queue_file"], manifest["queue_digest"]
        queue = (folder / str(queue_file)).resolve()
        inputs = dict(manifest.get("inputs") or {})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} cannot be read ({type(error).__name__}: {error}); "
            "name the queue with --queue QUEUE"
        ) from error
    if not queue.is_file():
        raise UsageError(
            f"{path} names the queue {queue_file}, which is not there; name it with --queue QUEUE"
        )
    return Target(folder, queue, str(digest), inputs, _shrunk_of(folder))
