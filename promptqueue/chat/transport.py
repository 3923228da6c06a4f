"""Carries requests to the endpoint and hands the raw bytes back; only here openai is imported."""

from __future__ import annotations

import ipaddress
import json
import math
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from promptqueue import __version__
from promptqueue.chat.failure import Failure
from promptqueue.chat.message import Usage
from promptqueue.chat.quirks import Classified, classify
from promptqueue.chat.retry import Policy

if TYPE_CHECKING:
    import httpx2
    import openai

_SENT_HEADERS = frozenset(
    {
        "host",
        "accept",
        "accept-encoding",
        "connection",
        "content-type",
        "content-length",
        "transfer-encoding",
        "user-agent",
        "authorization",
        "x-stainless-raw-response",  # openai looks at it again when the response is there
    }
)
_AT_ONCE_S = 0.0001
"""What is read faster than this had arrived before."""
_RUSH = 8
_RUSH_S = 0.005
"""To be woken so often within so short a time is a rush, which is let gather: to wake up for each
piece takes as long as to read it."""
_REST_S = 0.01
_IDLE_S = 4.0
_IDLE_CONNECTIONS = 20
"""Each is looked at whenever one is wanted, so that hundreds of them would cost more than they
save."""
_END_S = 0.05
"""A server that ends its stream does so at once; one that does not costs this much."""
_LISTING_TIMEOUT_S = 30.0
"""/models is answered from memory; nobody wants to wait for it as long as for a reply."""


class AttemptError(Exception):
    """An attempt brought no answer; the client decides what follows."""

    def __init__(
        self,
        classified: Classified,
        *,
        partial: str = "",
        usage: Usage | None = None,
        seconds: float = 0.0,
    ) -> None:
        super().__init__(classified.message)
        self.classified = classified
        self.partial = partial
        self.usage = usage
        self.seconds = seconds


class Body:
    """The bytes of a response, as they arrive."""

    def __init__(self, response: httpx2.Response) -> None:
        self._bytes = response.iter_bytes()
        self._gathered = gathered(self._bytes)
        self._stream = response.extensions.get("network_stream")

    def __iter__(self) -> Iterator[bytes]:
        """Return what has not been read so far, piece by piece."""
        return self._gathered

    def end(self) -> None:
        """Read to the end, so that the connection serves the next request, too.

        Servers that hold the line open behind the last event are not waited for: there the
        connection is closed.
        """
        import httpx2

        if self._stream is None:
            return
        line: socket.socket = self._stream.get_extra_info("socket")
        watch = threading.Timer(_END_S, _shut, [line])
        watch.daemon = True
        watch.start()
        try:
            with suppress(httpx2.HTTPError, httpx2.StreamError):
                deque(self._bytes, maxlen=0)
        finally:
            watch.cancel()


def _shut(line: socket.socket) -> None:
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)


