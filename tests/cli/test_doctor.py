"""`doctor` against servers with every face, as a user calls it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from promptqueue.chat import hearing
from tests.cli.command import QUEUE, Shell
from tests.faces import Face
from tests.fake_endpoint import Answer, Asked, FakeEndpoint, error, html, stream


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def examine(
    shell: Shell, face: Callable[[Asked], Answer]
) -> tuple[dict[str, tuple[str, str]], dict[str, Any]]:
    """Return verdict and words by probe, and the profile."""
    with FakeEndpoint(default=face) as server:
        done = shell.run("doctor", "--base-url", server.base_url, "--json", "--context", "600")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    return {f["probe"]: (f["verdict"], f["seen"]) for f in told["findings"]}, told["profile"]


def test_a_server_without_quirks_is_good_in_everything(shell: Shell) -> None:
    found, profile = examine(shell, Face())
    assert {probe: verdict for probe, (verdict, _) in found.items() if verdict != "good"} == {}
    assert len(found) >= 12
    assert profile == {"continuation": "native"}


@pytest.mark.parametrize(
    ("face", "probe", "verdict", "words", "profile"),
    [
        (
            Face(cap_names=("max_completion_tokens",)),
            "token cap",
            "quirk",
            "max_tokens is ignored",
            {"token_cap": "max_completion_tokens"},
        ),
        (
            Face(cap_names=("max_completion_tokens",), refuses_other_cap=True),
            "token cap",
            "quirk",
            "max_tokens is refused",
            {"token_cap": "max_completion_tokens"},
        ),
        (Face(ignores_cap=True), "token cap", "problem", "replies have no end", {}),
        (Face(system=False), "system role", "quirk", "refused", {"system_role": False}),
        (Face(follows_system=False), "system role", "unknown", "I am a model", {}),
        (Face(alternation=True), "two prompts in a row", "quirk", "refused", {}),
        (
            Face(stream_options=False),
            "usage in streams",
            "quirk",
            "refused",
            {"stream_options": False},
        ),
        (Face(usage=False), "usage in streams", "quirk", "none is sent", {}),
        (
            Face(usage_factor=0.1),
            "honest usage",
            "problem",
            "believable",
            {"checks_context": False},
        ),
        (
            Face(usage_factor=9.0),
            "honest usage",
            "problem",
            "believable",
            {"checks_context": False},
        ),
        (Face(finish=False), "finish reason", "problem", "cannot be told", {}),
        (Face(says_stop_when_cut=True), "finish reason", "problem", "cut reply cannot", {}),
        (Face(context=300), "600 tokens of prompt", "problem", "cut without a word", {}),
        (Face(caches=False), "prompt cache", "unknown", "none is reported", {}),
        (Face(seed=False), "seed", "quirk", "not kept", {}),
        (Face(refuses_seed=True), "seed", "quirk", "refused", {"sends_seed": False}),
        (Face(temperature=False), "temperature", "quirk", "refused", {"sends_temperature": False}),
        (Face(native=False), "continuation", "quirk", "by a turn", {}),
        (Face(thinks=True), "thinking", "quirk", "it thinks", {}),
        (Face(stop=False), "stop", "problem", "ignored", {}),
        (Face(only_thinks=True), "stop", "unknown", "answered with ''", {}),
        (Face(any_model=True), "wrong model name", "quirk", "answered all the same", {}),
    ],
    ids=str,
)
def test_each_face_is_seen_for_what_it_is(
    shell: Shell, face: Face, probe: str, verdict: str, words: str, profile: dict[str, Any]
) -> None:
    found, told = examine(shell, face)
    assert found[probe][0] == verdict
    assert words in found[probe][1]
    assert told.items() >= profile.items()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (html(), "not an endpoint: answered with an HTML page"),
        (error(401, "bad key"), "401"),
        (error(404, "no such page"), "404"),
        (Answer(hangs=True), "nothing came for 0.5 s"),
    ],
    ids=["html", "401", "404", "hangs"],
)
def test_an_endpoint_that_is_none_ends_with_one_error(
    shell: Shell, answer: Answer, words: str
) -> None:
    with FakeEndpoint(default=answer) as server:
        done = shell.run("doctor", "--base-url", server.base_url, "--timeout", "0.5")
    assert done.returncode == 3
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_an_endpoint_that_is_not_there_ends_with_one_error(shell: Shell) -> None:
    done = shell.run("doctor", "--base-url", "http://127.0.0.1:9/v1", "--model", "m")
    assert done.returncode == 3
    assert "127.0.0.1:9" in done.stderr


def test_a_saved_profile_is_what_run_then_uses(shell: Shell) -> None:
    shell.write("config.toml", "# mine\n[prices.m]\ninput = 1.0\noutput = 2.0\n")
    shell.write("q.yaml", QUEUE)
    face = Face(cap_names=("max_completion_tokens",), system=False)
    with FakeEndpoint(default=face) as server:
        shell.environ["A_KEY"] = "sk-secret"
        done = shell.run(
            *("doctor", "--base-url", server.base_url, "--api-key-env", "A_KEY", "--save", "lab")
        )
        assert done.returncode == 0, done.stderr
        config = (shell.folder / "config.toml").read_text()
        asked = len(server.requests)
        server.enqueue(stream("no"), stream("no"), stream("no"), stream("no"))
        queue = QUEUE.replace("seed: 5", "max_tokens: 9")
        shell.write("q.yaml", queue.replace("steps:", "role: {text: Be brief.}\nsteps:"))
        shell.run("run", "q.yaml", "--endpoint", "lab")
        sent = server.requests[asked].body
    assert config.startswith("# mine\n[prices.m]")
    assert "sk-secret" not in config
    assert tomllib.loads(config)["endpoints"]["lab"]["api_key_env"] == "A_KEY"
    assert sent["max_completion_tokens"] == 9
    assert [message["role"] for message in sent["messages"]] == ["user"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("test", "has a profile 'test' already"),
        ("a b", "cannot be a profile's name"),
        ("openai", "'openai' is an endpoint of its own already; choose another name"),
    ],
)
def test_a_name_that_cannot_be_saved_is_refused_before_anything_is_asked(
    shell: Shell, name: str, words: str
) -> None:
    with FakeEndpoint(default=Face()) as server:
        shell.configure(server.base_url)
        done = shell.run("doctor", "--base-url", server.base_url, "--save", name)
        assert server.requests == []
    assert done.returncode == 2
    assert words in done.stderr


def test_nothing_of_a_sandbox_is_saved_as_a_profile(shell: Shell) -> None:
    done = shell.run("doctor", "--sandbox", "--save", "lab")
    assert (done.returncode, "give one of them" in done.stderr) == (2, True)


def test_a_profile_that_cannot_be_saved_is_shown(shell: Shell) -> None:
    shell.write("taken", "")
    shell.environ["PROMPTQUEUE_CONFIG"] = str(shell.folder / "taken/config.toml")
    with FakeEndpoint(default=Face()) as server:
        done = shell.run("doctor", "--base-url", server.base_url, "--save", "lab")
    told = done.stderr.partition("add this to one:\n")[2]
    assert done.returncode == 6
    assert tomllib.loads(told)["endpoints"]["lab"]["base_url"] == server.base_url


def test_an_endpoint_that_is_busy_now_and_then_refuses_nothing(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "_WAITS_S", (0.0, 0.0))
    calm, busy = Face(), iter(range(1000))

    def answer(asked: Asked) -> Answer:
        return error(429, "slow down") if next(busy) % 2 else calm(asked)

    found, told = examine(shell, answer)
    assert not [probe for probe, (verdict, _) in found.items() if verdict == "quirk"]
    assert told == examine(shell, calm)[1]


def test_what_an_endpoint_is_too_busy_for_stays_unknown(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "_WAITS_S", (0.0, 0.0))
    calm, asked_before = Face(), iter(range(1000))

    def answer(asked: Asked) -> Answer:
        return calm(asked) if next(asked_before) < 3 else error(429, "slow down")

    found, told = examine(shell, answer)
    verdict, seen = found["system role"]
    assert (verdict, "slow down" in seen) == ("unknown", True)
    assert not told.keys() & {"system_role", "stream_options", "sends_temperature"}
