"""The user's configuration file: named endpoints and prices of models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from promptqueue.chat.toml_file import load_toml

LONGEST_S = 86_400.0
"""Nobody waits longer than a day; the clocks of sockets have an end too."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Usd = Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)]


class Price(_Strict):
    """Price of one model in USD per million tokens."""

    input: Usd
    output: Usd
    cached: Usd | None = None
    """Of prompt tokens that the server took from its cache; `input` where it is not set."""

    def of(self, prompt: int, completion: int, cached: int) -> float:
        """Return the price in USD of one call's tokens."""
        cached_price = self.input if self.cached is None else self.cached
        fresh = max(0, prompt - cached)
        return (fresh * self.input + cached * cached_price + completion * self.output) / 1e6


class Profile(_Strict):
    """A named endpoint of the user's configuration."""

    base_url: str
    api_key_env: str | None = None
    """The environment variable that holds its key; keys themselves are never in a file."""
    model: str | None = None
    token_cap: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    system_role: bool = True
    stream_options: bool = True
    sends_temperature: bool = True
    sends_seed: bool = True
    continuation: Literal["native", "turn"] = "turn"
    checks_context: bool = True
    attempts: Annotated[int, Field(ge=1, le=100)] = 6
    idle_timeout_s: Annotated[float, Field(gt=0, le=LONGEST_S)] = 300.0
    max_wait_s: Annotated[float, Field(ge=0, le=LONGEST_S)] = 900.0


class Config(_Strict):
    """The user's configuration file."""

    endpoints: Mapping[str, Profile] = Field(default_factory=dict)
    prices: Mapping[str, Price] = Field(default_factory=dict)

    @field_validator("endpoints")
    @classmethod
    def _leaves_the_embedded_one(cls, endpoints: Mapping[str, Profile]) -> Mapping[str, Profile]:
        if "embedded" in endpoints:
            raise ValueError(
                "a profile cannot be called embedded, which is the model inside; rename it"
            )
        return endpoints


def load_config(path: Path) -> Config:
    """Read the user's configuration; without a file it is empty.

    Raises:
        UsageError: it is no TOML, or has unknown or wrong entries.
    """
    return load_toml(path, Config) if path.exists() else Config()
