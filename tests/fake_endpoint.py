"""A scripted endpoint: a real HTTP server on a loopback port that answers from a list.

Nothing here is a model. A test says what the server will answer, byte for byte if need be, and
afterwards looks at what was asked:

    with FakeEndpoint([error(429), stream("Hello")]) as server:
        chat = OpenAIChat(base_url=server.base_url, api_key="k", sleep=lambda s: None)
        *_, answered = chat.ask(request)
    assert [r.body["seed"] for r in server.requests] == [1, 1]

The answers of the script are given in order to POST requests; when it is over, `default` answers
(an `Answer`, or a function of the request that returns one), and without it an error 599.
GET /v1/models lists `models` (or gives that `Answer`, or what that function returns).
The server is quiet, and every thread ends with the `with` block.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REASONING_PLACES = ("reasoning_content", "reasoning", "reasoning_details", "think")


@dataclass(frozen=True)
class Asked:
    """A request that the server got."""

    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: Any
    """The parsed JSON; None without a body."""


@dataclass(frozen=True)
class Answer:
    """What the server sends: the pieces of a body, each in a network write of its own."""

    pieces: Sequence[bytes] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "text/event-stream"
    delay_s: float = 0.0
    """Pause before each piece but the first."""
    breaks_off: bool = False
    """Close the connection after the pieces, in the middle of the body."""
    rests_after: int = 0
    """Wait for `release()` after so many pieces, and then go on."""
    hangs: bool = False
    """Send nothing after the pieces until `release()`, or until the client is gone."""

    def then(self, **changes: Any) -> Answer:
        """Return the same answer with some fields changed."""
        return Answer(**{**self.__dict__, **changes})


Script = Answer | Callable[[Asked], Answer]


def stream(
    text: str,
    *,
    reasoning: str = "",
    place: str = "reasoning_content",
    finish: str | None = "stop",
    usage: dict[str, Any] | str | None = "auto",
    chunks: int | None = None,
    model: str = "fake-model",
    newline: str = "\n",
    pings: bool = False,
    done: bool = True,
) -> Answer:
    """Return a streamed reply.

    Args:
        text: the content; cut into `chunks` events (about 5 characters each by default).
        reasoning: thinking, sent before the content in one of REASONING_PLACES.
        place: which of them.
        finish: the finish_reason; None sends none at all.
        usage: the usage chunk (with `choices: []`); "auto" counts honestly, None sends none.
        model: the name that the server says.
        newline: the line end of the event stream.
        pings: comments and `event:` lines between the events.
        done: whether `data: [DONE]` ends the stream.
    """
    if place == "think" and reasoning:
        text, reasoning = f"<think>{reasoning}</think>\n\n{text}", ""
    deltas = [_thought(place, piece) for piece in _cut(reasoning, None)]
    deltas += [{"content": piece} for piece in _cut(text, chunks)]
    events: list[Any] = [chunk(delta, model=model) for delta in [{"role": "assistant"}, *deltas]]
    if finish is not None:
        events.append(chunk({}, finish=finish, model=model))
    if usage == "auto":
        usage = count(0, len(deltas))
    if usage is not None:
        events.append({"id": "c", "model": model, "choices": [], "usage": usage})
    return Answer(sse(events, newline=newline, pings=pings, done=done))


def chunk(delta: dict[str, Any], *, finish: str | None = None, model: str = "fake-model") -> Any:
    """Return one chunk of a streamed reply."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "model": model, "choices": [choice]}


def sse(
    events: Iterable[Any], *, newline: str = "\n", pings: bool = False, done: bool = True
) -> list[bytes]:
    """Return the bytes of an event stream, one piece per event; a str is sent as it is."""
    noise = f": ping{newline}{newline}event: message{newline}" if pings else ""
    texts = [e if isinstance(e, str) else json.dumps(e, ensure_ascii=False) for e in events]
    texts += ["[DONE]"] if done else []
    return [f"{noise}data: {text}{newline}{newline}".encode() for text in texts]


def count(prompt: int, completion: int, **more: Any) -> dict[str, Any]:
    """Return a usage object; for a prompt of 0 the server puts in what it was really sent."""
    return {"prompt_tokens": prompt, "completion_tokens": completion, **more}


def document(value: Any, *, status: int = 200) -> Answer:
    """Return a JSON body that is no stream."""
    body = json.dumps(value).encode()
    return Answer([body], status, content_type="application/json")


def completion(text: str, *, finish: str = "stop", usage: Any = None) -> Answer:
    """Return a reply that is not streamed, as from a server that ignores `stream`."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return document({"model": "fake-model", "choices": [choice], "usage": usage or count(0, 5)})


def error(status: int, message: str = "no", *, code: Any = None, **more: Any) -> Answer:
    """Return an error in OpenAI's form; `headers={...}` and further fields of it may follow."""
    headers = more.pop("headers", {})
    body = {"error": {"message": message, "code": code, **more}}
    return document(body, status=status).then(headers=headers)


