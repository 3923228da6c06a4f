"""Which endpoint a run talks to: flags, profiles, the environment, or the embedded one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from promptqueue.chat.config import LONGEST_S, Config, Profile
from promptqueue.chat.user_folders import config_path
from promptqueue.errors import EndpointError, UsageError

EMBEDDED = "embedded"
DEFAULT_BASE_URL = "https://api.openai.com/v1"
"""Where OPENAI_API_KEY goes when OPENAI_BASE_URL is not set."""
_LISTED_MODELS = 12
_OPENAI_HEADERS = {
    "OPENAI_ORG_ID": "OpenAI-Organization",
    "OPENAI_PROJECT_ID": "OpenAI-Project",
}
"""Who pays, for users of several organisations; like the key, for this endpoint only."""


@dataclass(frozen=True, slots=True)
class EndpointChoice:
    """What a user says of the endpoint, in the order of the options; None leaves it to others."""

    name: str | None = None
    """`embedded`, `openai`, or a profile of the configuration."""
    base_url: str | None = None
    """An address up to and with `/v1`; excludes `name`."""
    api_key_env: str | None = None
    """With `base_url`: the environment variable that holds its key."""
    model: str | None = None
    """Asked in every step."""
    attempts: int | None = None
    """How often a call is tried."""
    timeout_s: float | None = None
    """How long an endpoint may be silent."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A resolved endpoint, and why it is this one."""

    name: str
    reason: str
    """Said in the first line of a run."""
    profile: Profile | None = None
    """None for the embedded endpoint: its address is known when it has started."""
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent along with each request."""
    patience: Mapping[str, Any] = field(default_factory=dict)
    """What flags say of the retry policy; the profile says the rest."""

    @property
    def embedded(self) -> bool:
        """Tell whether this is the model inside the tool."""
        return self.profile is None

    def patient(self, attempts: int | None, idle_timeout_s: float | None) -> Endpoint:
        """Return this endpoint with another patience, as far as it is given.

        Raises:
            UsageError: nobody can wait so long.
        """
        if idle_timeout_s is not None and not 0 < idle_timeout_s <= LONGEST_S:
            raise UsageError(
                f"--timeout is at most {LONGEST_S:g} seconds, a day, not {idle_timeout_s:g}"
            )
        given = {"attempts": attempts, "idle_timeout_s": idle_timeout_s}
        flags = {name: value for name, value in given.items() if value is not None}
        return replace(self, patience=flags)

    @property
    def shown_url(self) -> str:
        """Return the address without anything secret."""
        return "on this machine" if self.profile is None else shown_url(self.profile.base_url)

    @property
    def described(self) -> str:
        """Return name, address and reason, as the first line of a run says them."""
        return f"{self.name}, {self.shown_url} ({self.reason})"


def resolve_endpoint(
    choice: EndpointChoice,
    *,
    config: Config,
    queue_profile: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Endpoint:
    """Decide which endpoint is used.

    In this order: the choice (flags), the profile that the queue names, the environment
    (OPENAI_BASE_URL, OPENAI_API_KEY), the embedded one.

    Raises:
        UsageError: the name is not known, the URL is none, a key is missing, or nobody can wait
            so long.
    """
    endpoint = _chosen(choice, config, queue_profile, environ)
    return endpoint.patient(choice.attempts, choice.timeout_s)


def _chosen(
    choice: EndpointChoice,
    config: Config,
    queue_profile: str | None,
    environ: Mapping[str, str],
) -> Endpoint:
    name, base_url, api_key_env = choice.name, choice.base_url, choice.api_key_env
    if base_url is not None and name is not None:
        raise UsageError("--endpoint and --base-url exclude each other; give one of them")
    if api_key_env is not None and base_url is None:
        raise UsageError("--api-key-env goes with --base-url; a profile has api_key_env of its own")
    if base_url is not None:
        return _from_url(base_url, api_key_env, environ)
    if name is not None:
        return _named(name, "--endpoint", config, environ)
    if queue_profile is not None:
        return _named(queue_profile, "named by the queue", config, environ)
    if environ.get("OPENAI_BASE_URL") or environ.get("OPENAI_API_KEY"):
        return _from_environment(environ)
    return Endpoint(EMBEDDED, _why_embedded(config, environ))


def choose_model(
    *,
    flag: str | None,
    step: str | None,
    queue: str | None,
    endpoint: Endpoint,
    listed: Callable[[], Iterable[str]],
    environ: Mapping[str, str] = os.environ,
) -> str:
    """Decide which model a step asks.

    In this order: `flag`, `step`, `queue`, PROMPTQUEUE_MODEL, the endpoint's profile, the only
    entry of what `listed` returns (/models; called only when nothing else decides).

    Raises:
        EndpointError: the endpoint offers none or more than one.
    """
    named = named_model(flag=flag, step=step, queue=queue, endpoint=endpoint, environ=environ)
    if named:
        return named
    models = tuple(listed())
    if len(models) == 1:
        return models[0]
    if not models:
        raise EndpointError(
            f"{endpoint.shown_url} lists no models; name one with --model or PROMPTQUEUE_MODEL"
        )
    shown = ", ".join(models[:_LISTED_MODELS]) + (", ..." if len(models) > _LISTED_MODELS else "")
    raise EndpointError(
        f"{endpoint.shown_url} offers {len(models)} models; choose one with --model: {shown}"
    )


def named_model(
    *,
    flag: str | None,
    step: str | None,
    queue: str | None,
    endpoint: Endpoint,
    environ: Mapping[str, str] = os.environ,
) -> str | None:
    """Return the model that is named, in the order of `choose_model`; None if none is."""
    profile = endpoint.profile.model if endpoint.profile else None
    return flag or step or queue or environ.get("PROMPTQUEUE_MODEL") or profile


def shown_url(url: str) -> str:
    """Return a URL without user, password, query and fragment: fit to be printed and kept."""
    try:
        parts = urlsplit(url)
    except ValueError:  # as of `http://[::1`
        return url.rpartition("@")[2].partition("?")[0]
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def _why_embedded(config: Config, environ: Mapping[str, str]) -> str:
    if config.endpoints:
        return f"none was chosen; --endpoint takes {', '.join(config.endpoints)}"
    named = environ.get("PROMPTQUEUE_CONFIG")
    if named and not Path(named).exists():
        return f"no other is configured: PROMPTQUEUE_CONFIG names {named}, which does not exist"
    return "no other endpoint is configured"


def _named(name: str, why: str, config: Config, environ: Mapping[str, str]) -> Endpoint:
    if name == EMBEDDED:
        return Endpoint(EMBEDDED, why)
    if name == "openai" and name not in config.endpoints:
        if not (environ.get("OPENAI_BASE_URL") or environ.get("OPENAI_API_KEY")):
            raise UsageError(
                "neither OPENAI_API_KEY nor OPENAI_BASE_URL is set; the endpoint openai needs the "
                "key, or the address of a server that asks for none"
            )
        return _from_environment(environ)
    profile = config.endpoints.get(name)
    if profile is None:
        known = ", ".join([*config.endpoints, "openai", EMBEDDED])
        raise UsageError(
            f"no endpoint {name!r} ({why}); there is {known}; "
            f"add [endpoints.{name}] with base_url to {config_path(environ)}"
        )
    _check_url(profile.base_url)
    key = _key_from(profile.api_key_env, environ)
    return Endpoint(name, why, profile, key)


def _from_url(url: str, api_key_env: str | None, environ: Mapping[str, str]) -> Endpoint:
    _check_url(url)
    own = environ.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL
    if api_key_env is None and url.rstrip("/") == own.rstrip("/"):
        key = environ.get("OPENAI_API_KEY")  # it goes nowhere but to its own address
    else:
        key = _key_from(api_key_env, environ)
    return Endpoint("url", "--base-url", Profile(base_url=url, api_key_env=api_key_env), key)


def _from_environment(environ: Mapping[str, str]) -> Endpoint:
    url = environ.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL
    _check_url(url)
    why = "OPENAI_BASE_URL" if environ.get("OPENAI_BASE_URL") else "OPENAI_API_KEY"
    profile = Profile(base_url=url, api_key_env="OPENAI_API_KEY")
    headers = {name: environ[var] for var, name in _OPENAI_HEADERS.items() if environ.get(var)}
    return Endpoint("openai", why, profile, environ.get("OPENAI_API_KEY"), headers)


def _key_from(variable: str | None, environ: Mapping[str, str]) -> str | None:
    if variable is None:
        return None
    if not environ.get(variable):
        raise UsageError(f"the key of the endpoint is expected in ${variable}, which is not set")
    return environ[variable]


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port  # raises where it is no number
        (parts.hostname or "").encode("idna")  # and this, where a part of the name is too long
    except ValueError:
        valid = False
    if not valid:
        raise UsageError(f"{shown_url(url)!r} is no base URL; write http://HOST:PORT/v1")
