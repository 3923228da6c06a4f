"""Which endpoint is used, and why: as the first line of every run says."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptqueue.chat.config import Config, Profile
from promptqueue.chat.endpoints import DEFAULT_BASE_URL, EndpointChoice, resolve_endpoint
from promptqueue.chat.user_folders import config_path
from promptqueue.errors import UsageError

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
