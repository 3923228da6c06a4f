"""One raw request and whatever comes back, for those who examine an endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from promptqueue.chat.failure import Failure
from promptqueue.chat.message import Usage
from promptqueue.chat.quirks import Classified
from promptqueue.chat.reading import Reading
from promptqueue.chat.stream import BodyParser, StreamError
from promptqueue.chat.transport import AttemptError, Transport

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


def hear(transport: Transport, body: Mapping[str, Any], extra: Mapping[str, Any]) -> Heard:
    """Send one request in raw form and read whatever comes back; nothing is raised."""
    reading, parser = Reading(), BodyParser()
    text = ""
    error: Classified | None = None
    try:
        with transport.stream(body, extra) as response:
            for data in response:
                text += reading.take(parser.feed(data)).text
                if parser.done:
                    response.end()
                    break
            else:
                text += reading.take(parser.finish()).text
    except AttemptError as failed:
        error = failed.classified
    except StreamError as failed:
        error = Classified(failed.failure, str(failed))
    text += reading.finish().text
    if error is None and not (text or reading.has_choices or reading.reasoning):
        error = Classified(Failure.NOT_AN_ENDPOINT, "200 with something that is no chat reply")
    if reading.finish_reason:
        error = None  # the reply was whole before the stream broke
    return Heard(text, reading.reasoning, reading.finish_reason or "", reading.usage, error)
