"""What differs between two runs, line by line."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from promptqueue.run.journal import RunDirectory
from promptqueue.run.past import Call, read_history, text_of


def compare(first: RunDirectory, second: RunDirectory) -> Iterator[str]:
    """Yield the lines of what differs between two runs; nothing when nothing does."""
    one, other = first.meta(), second.meta()
    for name in ("inputs", "model"):
        if one[name] != other[name]:
            yield f"{name}: {_shown(one[name])} → {_shown(other[name])}"
    if one["endpoint"]["base_url"] != other["endpoint"]["base_url"]:
        yield f"endpoint: {one['endpoint']['base_url']} → {other['endpoint']['base_url']}"
    mine, theirs = read_history(first), read_history(second)
    yield from filter(None, (mine.warning, theirs.warning))
    ours, others = mine.latest(), theirs.latest()
    for step in dict.fromkeys([*ours, *others]):
        yield from _compare_step(step, ours.get(step, []), others.get(step, []), first, second)
    for path in dict.fromkeys([*mine.files, *theirs.files]):
        yield from _compare_file(path, mine.files, theirs.files, first, second)


def _compare_step(
    step: str,
    ours: Sequence[Call],
    others: Sequence[Call],
    first: RunDirectory,
    second: RunDirectory,
) -> Iterator[str]:
    if not ours or not others:
        yield f"{step}: only in {(first if ours else second).id}"
        return
    one, other = ours[0], others[0]
    for name, mine, theirs in (
        ("model", one.model, other.model),
        ("parameters", one.params, other.params),
        ("turns", len(ours), len(others)),
        ("tokens out", _tokens(ours), _tokens(others)),
    ):
        if mine != theirs and None not in (mine, theirs):
            yield f"{step}: {name}: {_shown(mine)} → {_shown(theirs)}"
    if one.messages != other.messages:
        yield f"{step}: the prompt differs"
        yield from _unified(
            text_of(first.blobs, one.messages[-1][1]),
            text_of(second.blobs, other.messages[-1][1]),
            f"{step} prompt",
        )
    replies = [call.reply for call in ours], [call.reply for call in others]
    if replies[0] != replies[1]:
        yield f"{step}: the replies differ"


def _tokens(calls: Sequence[Call]) -> int | None:
    """Return the tokens written, or nothing where an answer was paid for elsewhere."""
    if any(call.usage is None for call in calls):
        return None
    return sum(call.usage.completion for call in calls if call.usage)


def _compare_file(
    path: str,
    mine: Mapping[str, str],
    theirs: Mapping[str, str],
    first: RunDirectory,
    second: RunDirectory,
) -> Iterator[str]:
    if mine.get(path) != theirs.get(path):
        one = text_of(first.blobs, mine[path]) if path in mine else ""
        other = text_of(second.blobs, theirs[path]) if path in theirs else ""
        yield from _unified(one, other, path)


def _unified(one: str, other: str, name: str) -> Iterator[str]:
    lines = (one.splitlines(), other.splitlines())
    yield from difflib.unified_diff(*lines, f"a/{name}", f"b/{name}", lineterm="")


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
