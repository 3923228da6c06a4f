"""An endpoint is opened as patiently as its profile and the flags say."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptqueue.chat import connect
from promptqueue.chat.config import Profile
from promptqueue.chat.endpoints import Endpoint
from promptqueue.chat.message import Message, Request
from promptqueue.errors import EndpointError
from tests.fake_endpoint import Answer, FakeEndpoint

REQUEST = Request((Message("user", "hello"),), "m")


class StandIn:
    """In place of the embedded server: a scripted one."""

    base_url, api_key = "", "k"

    def __init__(self, *_: object, **__: object) -> None: ...

    def __enter__(self) -> StandIn:
        return self

    def __exit__(self, *_: object) -> None: ...

    def explain_end(self) -> str | None:
        return None


@pytest.mark.parametrize("name", ["embedded", "remote"])
def test_flags_say_how_patient_it_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "require_xllamacpp", lambda: None)
    monkeypatch.setattr(connect, "ensure_weights", lambda _: Path("no.gguf"))
    monkeypatch.setattr(connect, "EmbeddedServer", StandIn)
    with FakeEndpoint(default=Answer(hangs=True)) as server:
        monkeypatch.setattr(StandIn, "base_url", server.base_url)
        profile = Profile(base_url=server.base_url, attempts=9) if name == "remote" else None
        endpoint = Endpoint(name, "test", profile).patient(1, 0.2)
        with connect.connect(endpoint, lambda _: None) as opened:
            with pytest.raises(EndpointError, match=r"nothing came for 0\.2 s"):
                list(opened.chat.ask(REQUEST))
            assert len(server.requests) == 1
        server.release()
