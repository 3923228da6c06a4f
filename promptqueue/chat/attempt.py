"""One attempt: sends the request once, streams the text out, and says whether it is an answer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from promptqueue.chat.continuation import Join
from promptqueue.chat.failure import Failure
from promptqueue.chat.message import Continued, Delta, Message, Usage
from promptqueue.chat.quirks import Classified, classify
from promptqueue.chat.reading import Piece, Reading
from promptqueue.chat.repetition import RepetitionWatch
from promptqueue.chat.stream import BodyParser, StreamError
from promptqueue.chat.transport import AttemptError, Body, Transport

_LENGTH = frozenset({"length", "max_tokens", "model_length", "MAX_TOKENS"})
_FILTERED = frozenset({"content_filter", "safety", "SAFETY", "refusal"})
_FAILED = frozenset({"error", "abort", "insufficient_system_resource"})
_BREAKS = frozenset({Failure.BROKEN_STREAM, Failure.TIMEOUT, Failure.CONNECT})


@dataclass(frozen=True, slots=True)
class Answer:
    """What one successful attempt brought."""

    text: str
    finish_reason: str
    usage: Usage
    reasoning: str = ""
    model: str = ""
    seconds: float = 0.0
    first_token_s: float = 0.0
    gave_up: bool = False
    """A continuation that could not be had: the reply stays cut."""


class Attempt:
    """Reads one response.

    Args:
        messages: what is sent, to estimate the usage where the server reports none.
        so_far: the text that this attempt continues; "" for a new reply.
        how: of the continuation, for the `Continued` event.
    """

    def __init__(self, messages: tuple[Message, ...], *, so_far: str = "", how: str = "") -> None:
        self._messages = messages
        self._how = how
        self._join = Join(so_far, may_repeat=how != "native") if so_far else None
        self._joined: list[str] = []
        self._reading = Reading()
        self._parser = BodyParser()
        self._watch = RepetitionWatch()
        self._thought_watch = RepetitionWatch()
        self._started = time.monotonic()
        self._first_token_s = 0.0

    @property
    def text(self) -> str:
        """The text so far; of a continuation, without what it repeats."""
        return self._reading.text if self._join is None else "".join(self._joined)

    def run(
        self, transport: Transport, body: Mapping[str, Any], extra: Mapping[str, Any]
    ) -> Iterator[Delta | Continued]:
        """Send the request and yield the text as it arrives.

        Raises:
            AttemptError: there is no answer; it carries the text and the usage so far.
        """
        try:
            with transport.stream(body, extra) as response:
                yield from self._read(response)
        except (StreamError, AttemptError) as exc:
            self._settle(exc)
            yield from self._emit(self._reading.finish(), last=True)
        self._judge()

    def answer(self) -> Answer:
        """Return the answer after a `run` that did not raise."""
        reason = self._reading.finish_reason
        return Answer(
            text=self.text,
            finish_reason="length" if reason in _LENGTH else "stop",
            usage=self._reading.counted(self._messages),
            reasoning=self._reading.reasoning,
            model=self._reading.model,
            seconds=time.monotonic() - self._started,
            first_token_s=self._first_token_s,
        )

    def _settle(self, error: StreamError | AttemptError) -> None:
        """Raise what happened, unless the answer was complete before the stream broke."""
        if isinstance(error, AttemptError) and error.classified.failure is Failure.DEGENERATE:
            raise error
        found = error.classified if isinstance(error, AttemptError) else _understand(error)
        if not (self._reading.finish_reason and found.failure in _BREAKS):
            self._fail(found)

    def _read(self, body: Body) -> Iterator[Delta | Continued]:
        for data in body:
            yield from self._emit(self._reading.take(self._parser.feed(data)))
            if self._parser.done:
                body.end()
                break
        else:
            yield from self._emit(self._reading.take(self._parser.finish()))
        yield from self._emit(self._reading.finish(), last=True)

    def _emit(self, piece: Piece, *, last: bool = False) -> Iterator[Delta | Continued]:
        text = piece.text
        if self._join is not None and not self._join.decided:
            text = self._join.feed(text) + (self._join.finish() if last else "")
            if self._join.decided:
                yield Continued(self._how, self._join.overlap)
        if not self._first_token_s and (piece.text or piece.reasoning):
            self._first_token_s = time.monotonic() - self._started
        if piece.reasoning:
            yield Delta(piece.reasoning, reasoning=True)
            self._watch_thought(piece.reasoning)
        if text:
            self._joined.append(text)
            yield Delta(text)
            self._watch_text(text)

    def _watch_text(self, text: str) -> None:
        if self._watch.feed(text):
            cut = self.text[: self._watch.first_copy_end]
            self._fail(Classified(Failure.DEGENERATE, "the reply only repeats itself"), cut)

    def _watch_thought(self, text: str) -> None:
        if self._thought_watch.feed(text):
            self._fail(Classified(Failure.DEGENERATE, "the thinking only repeats itself"))

    def _judge(self) -> None:
        reading = self._reading
        if not reading.finish_reason:
            self._fail(self._unfinished())
        if reading.finish_reason in _FILTERED or (reading.refusal and not self.text.strip()):
            words = reading.refusal or f"finish_reason {reading.finish_reason}"
            self._fail(Classified(Failure.FILTERED, words))
        if reading.finish_reason in _FAILED:
            words = f"the server ended the reply with {reading.finish_reason!r}"
            self._fail(Classified(Failure.BROKEN_STREAM, words))
        # A continuation may have nothing to add, and a cut reply may be all thinking.
        if not self.text.strip() and self._join is None and reading.finish_reason not in _LENGTH:
            self._fail(self._empty())

    def _unfinished(self) -> Classified:
        if self.text or self._reading.reasoning:
            return Classified(Failure.BROKEN_STREAM, "the stream ended without a finish_reason")
        if self._reading.has_choices or self._parser.streamed or not self._parser.started:
            return self._empty()
        return Classified(Failure.NOT_AN_ENDPOINT, "200 with JSON that holds no choices")

    def _empty(self) -> Classified:
        thought = ", only with thinking" if self._reading.reasoning else ""
        reason = self._reading.finish_reason or "none"
        words = f"200 without any text{thought} (finish_reason {reason})"
        return Classified(Failure.EMPTY, words)

    def _fail(self, classified: Classified, partial: str | None = None) -> None:
        """Raise what the attempt ended with, and keep what it had brought."""
        reading = self._reading
        rest = reading.finish().text
        if self._join is not None:
            self._joined += [self._join.feed(rest), self._join.finish()]
        known = reading.has_choices or reading.usage is not None
        usage = reading.counted(self._messages) if known else None
        raise AttemptError(
            classified,
            partial=self.text if partial is None else partial,
            usage=usage,
            seconds=time.monotonic() - self._started,
        ) from None


def _understand(error: StreamError) -> Classified:
    if error.body is None:
        return Classified(error.failure, str(error))
    found = classify(200, error.body, {})
    return Classified(found.failure, f"in the stream: {found.message}", found.retry_after_s)
