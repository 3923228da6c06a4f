"""Cut a reply into its blocks of code: what opens one, and which of the fences closes it."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

from promptqueue.queue.model import Output
from promptqueue.run import attribution
from promptqueue.run.attribution import Claim
from promptqueue.run.markdown import (
    CLOSER,
    OPENER,
    Container,
    closes,
    container_of,
    is_balanced,
    looks_like_code,
    opens_with_info,
)
from promptqueue.verify.lint import is_python_module, missing_symbols, parse_problem

_ENDS_TRIED = 128
"""Ends that are tried for one block: more examples than any docstring holds."""
_BARE_ENDS_TRIED = 8
"""The same for a reply without an opening fence: most replies are not that, and cost this."""
_PARSE_BUDGET = 2_000_000
"""Characters parsed in search of ends, for one reply: a second or two. A file of 50,000 characters
with forty fences in its docstrings needs half; then a block ends at the first line that may."""
_PARSE_FEE = 200
"""What starting the parser costs, in characters."""
_STRICT = (".py", ".pyi", ".json", ".toml")
"""Languages in which a fence line outside a string is always an error."""


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of the reply that may be a file."""

    line: int
    """Line of the reply, from 1, on which it opens."""
    language: str
    """In lower case, as the fence names it; empty if it does not."""
    text: str
    """The body, with its container's indentation removed; ends with a newline, or is empty."""
    claim: Claim | None
    left_open: bool = False
    """The reply ended before the block did."""


@dataclass(frozen=True, slots=True)
class _Opener:
    index: int
    """Index of the line that opens the block."""
    start: int
    """Index of the first line of the body; the same line where the opening fence is missing."""
    claim: Claim | None
    path: str
    """Says how the body is parsed."""
    fence: str = ""
    """The run of backticks or tildes; empty where the opening fence is missing."""
    language: str = ""
    container: Container = field(default_factory=Container)


@dataclass(frozen=True, slots=True)
class _End:
    index: int
    """Index of the line behind the body."""
    resume: int
    """Index of the line at which the search goes on."""
    kind: str
    """`closer`, `marker` (another block begins), `quote` (the container ends) or `eof`."""


def find_blocks(text: str, outputs: Sequence[Output], *, cut: bool) -> list[Block]:
    """Return the blocks of an answer in their order.

    Args:
        text: an answer with LF line ends.
        outputs: what the step declares: a path tells how a body must parse.
        cut: the reply was ended by a limit, so that what is still open is not whole.
    """
    return list(_Finder(text, outputs, cut=cut).blocks())


