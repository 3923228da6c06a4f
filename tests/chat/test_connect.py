"""An endpoint is opened as patiently as its profile and the flags say."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptqueue.chat import connect
from promptqueue.chat.config import Profile
from promptqueue.chat.endpoints import Endpoint
from promptqueue.chat.message import Message, Params, Request
from promptqueue.errors import EndpointError
from tests.fake_endpoint import Answer, FakeEndpoint, error, stream

REQUEST = Request((Message("user", "hello"),), "m")


class StandIn:
    """In place of the embedded server: a scripted one."""

    base_url, api_key = "", "k"
    end: str | None = None

    def __init__(self, *_: object, **__: object) -> None: ...

    def __enter__(self) -> StandIn:
        return self

    def __exit__(self, *_: object) -> None: ...

    def explain_end(self) -> str | None:
        return self.end


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> type[StandIn]:
    monkeypatch.setattr(connect, "require_xllamacpp", lambda: None)
    monkeypatch.setattr(connect, "ensure_weights", lambda _: Path("no.gguf"))
    monkeypatch.setattr(connect, "EmbeddedServer", StandIn)
    return StandIn


@pytest.mark.parametrize("name", ["embedded", "remote"])
def test_flags_say_how_patient_it_is(
    name: str, stand_in: type[StandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeEndpoint(default=Answer(hangs=True)) as server:
        monkeypatch.setattr(stand_in, "base_url", server.base_url)
        profile = Profile(base_url=server.base_url, attempts=9) if name == "remote" else None
        endpoint = Endpoint(name, "test", profile).patient(1, 0.2)
        with connect.connect(endpoint, lambda _: None) as opened:
            with pytest.raises(EndpointError, match=r"nothing came for 0\.2 s"):
                list(opened.chat.ask(REQUEST))
            assert len(server.requests) == 1
        server.release()


@pytest.mark.parametrize("end", ["The embedded model stopped: why", None], ids=["dead", "alive"])
def test_an_embedded_model_that_died_is_told_instead_of_the_refused_connection(
    end: str | None, stand_in: type[StandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stand_in, "end", end)
    with FakeEndpoint(default=error(401, "gone")) as server:
        monkeypatch.setattr(stand_in, "base_url", server.base_url)
        with (
            pytest.raises(EndpointError, match=end or "the embedded endpoint .*401 gone"),
            connect.connect(Endpoint("embedded", "test"), lambda _: None) as opened,
        ):
            list(opened.chat.ask(REQUEST))


def test_a_profile_says_what_is_sent_and_how_patiently() -> None:
    profile = {
        "token_cap": "max_completion_tokens",
        "system_role": False,
        "stream_options": False,
        "sends_temperature": False,
        "sends_seed": False,
        "attempts": 2,
        "max_wait_s": 1,
    }
    asked = Request(
        (Message("system", "Be brief."), Message("user", "hello")),
        "m",
        Params(temperature=0.5, seed=1, max_tokens=9),
    )
    busy = error(429, "busy", headers={"Retry-After-Ms": "1"})
    with FakeEndpoint([busy, busy, error(429, headers={"Retry-After": "2"})]) as server:
        endpoint = Endpoint("lab", "test", Profile(base_url=server.base_url, **profile))
        with connect.connect(endpoint, lambda _: None) as opened:
            for words in ("after 2 attempts", "it asks to come back in"):
                with pytest.raises(EndpointError, match=words):
                    list(opened.chat.ask(asked))
        assert len(server.requests) == 3
        assert server.requests[0].body == {
            "model": "m",
            "messages": [{"role": "user", "content": "Be brief.\n\nhello"}],
            "stream": True,
            "max_completion_tokens": 9,
        }


@pytest.mark.parametrize("continuation", ["native", "turn"])
@pytest.mark.parametrize("checks", [True, False], ids=["checked", "trusted"])
def test_a_profile_says_how_replies_are_read(continuation: str, checks: bool) -> None:
    short = {"prompt_tokens": 9, "completion_tokens": 1}
    parts = [stream("one ", finish="length"), stream("two", usage=short)]
    with FakeEndpoint(parts) as server:
        profile = {"continuation": continuation, "checks_context": checks}
        endpoint = Endpoint("lab", "test", Profile(base_url=server.base_url, **profile))
        with connect.connect(endpoint, lambda _: None) as opened:
            long = Request((Message("user", "word " * 4000),), "m")
            *_, last = opened.chat.ask(long)
        native = "continue_final_message" in server.requests[1].body
    assert native == (continuation == "native")
    assert last.reply.finish_reason == ("length" if checks else "stop")
