"""Which endpoint is used, and why: as the first line of every run says."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptqueue.chat.endpoints import Config, Profile, config_path, resolve_endpoint

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
    found = resolve_endpoint(config=config, environ=environ)
    assert (found.embedded, found.reason) == (True, reason)


def test_an_empty_variable_names_no_configuration() -> None:
    assert config_path({"PROMPTQUEUE_CONFIG": ""}) == config_path({})
    assert config_path({"PROMPTQUEUE_CONFIG": "my.toml"}) == Path("my.toml")
