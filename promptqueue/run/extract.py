"""Turn the text of a reply into the declared modules, and everything else into typed issues."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from promptqueue.queue.model import Output
from promptqueue.run import issues
from promptqueue.run.assignment import (
    Assignment,
    assign_blocks,
    claim_sole_output,
    is_outright,
    lacking_symbols,
    path_of,
)
from promptqueue.run.attribution import FIRST, SOLE, Claim, fits, is_unsafe
from promptqueue.run.fences import Block, find_blocks
from promptqueue.run.issues import Issue, IssueKind
from promptqueue.run.markdown import answer_of
from promptqueue.run.splice import covers, spliced
from promptqueue.run.splitting import split_block
from promptqueue.verify.lint import parse_problem
from promptqueue.verify.placeholders import has_shrunk, line_count, placeholders

__all__ = ["Extraction", "Issue", "IssueKind", "Module", "as_wanted", "extract_modules"]

_CUT = frozenset({"length", "degenerate"})
_PROSE = (".md", ".txt", ".rst", ".json")
"""Files in which a line that looks like a comment is none."""


@dataclass(frozen=True, slots=True)
class Module:
    """A declared file that the reply returned."""

    path: str
    text: str
    found_by: str
    """`info`, `line above`, `first line` or `sole output`: how the reply named its path."""


@dataclass(frozen=True, slots=True)
class Extraction:
    """What a reply brought."""

    modules: Mapping[str, Module]
    """Declared path to module, in the order of the declaration; also those with fatal issues,
    so that the best so far can be kept."""
    issues: tuple[Issue, ...]

    @property
    def fatal(self) -> bool:
        """Tell whether at least one declared file cannot be used."""
        return any(issue.fatal for issue in self.issues)

    @property
    def usable(self) -> bool:
        """Tell whether every declared file can be used."""
        return not self.fatal


def extract_modules(
    reply: str,
    outputs: Sequence[Output],
    *,
    previous: Mapping[str, str] | None = None,
    finish_reason: str = "stop",
    parts: bool = False,
) -> Extraction:
    """Find the declared files in a reply; nothing is raised, whatever the reply is.

    Args:
        reply: text of the reply, as it came.
        outputs: the files that the step declares; no other path is ever returned.
        previous: path to the text of the version before, to notice a file that lost its body.
        finish_reason: `stop`, `length` or `degenerate`.
        parts: functions and classes alone were asked for, of whatever file; they go into the
            version before, as those of an output with `parts` always do.
    """
    answer = answer_of(reply)
    found_blocks = find_blocks(answer.text, outputs, cut=finish_reason in _CUT)
    declared = [output.path for output in outputs]
    blocks = [_without_label(part, declared)
              for block in found_blocks for part in split_block(block, declared)]  # fmt: skip
    before = previous or {}
    amended = {o.path: before.get(o.path, "") for o in outputs if parts or o.parts}
    outputs = as_wanted(outputs, before)
    adding = {output.path for output in outputs if output.parts}
    blocks = _put_in_place(claim_sole_output(blocks, outputs), amended, adding)
    assigned = assign_blocks(blocks, outputs)
    found = chain(
        [issues.degenerate()] if finish_reason == "degenerate" else [],
        _block_issues(assigned, outputs),
        _missing(assigned, outputs, thinking=answer.thinking),
        _file_issues(assigned, outputs, before),
    )
    modules = {path: _module(path, versions[-1]) for path, versions in assigned.versions.items()}
    return Extraction(modules, tuple(found))


def as_wanted(outputs: Sequence[Output], before: Mapping[str, str]) -> list[Output]:
    """Return the outputs, each whole that was to be sent in parts and is not there yet."""
    return [o if before.get(o.path) else o.model_copy(update={"parts": False}) for o in outputs]


def _without_label(block: Block, declared: Sequence[str]) -> Block:
    """Take away a first line that is nothing but a declared path.

    Small models write it inside the fence; it parses as Python, and fails when it is run.
    """
    first, _, rest = block.text.partition("\n")
    path = first.strip()
    if path not in declared or not path.endswith(".py") or path_of(block) not in ("", path):
        return block
    return replace(block, text=rest, claim=block.claim or Claim(path, FIRST))


def _put_in_place(
    blocks: Sequence[Block], amended: Mapping[str, str], adding: Container[str]
) -> list[Block]:
    """Make one whole file of the blocks with some of its definitions; others stay as they are.

    Blocks of the files in `adding` may have new definitions alone, but for examples.
    What follows the file anew goes into that.
    """
    texts, whole = dict(amended), dict[str, Block]()
    others, named = [], {path_of(block) for block in blocks if is_outright(block)}
    for block in blocks:
        path = path_of(block)
        known = texts.get(path)
        text = None
        if known is not None and not block.left_open:
            example = path in named and not is_outright(block)
            text = spliced(known, block.text, adding=path in adding and not example)
            if text is None and not example and covers(block.text, known):
                texts[path] = block.text
        if text is None:
            others.append(block)
        else:
            texts[path], whole[path] = text, replace(block, text=text)
    return [*others, *whole.values()]


def _module(path: str, block: Block) -> Module:
    return Module(path, block.text, block.claim.found_by if block.claim else SOLE)


def _block_issues(assigned: Assignment, outputs: Sequence[Output]) -> Iterator[Issue]:
    declared = [output.path for output in outputs]
    for block in assigned.strangers:
        yield from _stranger_issues(block, declared)
    for path, block in assigned.empty.items():
        if block.left_open and is_outright(block):
            yield issues.truncated(path, block.line)
    for path, versions in assigned.versions.items():
        for block in versions:
            if block.left_open:
                yield issues.truncated(path, block.line)
            elif block is not versions[-1]:
                yield issues.superseded(path, block.line, by=versions[-1].line)


def _stranger_issues(block: Block, declared: Sequence[str]) -> Iterator[Issue]:
    path = path_of(block)
    if path and path not in declared:
        issue = issues.unsafe if is_unsafe(path) else issues.undeclared
        yield issue(path, block.line, declared)
    elif block.text.strip() and any(fits(block.language, output) for output in declared):
        yield issues.unattributed(block.line, declared)
        if block.left_open:
            yield issues.truncated(None, block.line)


def _missing(assigned: Assignment, outputs: Sequence[Output], *, thinking: bool) -> Iterator[Issue]:
    declared = {output.path for output in outputs}
    claimed = map(path_of, assigned.strangers)
    others = [path for path in claimed if path not in declared | {""}]
    for output in outputs:
        if output.path not in assigned.versions:
            empty = assigned.empty.get(output.path)
            empty_at = empty.line if empty else None
            why = issues.missing_why(others, empty_at=empty_at, thinking=thinking)
            yield issues.missing(output.path, why=why, parts=output.parts)


def _file_issues(
    assigned: Assignment, outputs: Sequence[Output], previous: Mapping[str, str]
) -> Iterator[Issue]:
    for output in outputs:
        versions = assigned.versions.get(output.path, ())
        if versions and not versions[-1].left_open:  # of a torso there is nothing more to say
            yield from _content_issues(versions[-1], output)
            yield from _shrunk(versions[-1], output.path, previous.get(output.path, ""))


def _content_issues(block: Block, output: Output) -> Iterator[Issue]:
    path = output.path
    if problem := parse_problem(path, block.text):
        yield issues.syntax(path, problem, parts=output.parts)
    elif lacking := lacking_symbols(block, output):
        yield issues.symbols(path, lacking)
    for placeholder in () if path.endswith(_PROSE) else placeholders(block.text):
        yield issues.lazy(path, placeholder)


def _shrunk(block: Block, path: str, before: str) -> Iterator[Issue]:
    if has_shrunk(before, block.text):
        yield issues.shrunk(path, old=line_count(before), new=line_count(block.text))
