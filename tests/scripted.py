"""A scripted chat: it answers from a list, and is no model. For tests of what is built on Chat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from promptqueue.chat.message import (
    Answered,
    AttemptStarted,
    ChatEvent,
    Delta,
    Reply,
    Request,
    Usage,
)


@dataclass
class ScriptedChat:
    """Answers requests in order; keeps what it was asked."""

    script: list[str | Reply | BaseException]
    asked: list[Request] = field(default_factory=list)
    closed_early: int = 0

    def ask(self, request: Request) -> Iterator[ChatEvent]:
        self.asked.append(request)
        yield AttemptStarted(1)
        item = self.script.pop(0)
        if isinstance(item, BaseException):
            yield Delta("half a rep")
            raise item
        reply = item if isinstance(item, Reply) else reply_of(item)
        try:
            yield Delta(reply.text)
        except GeneratorExit:
            self.closed_early += 1
            raise
        yield Answered(reply)


def reply_of(text: str, *, finish: str = "stop", tokens: tuple[int, int] = (100, 50)) -> Reply:
    """Return a reply that says that it took `tokens` in and out."""
    return Reply(text, finish, Usage(*tokens), "scripted", seconds=1.0)


def fence(path: str, body: str) -> str:
    """Return a well-formed reply with one file."""
    return f"```python path={path}\n{body.rstrip()}\n```\n"
