"""What goes to a model and what comes back; `Chat` is the seam that tests replace."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from promptqueue.chat.question import Message as Message
from promptqueue.chat.question import Params as Params


@dataclass(frozen=True)  # no slots: the key is kept once it was computed
class Request:
    """One question to a model: everything that decides the answer, and nothing else."""

    messages: tuple[Message, ...]
    model: str
    params: Params = field(default_factory=Params)
    sample: int = 0
    """Which of several independent samples of the same question this is."""

    def canonical(self) -> str:
        """Return the JSON that the key is the digest of (stable across runs and versions)."""
        body = {
            "messages": [{"role": m.role, "content": m.content} for m in self.messages],
            "model": self.model,
            "params": {**self.params.given(), "extra": dict(self.params.extra)},
            "sample": self.sample,
        }
        return json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    def key(self) -> str:
        """Return the SHA-256 of the question; limits and retry policy are no part of it."""
        return self._key

    @functools.cached_property
    def _key(self) -> str:
        return hashlib.sha256(self.canonical().encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call."""

    prompt: int
    completion: int
    cached: int = 0
    """Prompt tokens that the server took from its prompt cache."""
    reasoning: int = 0
    """Part of `completion` that was spent on thinking."""
    estimated: bool = False
    """True when the endpoint reported nothing and we counted characters instead."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            prompt=self.prompt + other.prompt,
            completion=self.completion + other.completion,
            cached=self.cached + other.cached,
            reasoning=self.reasoning + other.reasoning,
            estimated=self.estimated or other.estimated,
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer: the endpoint said itself why it ended."""

    text: str
    """The content byte for byte, without reasoning: what goes into the next prompt."""
    finish_reason: str
    """`stop`, `length` (still cut after all continuations), or `degenerate` (cut by us)."""
    usage: Usage
    model: str
    """The name under which the endpoint says that it answered."""
    reasoning: str = ""
    """What the model thought; kept for the reader, never fed back, never searched for code."""
    seconds: float = 0.0
    """Wall time of the successful attempt and its continuations."""
    first_token_s: float = 0.0
    """Seconds until the first text of the successful attempt."""
    attempts: int = 1
    continuations: int = 0


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """The request is about to leave; from now on it may cost money."""

    kind: ClassVar[str] = "call.attempt"
    attempt: int
    cap: int | None = None
    """Most tokens of its reply: that of the request, or more where thinking ate it all."""
    spent: Usage | None = None
    """What earlier parts of the same reply took; `Answered` will count it in."""


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the reply as it streams in; several server events may be joined in one."""

    kind: ClassVar[str] = "call.delta"
    text: str
    reasoning: bool = False


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """An attempt brought no answer; what did arrive is kept in `partial`."""

    kind: ClassVar[str] = "call.failed"
    attempt: int
    failure: str
    """The class of failure, a value of `failure.Failure`."""
    message: str
    partial: str = ""
    usage: Usage | None = None
    """What the attempt cost as far as is known."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The client sleeps before the next attempt, and says why and until when."""

    kind: ClassVar[str] = "call.waiting"
    seconds: float
    until: float
    """Unix time of the next attempt."""
    reason: str


@dataclass(frozen=True, slots=True)
class Adapted:
    """The endpoint has a quirk, and the request was changed to suit it."""

    kind: ClassVar[str] = "call.adapted"
    what: str


@dataclass(frozen=True, slots=True)
class Continued:
    """A cut reply is being continued."""

    kind: ClassVar[str] = "call.continued"
    how: str
    """`native` (the server goes on with the last message), `turn` (a request to go on),
    or `cap` (asked again with twice the token cap, when thinking had eaten it all)."""
    overlap: int = 0
    """Characters that the continuation repeated, and that were dropped."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The last event of every successful call."""

    kind: ClassVar[str] = "call.finished"
    reply: Reply


ChatEvent = AttemptStarted | Delta | AttemptFailed | Waiting | Adapted | Continued | Answered


class Chat(Protocol):
    """Anything that answers a request: the client, or a script of answers in a test."""

    def ask(self, request: Request) -> Iterator[ChatEvent]:
        """Yield what happens; the last event is `Answered`.

        Raises:
            EndpointError: no answer is to be had; every attempt was yielded as an event before.
        """
        ...
