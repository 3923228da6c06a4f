"""Which block of a reply is which declared file, and which of its versions is taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from promptqueue.queue.model import Output
from promptqueue.run.attribution import SOLE, Claim, fits
from promptqueue.run.fences import Block
from promptqueue.verify.lint import missing_symbols, parse_problem, top_level_definitions

_CUT_OFF, _BROKEN, _PARTIAL, _WHOLE = range(4)
"""Grades of a version: left open, does not parse, lacks symbols, has everything."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """The blocks of a reply by what becomes of them."""

    versions: Mapping[str, Sequence[Block]]
    """Declared path to its blocks; the last one is taken."""
    empty: Mapping[str, Block]
    """Declared path to a block for it that has no content."""
    strangers: Sequence[Block]
    """Blocks of no declared file, in their order."""


def claim_sole_output(blocks: Sequence[Block], outputs: Sequence[Output]) -> list[Block]:
    """Give the only declared file to the one block that can be it, if none names it."""
    chosen = _sole_block(blocks, outputs[0]) if len(outputs) == 1 else None
    if chosen is None:
        return list(blocks)
    claimed = replace(chosen, claim=Claim(outputs[0].path, SOLE))
    return [claimed if block is chosen else block for block in blocks]


def assign_blocks(blocks: Sequence[Block], outputs: Sequence[Output]) -> Assignment:
    """Sort blocks by the declared file that each of them is."""
    bodies: dict[str, list[Block]] = {output.path: [] for output in outputs}
    empty: dict[str, Block] = {}
    strangers: list[Block] = []
    for block in blocks:
        path = path_of(block)
        if path not in bodies:
            strangers.append(block)
        elif block.text.strip():
            bodies[path].append(block)
        else:
            empty[path] = block
    versions: dict[str, Sequence[Block]] = {}
    for output in outputs:
        found = _rivals(bodies[output.path])
        strangers += found.dropped
        if found.taking_part:
            versions[output.path] = _best_last(found.taking_part, output)
    return Assignment(versions, empty, sorted(strangers, key=lambda block: block.line))


def path_of(block: Block) -> str:
    """Return the path that a block claims; empty where it claims none."""
    return block.claim.path if block.claim else ""


def is_outright(block: Block) -> bool:
    """Tell whether a block names its path itself, not only a sentence above it."""
    return block.claim is not None and not block.claim.weak


def lacking_symbols(block: Block, output: Output) -> tuple[str, ...]:
    """Return the declared symbols that a block does not define."""
    is_python = output.path.endswith((".py", ".pyi"))
    return missing_symbols(block.text, output.symbols) if is_python else ()


def _sole_block(blocks: Sequence[Block], output: Output) -> Block | None:
    bodies = [block for block in blocks if block.text.strip()]
    if any(path_of(block) == output.path for block in bodies):
        return None
    fitting = [block for block in bodies if not block.claim and fits(block.language, output.path)]
    pool = [block for block in fitting if block.language] or fitting
    if len(pool) > 1:
        pool = [block for block in pool if output.symbols and _grade(block, output) == _WHOLE]
    return pool[0] if len(pool) == 1 else None


@dataclass(frozen=True, slots=True)
class _Rivals:
    taking_part: list[Block]
    dropped: list[Block]


def _rivals(bodies: Sequence[Block]) -> _Rivals:
    """Drop what a sentence merely mentions, where another block names the path outright.

    `Use model.py like this:` introduces an example; a new version of the file shares
    at least one function or class with it.
    """
    outright = [block for block in bodies if is_outright(block)]
    names = frozenset(name for block in outright for name in top_level_definitions(block.text))
    found = _Rivals([], [])
    for block in bodies:
        mentioned = bool(outright) and not is_outright(block)
        example = mentioned and not names & top_level_definitions(block.text)
        (found.dropped if example else found.taking_part).append(block)
    return found


def _best_last(bodies: Sequence[Block], output: Output) -> list[Block]:
    """Move the version that is taken to the end: of the best grade, the last one."""
    if len(bodies) == 1:
        return list(bodies)
    best = max(bodies, key=lambda block: (_grade(block, output), block.line))
    return [*(block for block in bodies if block is not best), best]


def _grade(block: Block, output: Output) -> int:
    if block.left_open:
        return _CUT_OFF
    if parse_problem(output.path, block.text) is not None:
        return _BROKEN
    return _PARTIAL if lacking_symbols(block, output) else _WHOLE