class _Finder:
    """One pass over the lines; holds what every decision needs."""

    def __init__(self, text: str, outputs: Sequence[Output], *, cut: bool) -> None:
        self._lines = text.removesuffix("\n").split("\n")
        self._outputs = outputs
        self._declared = [output.path for output in outputs]
        self._cut = cut
        self._budget = _PARSE_BUDGET
        numbered = [*enumerate(self._lines)]
        fences = [i for i, line in numbered if "```" in line or "~~~" in line]
        naming = {i for path in self._declared for i, line in numbered if path in line}
        self._markers = {i: claim for i in naming if (claim := self._marker(self._lines[i]))}
        self._named = {i: fence for i in fences if (fence := self._named_fence(self._lines[i]))}
        self._notable = sorted({*fences, *self._markers})  # quotes aside, a block ends at these

    def blocks(self) -> Iterator[Block]:
        index = floor = 0
        found = self._bare_reply()
        while index < len(self._lines):
            found = found or self._fenced(index, floor) or self._unfenced(index)
            if found:
                block, index = found
                floor, found = index, None
                yield block
            else:
                index += 1

    # What a line is.

    def _marker(self, line: str) -> Claim | None:
        """Return the claim of a line that only names a declared path."""
        claim = attribution.label_claim(line, "", self._declared)
        return claim if claim and claim.path in self._declared else None

    def _named_fence(self, line: str) -> str:
        """Return the fence of an opener whose info string names a declared path."""
        match = OPENER.match(line)
        if not match or not any(path in match["info"] for path in self._declared):
            return ""
        claim = attribution.info_claim(match["info"].strip(), self._declared)
        return match["fence"] if claim and claim.path in self._declared else ""

    def _head(self, start: int) -> list[str]:
        """Return the first lines of a body that are not blank."""
        lines = (self._lines[i] for i in range(start, len(self._lines)))
        return list(islice((line for line in lines if line.strip(" \t>")), 3))

    def _above(self, index: int, floor: int) -> str:
        """Return the line above a fence, over at most two blank ones."""
        near = range(index - 1, max(floor, index - 3) - 1, -1)
        return next((self._lines[i] for i in near if self._lines[i].strip(" \t>")), "")

    # Blocks that a fence opens.

    def _fenced(self, index: int, floor: int) -> tuple[Block, int] | None:
        match = OPENER.match(self._lines[index])
        if not match:
            return None
        opener = self._opener(index, floor, match)
        return self._cut_out(opener, self._ends(opener))

    def _opener(self, index: int, floor: int, match: re.Match[str]) -> _Opener:
        info = match["info"].strip()
        language = attribution.language_of(info, self._declared)
        head = self._head(index + 1)
        container = container_of(match["prefix"], head)
        above = self._above(index, floor)
        claim = (
            attribution.info_claim(info, self._declared)
            or attribution.label_claim(above, language, self._declared)
            or attribution.first_line_claim(container.strip_all(head), language, self._declared)
            or attribution.sentence_claim(above, language, self._declared)
        )
        path = claim.path if claim else attribution.parse_path(language, self._declared)
        return _Opener(index, index + 1, claim, path, match["fence"], language, container)

    # Blocks whose opening fence is missing.

    def _bare_reply(self) -> tuple[Block, int] | None:
        """Return the block of a reply that is nothing but the code of the one declared file."""
        if len(self._outputs) != 1 or not self._declared[0].endswith(".py"):
            return None
        start = next((i for i, line in enumerate(self._lines) if line.strip()), len(self._lines))
        if start == len(self._lines) or start in self._markers or OPENER.match(self._lines[start]):
            return None
        if self._lines[start].strip().lower() in {"python", "py"}:  # the rest of a lost fence
            start += 1
        claim = Claim(self._declared[0], attribution.SOLE)
        opener = _Opener(start, start, claim, claim.path)
        ends = islice(self._ends(opener), _BARE_ENDS_TRIED)
        found = self._cut_out(opener, chain([self._eof()], ends))
        return found if self._is_bare(found[0]) else None

    def _is_bare(self, block: Block) -> bool:
        if block.left_open:
            return looks_like_code(block.text)
        missing = missing_symbols(block.text, self._outputs[0].symbols)
        return is_python_module(block.text) and not missing

    def _unfenced(self, index: int) -> tuple[Block, int] | None:
        """Return the block that begins at a lone `# file: model.py`, if code follows it."""
        claim = self._markers.get(index)
        if claim is None or not claim.path.endswith(".py"):
            return None
        following = self._head(index + 1)
        if not following or OPENER.match(following[0]):
            return None
        start = self._lines.index(following[0], index + 1)
        if attribution.is_comment(self._lines[index]):  # then it belongs to the file
            start, claim = index, Claim(claim.path, attribution.FIRST)
        opener = _Opener(index, start, claim, claim.path)
        found = self._cut_out(opener, self._ends(opener))
        text = found[0].text
        return found if is_python_module(text) or looks_like_code(text) else None

    # Where a block ends.

    def _cut_out(self, opener: _Opener, ends: Iterable[_End]) -> tuple[Block, int]:
        """Cut at the first end that makes the body parse, else at the first closing fence."""
        tried: list[_End] = []
        for end in islice(ends, _ENDS_TRIED):
            tried.append(end)
            if self._budget <= 0:
                break
            text = self._text(opener, end)
            if self._parses(opener, text):
                left_open = end.kind == "eof" and (self._cut or not text.strip())
                return self._block(opener, text, left_open=left_open), end.resume
        end = _fallback(tried, opener.fence)
        left_open = end.kind == "eof" and (self._cut or bool(opener.fence))
        return self._block(opener, self._text(opener, end), left_open=left_open), end.resume

    def _block(self, opener: _Opener, text: str, *, left_open: bool) -> Block:
        return Block(opener.index + 1, opener.language, text, opener.claim, left_open)

    def _parses(self, opener: _Opener, text: str) -> bool:
        self._budget -= len(text) + _PARSE_FEE
        if opener.path.endswith(".md"):
            return is_balanced(text, opener.fence)
        if not opener.fence:
            return is_python_module(text)
        return parse_problem(opener.path, text) is None

    def _ends(self, opener: _Opener) -> Iterator[_End]:
        """Yield what may end a block; nothing behind a fence that names a declared path."""
        nested: list[_End] = []  # shorter fences with a path: content, unless nothing closes it
        for index in self._candidates(opener):
            end = self._closing(opener, index)
            if end:
                nested = [] if end.kind == "closer" else nested
                yield end
                if end.kind == "quote":
                    return
            elif len(self._named.get(index, "")) >= max(1, len(opener.fence)):
                yield from self._before(opener, index)
                return
            elif self._begins_another(opener, index):
                yield from self._before(opener, index)
            elif index in self._named:
                nested.append(_End(index, index, "marker"))
        yield from nested[:1]
        yield self._eof()

    def _candidates(self, opener: _Opener) -> Sequence[int]:
        """Return the lines that may end a block; in a quote, any line may leave it."""
        first = max(opener.start, opener.index + 1)
        if opener.container.quotes:
            return range(first, len(self._lines))
        return self._notable[bisect.bisect_left(self._notable, first) :]

    def _eof(self) -> _End:
        return _End(len(self._lines), len(self._lines), "eof")

    def _closing(self, opener: _Opener, index: int) -> _End | None:
        line = self._lines[index]
        inner = opener.container.strip(line)
        if inner is None:
            return _End(index, index + bool(CLOSER.match(line)), "quote")
        if closes(inner, opener.fence, reach=opener.container.reach):
            return _End(index, index + 1, "closer")
        return None

    def _begins_another(self, opener: _Opener, index: int) -> bool:
        if not opener.fence and index in self._markers:
            return True
        strict = opener.path.endswith(_STRICT)
        return strict and opens_with_info(self._lines[index], least=len(opener.fence))

    def _before(self, opener: _Opener, index: int) -> Iterator[_End]:
        """Yield the ends before another block: with and without the label above it."""
        above = range(index - 1, max(opener.start, index - 4), -1)
        label = next((i for i in above if self._lines[i].strip()), -1)
        if label in self._markers:
            yield _End(label, label, "marker")
        yield _End(index, index, "marker")

    def _text(self, opener: _Opener, end: _End) -> str:
        lines = opener.container.strip_all(self._lines[opener.start : end.index])
        text = "".join(f"{line}\n" for line in lines).removeprefix("\ufeff")
        if end.kind == "closer" and opener.fence:
            return text  # to the byte; elsewhere blank lines at the end belong to nobody
        return text.rstrip("\n") + "\n" if text else ""


def _fallback(ends: Sequence[_End], fence: str) -> _End:
    """Return the end of a block that parses at none: the first closing fence (CommonMark)."""
    if not fence:
        return ends[0]
    kinds = ("closer", "marker", "quote", "eof")
    return min(ends, key=lambda end: (kinds.index(end.kind), end.index))
