"""Raw requests and whatever comes back, for those who examine an endpoint."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from promptqueue.chat.failure import Failure
from promptqueue.chat.message import Usage
from promptqueue.chat.quirks import Classified
from promptqueue.chat.reading import Reading
from promptqueue.chat.stream import BodyParser, StreamError
from promptqueue.chat.transport import AttemptError, Transport

CAP = 12
"""Tokens that an answer of a probe may have."""
_PASSING = frozenset(
    {
        *(Failure.RATE_LIMITED, Failure.SERVER_ERROR, Failure.TIMEOUT),
        *(Failure.CONNECT, Failure.BROKEN_STREAM),
    }
)
"""These come and go, and are no refusal of what was asked."""
_WAITS_S = (1.0, 4.0)
_LONGEST_WAIT_S = 60.0
_LENGTH = frozenset({"length", "max_tokens", "model_length", "MAX_TOKENS"})


@dataclass(frozen=True, slots=True)
class Heard:
    """What came back to one request."""

    text: str = ""
    reasoning: str = ""
    finish: str = ""
    usage: Usage | None = None
    error: Classified | None = None

    @property
    def cut(self) -> bool:
        """Tell whether the server says that the token cap ended the reply."""
        return self.finish in _LENGTH


class RawClient:
    """Asks one model in raw form, again where it was busy, and counts what that takes.

    Args:
        transport: to the endpoint.
        model: its name there.
    """

    def __init__(self, transport: Transport, model: str) -> None:
        self._transport = transport
        self._model = model
        self.cap_name = "max_tokens"
        """How the endpoint calls the most tokens of a reply."""
        self.stream_options = True
        """Whether a request asks for usage."""
        self.thought = False
        """Whether a reply so far came with reasoning."""
        self.requests = 0
        """Requests made so far."""
        self.usage = Usage(0, 0)
        """Tokens that the endpoint reported so far."""

    def ask(self, *said: tuple[str, str] | str, cap: int = CAP, **fields: Any) -> Heard:
        """Send one request and read the answer, whatever it is.

        Args:
            said: role and text of each message; a bare text is the user's.
            cap: most tokens of the reply.
            fields: further fields of the body; None leaves one out.

        Raises:
            AttemptError: it was busy, broken or silent, and stayed so: no answer at all.
        """
        extra = fields.pop("extra", {})
        pairs = [("user", item) if isinstance(item, str) else item for item in said]
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": role, "content": text} for role, text in pairs],
            "stream": True,
            self.cap_name: cap,
        }
        if self.stream_options:
            body["stream_options"] = {"include_usage": True}
        body |= fields
        body = {name: value for name, value in body.items() if value is not None}
        heard = self._hear(body, extra)
        self.thought |= bool(heard.reasoning)
        if heard.usage is not None:
            self.usage += heard.usage
        return heard

    def _hear(self, body: Mapping[str, Any], extra: Mapping[str, Any]) -> Heard:
        for wait in (*_WAITS_S, None):
            self.requests += 1
            heard = hear(self._transport, body, extra)
            if heard.error is None or heard.error.failure not in _PASSING:
                return heard
            if wait is not None:
                time.sleep(min(heard.error.retry_after_s or wait, _LONGEST_WAIT_S))
        assert heard.error is not None
        raise AttemptError(heard.error)


def hear(transport: Transport, body: Mapping[str, Any], extra: Mapping[str, Any]) -> Heard:
    """Send one request in raw form and read whatever comes back; nothing is raised."""
    reading, parser = Reading(), BodyParser()
    error: Classified | None = None
    try:
        with transport.stream(body, extra) as response:
            for data in response:
                reading.take(parser.feed(data))
                if parser.done:
                    response.end()
                    break
            else:
                reading.take(parser.finish())
    except AttemptError as failed:
        error = failed.classified
    except StreamError as failed:
        error = Classified(failed.failure, str(failed))
    reading.finish()
    if error is None and not (reading.text or reading.has_choices or reading.reasoning):
        error = Classified(Failure.NOT_AN_ENDPOINT, "200 with something that is no chat reply")
    if reading.finish_reason:
        error = None  # the reply was whole before the stream broke
    return Heard(reading.text, reading.reasoning, reading.finish_reason, reading.usage, error)
