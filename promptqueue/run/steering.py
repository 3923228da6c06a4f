"""A person at the wheel: what may be decided after a reply."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from promptqueue.chat.message import Reply

Action = Literal["accept", "refine", "change", "correct", "edit", "retry", "skip"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows a reply.

    accept (the step is done as it is), refine (what is wrong goes back), change (of this reply, in
    the user's words), correct (the same of the files that stand, whichever reply brought them),
    edit (the step's prompt anew), retry (the same prompt, another sample) or skip.
    """

    action: Action
    text: str = ""
    """Of a change or correction what is wanted, of an edit the new prompt."""


@dataclass(frozen=True, slots=True)
class Review:
    """A reply as it lies before the user."""

    step: str
    turn: int
    prompt: str
    """The last message of the question."""
    reply: Reply
    files: Mapping[str, str]
    """Path to text, of what this reply brought."""
    issues: tuple[str, ...]
    """What would go back by itself; empty when the step could be accepted."""


Steer = Callable[[Review], Decision]
"""Asked after every reply; raises KeyboardInterrupt to stop the run."""
