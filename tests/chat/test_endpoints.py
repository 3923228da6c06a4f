"""Which endpoint is used, and why: as the first line of every run says."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptqueue.chat.config import Config, Profile, load_config
from promptqueue.chat.endpoints import (
    DEFAULT_BASE_URL,
    Endpoint,
    EndpointChoice,
    choose_model,
    resolve_endpoint,
    shown_url,
)
from promptqueue.chat.user_folders import config_path
from promptqueue.errors import EndpointError, UsageError

PROFILES = {name: Profile(base_url="http://h/v1") for name in ("lab", "home")}


@pytest.mark.parametrize(
    ("config", "environ", "reason"),
    [
        (Config(), {}, "no other endpoint is configured"),
        (Config(endpoints=PROFILES), {}, "none was chosen; --endpoint takes lab, home"),
        (
            Config(),
            {"PROMPTQUEUE_CONFIG": "/gone/config.toml"},
            "no other is configured: PROMPTQUEUE_CONFIG names /gone/config.toml, which does not "
            "exist",
        ),
    ],
    ids=["nothing", "profiles", "a file that is missing"],
)
def test_why_the_embedded_model_is_used(
    config: Config, environ: dict[str, str], reason: str
) -> None:
    found = resolve_endpoint(EndpointChoice(), config=config, environ=environ)
    assert (found.embedded, found.reason) == (True, reason)


def test_an_empty_variable_names_no_configuration() -> None:
    assert config_path({"PROMPTQUEUE_CONFIG": ""}) == config_path({})
    assert config_path({"PROMPTQUEUE_CONFIG": "my.toml"}) == Path("my.toml")


def test_a_mark_of_the_byte_order_is_no_part_of_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b'\xef\xbb\xbf[endpoints.lab]\nbase_url = "http://h/v1"\n')
    assert load_config(path) == Config(endpoints={"lab": PROFILES["lab"]})


ENVIRONMENT = {"OPENAI_BASE_URL": "http://env/v1", "OPENAI_API_KEY": "k"}


def resolved(given: dict[str, str], config: Config, environ: dict[str, str]) -> Endpoint:
    queue_profile = given.get("queue_profile")
    choice = EndpointChoice(**{name: given[name] for name in given if name != "queue_profile"})
    return resolve_endpoint(choice, config=config, queue_profile=queue_profile, environ=environ)


@pytest.mark.parametrize(
    ("given", "environ", "expected"),
    [
        ({"base_url": "http://flag/v1", "queue_profile": "lab"}, ENVIRONMENT, "url"),
        ({"name": "home", "queue_profile": "lab"}, ENVIRONMENT, "home"),
        ({"name": "embedded", "queue_profile": "lab"}, ENVIRONMENT, "embedded"),
        ({"name": "openai", "queue_profile": "lab"}, ENVIRONMENT, "openai"),
        ({"queue_profile": "lab"}, ENVIRONMENT, "lab"),
        ({}, ENVIRONMENT, "openai"),
        ({}, {}, "embedded"),
    ],
    ids=["address", "name", "embedded", "openai", "queue", "environment", "nothing"],
)
def test_the_first_that_there_is_decides(
    given: dict[str, str], environ: dict[str, str], expected: str
) -> None:
    assert resolved(given, Config(endpoints=PROFILES), environ).name == expected


@pytest.mark.parametrize(
    ("given", "environ", "key"),
    [
        ({"base_url": "http://env/v1/"}, ENVIRONMENT, "k"),
        ({"base_url": DEFAULT_BASE_URL}, {"OPENAI_API_KEY": "k"}, "k"),
        ({"base_url": DEFAULT_BASE_URL}, ENVIRONMENT, None),
        ({"base_url": "http://env/v1/other"}, ENVIRONMENT, None),
        ({"base_url": "http://h/v1", "api_key_env": "OPENAI_API_KEY"}, ENVIRONMENT, "k"),
        ({"name": "lab"}, ENVIRONMENT, None),
        ({"queue_profile": "lab"}, ENVIRONMENT, None),
        ({"name": "keyed"}, {**ENVIRONMENT, "LAB_KEY": "of the lab"}, "of the lab"),
    ],
    ids=["its own", "openai's", "not its own", "below it", "named", "profile", "queue", "keyed"],
)
def test_the_users_key_goes_nowhere_unless_it_is_named(
    given: dict[str, str], environ: dict[str, str], key: str | None
) -> None:
    keyed = Profile(base_url="http://h/v1", api_key_env="LAB_KEY")
    config = Config(endpoints={**PROFILES, "keyed": keyed})
    assert resolved(given, config, environ).api_key == key


MODELS = {
    "flag": "of the flag",
    "step": "of the step",
    "queue": "of the queue",
    "environment": "of the environment",
    "profile": "of the profile",
}


def chosen(named: dict[str, str], listed: list[str]) -> str:
    environment = named.get("environment")
    return choose_model(
        flag=named.get("flag"),
        step=named.get("step"),
        queue=named.get("queue"),
        endpoint=Endpoint("lab", "", Profile(base_url="http://h/v1", model=named.get("profile"))),
        listed=lambda: listed,
        environ={"PROMPTQUEUE_MODEL": environment} if environment else {},
    )


@pytest.mark.parametrize("without", range(6))
def test_the_model_is_the_first_that_is_named_or_the_only_one(without: int) -> None:
    named = dict(list(MODELS.items())[without:])
    assert chosen(named, ["the only one"]) == [*MODELS.values(), "the only one"][without]


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        ([], "http://h/v1 lists no models; name one with --model or PROMPTQUEUE_MODEL"),
        (["a", "b"], "http://h/v1 offers 2 models; choose one with --model: a, b"),
        (["m"] * 13, "http://h/v1 offers 13 models; choose one with --model: m, m, m, m, m, m, "
         "m, m, m, m, m, m, ..."),
    ],
    ids=["none", "two", "many"],
)  # fmt: skip
def test_no_model_is_guessed_among_several(listed: list[str], words: str) -> None:
    with pytest.raises(EndpointError) as caught:
        chosen({}, listed)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://joe:secret@h:8000/v1?key=secret#x", "http://h:8000/v1"),
        ("http://joe:secret@[::1/v1?key=secret", "[::1/v1"),
    ],
    ids=["whole", "no address"],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert shown_url(url) == shown


@pytest.mark.parametrize("name", ["openai", None], ids=["named", "found"])
@pytest.mark.parametrize(
    ("environ", "url", "key"),
    [
        ({"OPENAI_BASE_URL": "http://h/v1"}, "http://h/v1", None),
        ({"OPENAI_BASE_URL": "http://h/v1", "OPENAI_API_KEY": "k"}, "http://h/v1", "k"),
        ({"OPENAI_API_KEY": "k"}, DEFAULT_BASE_URL, "k"),
    ],
    ids=["address", "both", "key"],
)
def test_what_the_environment_names(
    name: str | None, environ: dict[str, str], url: str, key: str | None
) -> None:
    found = resolve_endpoint(EndpointChoice(name), config=Config(), environ=environ)
    assert found.profile is not None
    assert (found.name, found.profile.base_url, found.api_key) == ("openai", url, key)


def test_an_endpoint_without_address_and_key_says_that_one_of_them_will_do() -> None:
    with pytest.raises(UsageError, match=r"neither OPENAI_API_KEY nor OPENAI_BASE_URL is set; "):
        resolve_endpoint(EndpointChoice("openai"), config=Config(), environ={})


def test_a_profile_cannot_take_the_name_of_the_embedded_model(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[endpoints.embedded]\nbase_url = "http://h/v1"\n')
    with pytest.raises(UsageError, match=r"config.toml: endpoints: .* cannot be called embedded"):
        load_config(path)