def html(status: int = 200, title: str = "Welcome to nginx!") -> Answer:
    """Return a web page."""
    page = f"<!DOCTYPE html><html><head><title>{title}</title></head></html>"
    return Answer([page.encode()], status, content_type="text/html")


def whole(answer: Answer, size: int | None = None) -> Answer:
    """Return the same bytes in pieces of `size`, which cuts events and letters anywhere."""
    data = b"".join(answer.pieces)
    size = size or len(data)
    return answer.then(pieces=[data[i : i + size] for i in range(0, len(data), size)])


def half(answer: Answer, pieces: int) -> Answer:
    """Return the first pieces of an answer, after which the connection breaks off."""
    return answer.then(pieces=answer.pieces[:pieces], breaks_off=True)


class FakeEndpoint:
    """The server; see the module's docstring."""

    def __init__(
        self,
        script: Iterable[Script] = (),
        *,
        default: Script | None = None,
        models: Any = ("fake-model",),
    ) -> None:
        self.requests: list[Asked] = []
        """The chat requests so far."""
        self.connections = 0
        """How many were opened to this server."""
        self._script = list(script)
        self._default = default
        self._models = models
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._gone = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.fake = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def base_url(self) -> str:
        """What a client is given as its base URL."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def enqueue(self, *answers: Script) -> None:
        """Append answers to the script."""
        with self._lock:
            self._script.extend(answers)

    def release(self) -> None:
        """Let answers that hang come to their end."""
        self._released.set()

    def wait_for_disconnect(self, timeout_s: float = 20.0) -> bool:
        """Return whether a client went away in the middle of an answer."""
        return self._gone.wait(timeout_s)

    def __enter__(self) -> FakeEndpoint:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()  # waits for the threads of open connections
        self._thread.join()

    def answer(self, asked: Asked) -> Answer:
        """Choose what a request gets."""
        if asked.method == "GET":
            return self._list_models(asked)
        with self._lock:
            self.requests.append(asked)
            script = self._script.pop(0) if self._script else self._default
        if script is None:
            return error(599, "the script of the test is over")
        answer = script(asked) if callable(script) else script
        return answer.then(pieces=[_counted(piece, asked) for piece in answer.pieces])

    def _list_models(self, asked: Asked) -> Answer:
        if isinstance(self._models, Answer):
            return self._models
        if callable(self._models):
            return self._models(asked)
        if not asked.path.endswith("/models"):
            return error(404, f"no {asked.path} here")
        return document({"object": "list", "data": [{"id": name} for name in self._models]})

    def client_left(self) -> None:
        """Note that a client closed its connection too early."""
        self._gone.set()

    def wait_for_release(self, handler: _Handler) -> None:
        """Hang until the test lets go or the client closes its side."""
        handler.connection.settimeout(0.01)
        while not self._released.is_set():
            try:
                if handler.connection.recv(1) == b"":
                    return self.client_left()
            except TimeoutError:
                continue
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that server_close() waits for them
    request_queue_size = 128
    fake: FakeEndpoint

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.open: set[socket.socket] = set()

    def hang_up(self) -> None:
        """End connections that are kept alive; nobody will ask anything more."""
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay quiet; a test sees what went wrong at its own side."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    disable_nagle_algorithm = True

    def setup(self) -> None:
        self.server.open.add(self.request)
        self.server.fake.connections += 1
        super().setup()

    def finish(self) -> None:
        self.server.open.discard(self.request)
        super().finish()

    def do_GET(self) -> None:
        self._reply()

    def do_POST(self) -> None:
        self._reply()

    def log_message(self, format: str, *args: Any) -> None:
        """Stay quiet."""

    def _reply(self) -> None:
        answer = self.server.fake.answer(self._asked())
        try:
            self._send(answer)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
            self.server.fake.client_left()

    def _asked(self) -> Asked:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Asked(self.command, self.path, headers, json.loads(data) if data else None)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in {"Content-Type": answer.content_type, **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number, piece in enumerate(answer.pieces):
            time.sleep(answer.delay_s if number else 0)
            if answer.rests_after and number == answer.rests_after:
                self.server.fake.wait_for_release(self)
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        if answer.hangs:
            self.server.fake.wait_for_release(self)
        if answer.breaks_off or answer.hangs:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")


def _counted(piece: bytes, asked: Asked) -> bytes:
    """Put the size of the prompt into a usage object (see `count`)."""
    messages = (asked.body or {}).get("messages", [])
    tokens = max(1, sum(len(message["content"]) for message in messages) // 4)
    return piece.replace(b'"prompt_tokens": 0', b'"prompt_tokens": %d' % tokens)


def _cut(text: str, chunks: int | None) -> list[str]:
    if not text:
        return []
    size = max(1, -(-len(text) // chunks) if chunks else 5)
    return [text[i : i + size] for i in range(0, len(text), size)]


def _thought(place: str, text: str) -> dict[str, Any]:
    if place == "reasoning_details":
        return {place: [{"type": "reasoning.text", "text": text}]}
    return {place: text}
