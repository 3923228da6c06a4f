"""Open a resolved endpoint: a client, and for the embedded one its weights and its server."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptqueue.chat.client import OpenAIChat
from promptqueue.chat.config import Profile
from promptqueue.chat.embedded import EmbeddedServer, require_xllamacpp
from promptqueue.chat.endpoints import Endpoint
from promptqueue.chat.message import Chat
from promptqueue.chat.quirks import Quirks
from promptqueue.chat.retry import Policy
from promptqueue.chat.weights import EMBEDDED, Progress, ensure_weights
from promptqueue.errors import EndpointError

ProgressHandler = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Connection:
    """An endpoint that can be asked now."""

    chat: Chat
    list_models: Callable[[], tuple[str, ...]]

    def client(self) -> OpenAIChat:
        """Return the client behind the chat, for those who examine the endpoint itself."""
        assert isinstance(self.chat, OpenAIChat)
        return self.chat


@contextlib.contextmanager
def connect(
    endpoint: Endpoint, on_progress: ProgressHandler, *, log_path: Path | None = None
) -> Iterator[Connection]:
    """Open an endpoint; closing it leaves no connection and no process behind.

    Args:
        endpoint: from `resolve_endpoint`.
        on_progress: is told while the embedded model's weights are fetched and checked.
        log_path: where the embedded server logs to.

    Raises:
        EndpointError: the embedded model cannot be had or does not start.
        StorageError: there is no place for its weights.
    """
    if endpoint.profile is None:
        with _embedded(on_progress, log_path, _policy(endpoint)) as chat:
            yield Connection(chat, lambda: (EMBEDDED.name,))
        return
    chat = _client(endpoint, endpoint.profile)
    with contextlib.closing(chat):
        yield Connection(chat, chat.models)


@contextlib.contextmanager
def _embedded(
    on_progress: ProgressHandler, log_path: Path | None, policy: Policy
) -> Iterator[OpenAIChat]:
    require_xllamacpp()  # before 1.1 GB are fetched for nothing
    weights = ensure_weights(on_progress)
    total = EMBEDDED.size_bytes
    on_progress(Progress("loading", total, total, "the embedded model"))
    with EmbeddedServer(weights, log_path=log_path) as server:
        chat = OpenAIChat(
            base_url=server.base_url,
            api_key=server.api_key,
            quirks=Quirks(continuation="native"),
            policy=policy,
            name="the embedded endpoint",
        )
        with contextlib.closing(chat):
            try:
                yield chat
            except EndpointError as error:
                if end := server.explain_end():  # it looks like a refused connection
                    raise EndpointError(end) from error
                raise


def _client(endpoint: Endpoint, profile: Profile) -> OpenAIChat:
    return OpenAIChat(
        base_url=profile.base_url,
        api_key=endpoint.api_key,
        quirks=Quirks(**_settings(profile, Quirks)),
        policy=_policy(endpoint),
        name=endpoint.name,
        key_hint=profile.api_key_env or "",
        headers=endpoint.headers,
    )


def _policy(endpoint: Endpoint) -> Policy:
    return Policy(**{**_settings(endpoint.profile, Policy), **endpoint.patience})


def _settings(profile: Profile | None, kind: type[Policy | Quirks]) -> dict[str, Any]:
    """Return what a profile says of the fields of `kind`."""
    known = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in profile or () if name in known}
