"""What a question to a model is made of: messages and parameters.

On its own, since it is all of a call that reading a queue needs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of a conversation."""

    role: Role
    content: str


class Params(BaseModel):
    """Sampling parameters of one call; `None` leaves the choice to the endpoint."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: float | None = Field(None, ge=0, le=2, strict=True)
    """Sampling temperature; 0 is greedy."""
    top_p: float | None = Field(None, gt=0, le=1, strict=True)
    """Nucleus sampling mass."""
    max_tokens: int | None = Field(None, ge=1, strict=True)
    """Most tokens of one reply; sent under the name that the endpoint understands."""
    seed: int | None = Field(None, strict=True)
    """Best effort at most endpoints; the embedded one honours it."""
    stop: tuple[str, ...] | None = None
    """Strings that end a reply."""
    frequency_penalty: float | None = Field(None, ge=-2, le=2, strict=True)
    """Makes words the rarer, the more often they came before."""
    presence_penalty: float | None = Field(None, ge=-2, le=2, strict=True)
    """Makes words rarer that came before."""
    reasoning_effort: str | None = None
    """For reasoning models: low, medium, high."""
    extra: Mapping[str, Any] = Field(default_factory=dict)
    """Further fields of the request body, for servers that know more."""

    @field_validator("extra")
    @classmethod
    def _is_json(cls, extra: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            json.dumps(extra, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"this cannot be sent as JSON: {error}") from error
        return extra

    def over(self, base: Params) -> Params:
        """Return these parameters laid over `base`: what is set here wins."""
        merged = base.given() | self.given()
        merged["extra"] = {**base.extra, **self.extra}
        return Params(**merged)

    def given(self) -> dict[str, Any]:
        """Return only what was set, `extra` left out."""
        return self.model_dump(exclude_none=True, exclude={"extra"})
