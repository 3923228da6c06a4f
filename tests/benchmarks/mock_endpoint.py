"""A chat endpoint that streams made-up replies at absolute times, in a process of its own.

`;name=number` behind the model's name changes the pace: `mock;first=0.05;gap=0.001;chunks=40`.
GET /arrivals tells when each chat request had arrived (Unix time).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import json
import selectors
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks.measure import PYTHON, ROOT, clean_environment
from tests.benchmarks.replies import reply

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n"


@dataclass(frozen=True, slots=True)
class Pace:
    """When what is sent."""

    first: float = 0.05
    """Seconds from the request to the first chunk."""
    gap: float = 0.001
    """Seconds between two chunks."""
    chunks: int = 40
    """Events with text; one network write each, unless the server is late."""


@dataclass(frozen=True, slots=True)
class MockEndpoint:
    """The running server, seen from the benchmark."""

    url: str

    @property
    def base_url(self) -> str:
        """Return the address that clients are given."""
        return f"{self.url}/v1"

    def arrivals(self) -> list[float]:
        """Return when the requests so far had arrived."""
        with urllib.request.urlopen(f"{self.url}/arrivals") as response:
            return [float(at) for at in json.load(response)]


@contextlib.contextmanager
def mock_endpoint() -> Iterator[MockEndpoint]:
    """Start the server; it ends with the block, or with this process."""
    child = subprocess.Popen(
        [PYTHON, "-m", "tests.benchmarks.mock_endpoint"],
        cwd=ROOT,
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:  # closes both pipes and waits
        assert child.stdout is not None
        yield MockEndpoint(f"http://127.0.0.1:{int(child.stdout.readline())}")


class _Connection(asyncio.Protocol):
    """Answers one client, request after request."""

    def __init__(self, arrivals: list[float]) -> None:
        self._arrivals = arrivals
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = bytes(self._received).partition(b"\r\n\r\n")
        if not end or len(body) < _content_length(head):
            return
        self._received.clear()
        self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"POST"):
            now = self._loop.time()
            self._arrivals.append(time.time())
            request = json.loads(body)
            step = 1 + sum(message["role"] == "assistant" for message in request["messages"])
            stream = _Stream(self._transport, *_events(request["model"], step, len(body) // 4), now)
            stream.send_due()
        elif b" /arrivals " in head:
            self._send_json(self._arrivals)
        else:
            self._send_json({"object": "list", "data": [{"id": "mock"}]})

    def _send_json(self, value: Any) -> None:
        data = json.dumps(value).encode()
        head = _HEAD % b"application/json" + b"Content-Length: %d\r\n\r\n" % len(data)
        self._transport.write(head + data)


@dataclass(slots=True)
class _Stream:
    """One reply on its way; deadlines are absolute, so that lateness does not add up."""

    transport: asyncio.Transport
    pace: Pace
    writes: list[bytes]
    begin: float
    sent: int = 0
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def send_due(self) -> None:
        """Send what is due, and come back for the rest."""
        late = self.loop.time() - self.begin - self.pace.first
        due = len(self.writes)
        if self.pace.gap:
            due = min(due, int(late / self.pace.gap) + 1 if late >= 0 else 0)
        elif late < 0:
            due = 0
        if due > self.sent:
            self.transport.write(b"".join(self.writes[self.sent : due]))
            self.sent = due
        if self.sent < len(self.writes) and not self.transport.is_closing():
            at = self.begin + self.pace.first + self.sent * self.pace.gap
            self.loop.call_at(at, self.send_due)


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    return 0


@functools.cache
def _events(model: str, step: int, prompt_tokens: int) -> tuple[Pace, list[bytes]]:
    """Return the pace of a model and the writes that make up a reply: one event each."""
    pace = _pace_of(model)
    text = reply(step)
    cuts = [len(text) * number // pace.chunks for number in range(pace.chunks + 1)]
    pieces = [text[a:b] for a, b in itertools.pairwise(cuts)]
    writes = [_event(model, delta={"content": piece}) for piece in pieces]
    begin = _HEAD % b"text/event-stream" + b"Transfer-Encoding: chunked\r\n\r\n"
    writes[0] = begin + _event(model, delta={"role": "assistant", "content": ""}) + writes[0]
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": len(text) // 4}
    usage["total_tokens"] = sum(usage.values())
    writes[-1] += _event(model, delta={}, finish="stop") + _event(model, usage=usage)
    writes[-1] += _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
    return pace, writes


def _pace_of(model: str) -> Pace:
    options = dict(option.split("=") for option in model.split(";")[1:])
    chunks = int(options.pop("chunks", Pace().chunks))
    return Pace(chunks=chunks, **{name: float(value) for name, value in options.items()})


def _event(
    model: str,
    *,
    delta: dict[str, str] | None = None,
    finish: str | None = None,
    usage: dict[str, int] | None = None,
) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    event = {
        "id": "chatcmpl-0123456789abcdef",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": model,
        "choices": [] if delta is None else [choice],
        **({} if usage is None else {"usage": usage}),
    }
    return _chunk(b"data: %b\n\n" % json.dumps(event).encode())


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def _serve() -> None:
    arrivals: list[float] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(arrivals), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)  # until the benchmark ends


if __name__ == "__main__":
    # select() waits for microseconds; epoll as asyncio uses it rounds up to milliseconds
    select_loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    with asyncio.Runner(loop_factory=lambda: select_loop) as runner:
        runner.run(_serve())
