"""Small models put the path into the block, and sometimes several files into one block."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import replace

from promptqueue.run.attribution import FIRST, INFO, Claim
from promptqueue.run.fences import Block

_MARK = re.compile(
    r"(?:(?P<comment>#|//)\s*)?(?:path|file|filename)\s*[=:]\s*(?P<quote>[`'\"])?(?P<path>[\w./-]+)[`'\"]?\s*",
    re.IGNORECASE,
)


def split_block(block: Block, declared: Collection[str]) -> Iterator[Block]:
    """Yield the files of one block: a line `# path=b.py` in its middle begins the next one.

    A line `path=a.py` that is no comment is taken out: Python would run it. Both were seen from
    Qwen2.5-Coder-1.5B, which writes the info string of its fence a line too low.

    Args:
        block: as it stands in the reply.
        declared: paths that the step declares; a mark of any other path is left alone.
    """
    if block.claim is not None and block.claim.found_by == INFO:
        yield block  # well formed: what is inside is its own
        return
    claim, start, lines = block.claim, 0, list[str]()
    for number, line in enumerate(block.text.splitlines(keepends=True)):
        match = _MARK.fullmatch(line.rstrip("\n"))
        if match is None or match["path"] not in declared or _is_code(match, claim, lines):
            lines.append(line)
            continue
        if _is_other(claim, match["path"]) and _has_text(lines):
            yield _part(block, start, lines, claim, left_open=False)
            start, lines, claim = number + 1, [], None
        if claim is None or claim.weak:
            claim = Claim(match["path"], FIRST)
        if match["comment"]:
            lines.append(line)
    yield _part(block, start, lines, claim, left_open=block.left_open)


def _is_code(match: re.Match[str], claim: Claim | None, before: list[str]) -> bool:
    """Tell an assignment in a file, as `FILE = "report.json"`, from a mark."""
    in_file = _has_text(before) or (claim is not None and claim.path != match["path"])
    return not match["comment"] and bool(match["quote"]) and in_file


def _is_other(claim: Claim | None, path: str) -> bool:
    return claim is None or claim.path != path


def _has_text(lines: list[str]) -> bool:
    return any(line.strip() for line in lines)


def _part(
    block: Block, start: int, lines: list[str], claim: Claim | None, *, left_open: bool
) -> Block:
    text = "".join(lines)
    return replace(block, line=block.line + start, text=text, claim=claim, left_open=left_open)
