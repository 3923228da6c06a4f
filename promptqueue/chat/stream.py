"""From the bytes of a response body to JSON values, by hand because it must be fast.

Everything that arrived with one network read is parsed at once; the openai client's own parser
takes seven times as long per event.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from promptqueue.chat.failure import Failure

MAX_EVENT_BYTES = 64 * 2**20
"""A line or a body beyond this is no chat reply; reading on would only fill the memory."""


_BOM = b"\xef\xbb\xbf"
_NO_JSON = (ValueError, RecursionError)  # the second one: nested deeper than Python goes


class StreamError(Exception):
    """The body is not what was asked for; `failure` says what it is instead."""

    def __init__(self, failure: Failure, message: str, body: Any = None) -> None:
        super().__init__(message)
        self.failure = failure
        self.body = body
        """The error object that the server put into the stream, if there was one."""


class BodyParser:
    """Cuts a body into JSON values, whether it is an event stream or one JSON document.

    The first byte decides, not the content type: servers that ignore `stream: true` answer
    with a document, and not all of them say so in the header.
    """

    def __init__(self) -> None:
        self.done = False
        """`data: [DONE]` was seen."""
        self.streamed = False
        """The body is an event stream."""
        self._kind: Literal["", "events", "document"] = ""
        self._pieces: list[bytes] = []  # what came after the last line end
        self._size = 0  # bytes in _pieces
        self._open = b""  # a data line that is no JSON by itself: the next one continues it
        self._stray = b""  # the first line that is no field of an event

    @property
    def started(self) -> bool:
        """The body is not blank."""
        return bool(self._kind)

    def feed(self, data: bytes) -> list[Any]:
        """Return the values that are complete with these bytes.

        Raises:
            StreamError: an event is no JSON, or the body is too long.
        """
        if not self._kind:
            data = b"".join([*self._pieces, data])
            self._pieces, self._size = [], 0
            self._kind = _kind(data)
            data = data.removeprefix(_BOM) if self._kind else data
        self._keep(data)
        if self._kind != "events" or b"\n" not in data:
            return []
        *lines, rest = b"".join(self._pieces).split(b"\n")
        self._pieces, self._size = [rest], len(rest)
        return self._values(lines)

    def finish(self) -> list[Any]:
        """Return what is left at the end of the body.

        Raises:
            StreamError: the body is no chat reply at all.
        """
        body = b"".join(self._pieces)
        self._pieces = []
        if self._kind == "document":
            value = _document(body)
            return value if isinstance(value, list) else [value]  # Gemini: [{"error": ...}]
        values = self._values([body]) if _is_complete(body) else []
        if self._stray and not self.streamed:
            words = self._stray.decode("utf-8", "replace")
            raise StreamError(Failure.NOT_AN_ENDPOINT, f"answered with text: {words!r}")
        return values

    def _keep(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)
        if self._size > MAX_EVENT_BYTES:
            raise StreamError(Failure.NOT_AN_ENDPOINT, "answered without end and without events")

    def _values(self, lines: list[bytes]) -> list[Any]:
        payloads = [line[5:] for line in lines if line.startswith(b"data:")]
        if len(payloads) * 2 < len(lines):  # more than events and the blank lines behind them
            self._look_at_others(lines)
        if payloads:
            self.streamed = True
        if payloads and payloads[-1].strip() == b"[DONE]":
            self.done = True
            payloads.pop()
        return self._parse(payloads)

    def _look_at_others(self, lines: list[bytes]) -> None:
        for line in lines:
            if line.startswith(b"error:"):  # llama-server, older versions
                raise StreamError(Failure.BROKEN_STREAM, "error", _lenient(line[6:]))
            if line.startswith((b":", b"event:", b"id:", b"retry:")):
                self.streamed = True
            elif not line.startswith(b"data:"):
                self._stray = self._stray or line.strip()[:200]

    def _parse(self, payloads: list[bytes]) -> list[Any]:
        if not self._open:
            try:  # all events of one network read in one call
                return list(json.loads(b"[%b]" % b",".join(payloads)))
            except _NO_JSON:
                pass
        values = [self._parse_one(payload) for payload in payloads if payload.strip()]
        return [value for value in values if value is not None]

    def _parse_one(self, payload: bytes) -> Any:
        """Parse one event; a value that spans several data lines is put together."""
        text = self._open + payload
        if text.strip() == b"[DONE]":
            self.done = True
            return None
        try:
            value = json.loads(text.decode("utf-8", "replace"))
        except _NO_JSON:
            if self._open and payload.lstrip().startswith(b"{"):  # the next event: it was garbage
                raise StreamError(Failure.BROKEN_STREAM, "sent an event that is no JSON") from None
            self._open = text + b"\n"
            return None
        self._open = b""
        return value


def _kind(data: bytes) -> Literal["", "events", "document"]:
    start = data.removeprefix(_BOM).lstrip()[:1]
    if not start or _BOM.startswith(data):
        return ""
    return "document" if start in b'{["<' else "events"


def _document(body: bytes) -> Any:
    text = body.decode("utf-8", "replace").strip()
    if text.startswith("<"):
        raise StreamError(Failure.NOT_AN_ENDPOINT, "answered with an HTML page", text)
    try:
        return json.loads(text)
    except _NO_JSON:
        raise StreamError(Failure.BROKEN_STREAM, "sent JSON that breaks off") from None


def _is_complete(line: bytes) -> bool:
    """Tell whether a last line without its line end can be read; if not, it was cut."""
    if not line.startswith(b"data:"):
        return bool(line.strip())
    return line[5:].strip() == b"[DONE]" or _lenient(line[5:]) is not None


def _lenient(text: bytes) -> Any:
    try:
        return json.loads(text)
    except _NO_JSON:
        return None