class Transport:
    """One connection pool to one endpoint; the openai package is loaded with the first request."""

    def __init__(
        self, base_url: str, api_key: str | None, *, policy: Policy, headers: Mapping[str, str]
    ) -> None:
        self._base_url = base_url
        self._key = api_key or "none"  # openai insists on one; local servers do not look
        self._policy = policy
        self._headers = dict(headers)
        self._openai: openai.OpenAI | None = None
        self._lock = threading.Lock()

    @contextmanager
    def stream(self, body: Mapping[str, Any], extra: Mapping[str, Any]) -> Iterator[Body]:
        """Send a chat request and give the bytes of the response as they arrive.

        Leaving the block, in whatever way, closes the response; unless it was read to its end,
        the connection as well.

        Raises:
            AttemptError: no connection, an error status, or the stream broke.
        """
        # openai walks through every message that it is given as an argument: 4 ms for eight.
        extra = {"messages": body["messages"], **extra}
        with self._understood(self._policy.idle_timeout_s):
            create = self._client().chat.completions.with_streaming_response.create
            with create(**{**body, "messages": []}, extra_body=extra) as response:
                # Not through openai's own stream: its parser takes 75 µs per event, ours 10.
                yield Body(response.http_response)

    def prepare(self) -> None:
        """Load the openai package now (half a second), so that no reply's time includes it."""
        import openai  # noqa: F401

    def list_models(self) -> Any:
        """Return what GET /models says, parsed if it is JSON, else as text.

        Raises:
            AttemptError: no connection, or an error status.
        """
        timeout_s = min(_LISTING_TIMEOUT_S, self._policy.idle_timeout_s)
        with self._understood(timeout_s):
            models = self._client().models
            response = models.with_raw_response.list(timeout=timeout_s)
            return _json_or_text(response.content)

    def close(self) -> None:
        """Close all connections; the next request opens new ones."""
        with self._lock:
            client, self._openai = self._openai, None
        if client is not None:
            client.close()

    @contextmanager
    def _understood(self, timeout_s: float) -> Iterator[None]:
        import httpx2
        import openai

        try:
            yield
        except openai.APIStatusError as exc:
            raise AttemptError(_from_response(exc.response)) from exc
        except (openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL) as exc:
            raise AttemptError(_from_transport(exc, timeout_s)) from exc

    def _client(self) -> openai.OpenAI:
        with self._lock:  # parallel calls share one pool
            if self._openai is None:
                self._openai = self._build()
            return self._openai

    def _build(self) -> openai.OpenAI:
        import openai

        return openai.OpenAI(
            base_url=self._base_url,
            api_key=self._key,
            max_retries=0,  # retries are ours, so that they are visible
            http_client=self._http_client(),
            default_headers={
                "User-Agent": f"promptqueue/{__version__}",
                "Accept-Encoding": "identity",  # packing would hold events back
                **self._headers,
                # Named here, OPENAI_CUSTOM_HEADERS cannot replace it.
                "Authorization": f"Bearer {self._key}",
            },
        )

    def _http_client(self) -> httpx2.Client:
        import httpx2

        local = is_loopback(self._base_url)
        try:
            return httpx2.Client(
                timeout=httpx2.Timeout(
                    self._policy.idle_timeout_s, connect=self._policy.connect_timeout_s, pool=None
                ),
                # How many calls run at once is not decided here. An idle connection is given up
                # before servers do so (uvicorn: after 5 s), lest a request meets their farewell.
                limits=httpx2.Limits(
                    max_keepalive_connections=_IDLE_CONNECTIONS, keepalive_expiry=_IDLE_S
                ),
                follow_redirects=False,  # neither the key nor the prompt goes to another host
                trust_env=not local,  # a proxy of the environment cannot reach this machine
                # Loading the certificates takes 50 ms; plain HTTP without a proxy needs none.
                verify=not (local and self._base_url.startswith("http:")),
                event_hooks={"request": [self._drop_foreign_headers]},
            )
        except (ImportError, ValueError) as exc:
            words = f"the proxy that the environment names cannot be used: {exc}"
            raise AttemptError(Classified(Failure.BAD_REQUEST, words)) from exc
        except OSError as exc:
            words = f"the certificates cannot be read ({exc}); see SSL_CERT_FILE and SSL_CERT_DIR"
            raise AttemptError(Classified(Failure.BAD_REQUEST, words)) from exc

    def _drop_foreign_headers(self, request: httpx2.Request) -> None:
        """Drop what the environment (OPENAI_ORG_ID …) and openai's telemetry would add."""
        own = {name.lower() for name in self._headers}
        for name in set(request.headers) - _SENT_HEADERS - own:
            del request.headers[name]


def gathered(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Hand on what arrives, and let a fast stream gather before it is waited for again.

    Never rests while there is something to read, nor for a model of less than 1,600 events a
    second.
    """
    wakes = deque([-math.inf] * _RUSH, maxlen=_RUSH)
    rested = 0.0  # no part of the times in `wakes`: what arrives meanwhile wakes nobody
    begin = time.monotonic()
    for data in chunks:
        now = time.monotonic()
        yield data
        if now - begin > _AT_ONCE_S:
            if now - rested - wakes[0] < _RUSH_S:
                time.sleep(_REST_S)
                rested += _REST_S
            wakes.append(now - rested)
        begin = time.monotonic()


def is_loopback(url: str) -> bool:
    """Tell whether a URL leads to this machine."""
    host = urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def _from_response(response: httpx2.Response) -> Classified:
    body = _json_or_text(response.content)
    if response.has_redirect_location:
        body = f"it redirects to {response.headers['location']}"
    return classify(response.status_code, body, response.headers)


def _json_or_text(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content.decode("utf-8", "replace")


def _from_transport(exc: Exception, timeout_s: float) -> Classified:
    import httpx2
    import openai

    cause = exc
    if isinstance(exc, openai.APIConnectionError) and isinstance(exc.__cause__, Exception):
        cause = exc.__cause__  # openai's own words are "Connection error."
    words = str(cause) or type(cause).__name__
    faces: tuple[tuple[Any, Failure], ...] = (
        ((httpx2.UnsupportedProtocol, httpx2.InvalidURL), Failure.NOT_AN_ENDPOINT),
        (httpx2.LocalProtocolError, Failure.BAD_REQUEST),
        ((httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError), Failure.CONNECT),
        (httpx2.TimeoutException, Failure.TIMEOUT),
    )
    failure = next((face for kind, face in faces if isinstance(cause, kind)), Failure.BROKEN_STREAM)
    if failure is Failure.TIMEOUT:
        words = f"nothing came for {timeout_s:g} s"
    return Classified(failure, words)
