"""Goes on where a cut reply stopped: what is sent, and what of the answer is said twice."""

from __future__ import annotations

import re

from promptqueue.chat.message import Message

HEAD_CHARS = 1000
"""So much of a continuation is held back until it is known what it repeats."""
MAX_OVERLAP = 2 * HEAD_CHARS
"""A longer repetition is not looked for: one network read may bring any number of characters."""
MIN_OVERLAP = 12
"""Shorter agreements are chance: an indent, a bracket."""
MIN_LINE = 4
"""Shortest unfinished last line that a continuation can be seen to restart."""
NATIVE_EXTRA = {"continue_final_message": True, "add_generation_prompt": False}
"""vLLM and llama-server (PR #23012) go on with the last message instead of answering it."""
CONTINUE_PROMPT = (
    "Your answer was cut off. Continue exactly where you stopped, in the middle of the line if "
    "need be: no repetition, no introduction, no new code fence."
)

_FENCE = re.compile(r"^ {0,3}(?:```|~~~)", re.MULTILINE)
_OPENING_FENCE = re.compile(r"\s*(?:```|~~~)[^\n`]*\n")
_INTRODUCTION = re.compile(
    r"\s*(?:sure|certainly|of course|okay|here|continuing|конечно|вот|продолж)[^\n]*[:.!…]\s*\n+",
    re.IGNORECASE,
)


def continue_messages(text: str, *, native: bool) -> tuple[Message, ...]:
    """Return what follows the original messages when a reply is to go on after `text`."""
    partial = Message("assistant", text)
    return (partial,) if native else (partial, Message("user", CONTINUE_PROMPT))


def drop_overlap(so_far: str, continuation: str) -> str:
    """Return the continuation without what it repeats or adds at the seam.

    Dropped are an introduction and, inside a fence, a new opening fence; then whatever agrees
    with the end of `so_far`, or a restart of its unfinished last line.
    """
    rest = _drop_opening(so_far, continuation)
    for length in range(min(len(so_far), len(rest), MAX_OVERLAP), MIN_OVERLAP - 1, -1):
        if so_far.endswith(rest[:length]):
            return rest[length:]
    last_line = so_far[so_far.rfind("\n") + 1 :].strip()
    restarted = rest.lstrip()
    if len(last_line) >= MIN_LINE and restarted.startswith(last_line):
        return _after_line(so_far, restarted[len(last_line) :])
    return rest


def _drop_opening(so_far: str, continuation: str) -> str:
    rest = continuation
    introduction = _INTRODUCTION.match(rest)
    if introduction:
        rest = rest[introduction.end() :]
    fence = _OPENING_FENCE.match(rest)
    if len(_FENCE.findall(so_far)) % 2 == 0:  # outside a fence a new one is the answer itself
        return rest if fence else continuation
    return rest[fence.end() :] if fence and _opens(fence[0], so_far) else rest


def _opens(line: str, so_far: str) -> bool:
    """Tell an opening fence from the closing one that was still missing."""
    return bool(line.strip().strip("`~")) or not so_far.endswith("\n")


def _after_line(so_far: str, rest: str) -> str:
    trailing = len(so_far) - len(so_far.rstrip(" \t"))
    return rest[trailing:] if trailing and rest[:trailing].isspace() else rest


class Join:
    """Lets a continuation through, but for its beginning, which it first compares.

    Args:
        so_far: what is continued.
        may_repeat: the model was asked to go on; a server that goes on by itself repeats nothing,
            and what looks like it, as the next of equal rows, is text.
    """

    def __init__(self, so_far: str, *, may_repeat: bool = True) -> None:
        self.decided = False
        self.overlap = 0
        """Characters that were dropped."""
        self._so_far = so_far
        self._may_repeat = may_repeat
        self._held = ""

    def feed(self, text: str) -> str:
        """Take the next piece and return what of it belongs to the reply."""
        if self.decided:
            return text
        self._held += text
        enough = len(self._held) >= HEAD_CHARS or not self._may_repeat
        return self.finish() if enough else ""

    def finish(self) -> str:
        """Return what was held back, without the overlap."""
        if self.decided:
            return ""
        self.decided = True
        kept = self._held
        if self._may_repeat:
            kept = drop_overlap(self._so_far, self._held)
        self.overlap = len(self._held) - len(kept)
        return kept
