"""What is asked of a model: messages, parameters, and the request made of both.

On its own, since it is all of a call that reading a queue needs.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

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
    presence_penalty: float | None = Field(None, ge=-2, le=2, strict=True)
    reasoning_effort: str | None = None
    """For reasoning models: low, medium, high."""
    extra: Mapping[str, Any] = Field(default_factory=dict)
    """Further fields of the request body, for servers that know more."""

    def over(self, base: Params) -> Params:
        """Return these parameters laid over `base`: what is set here wins."""
        merged = base.given() | self.given()
        merged["extra"] = {**base.extra, **self.extra}
        return Params(**merged)

    def given(self) -> dict[str, Any]:
        """Return only what was set, `extra` left out."""
        return self.model_dump(exclude_none=True, exclude={"extra"})


@dataclass(frozen=True)  # no slots: the key is kept once it was computed
class Request:
    """One question to a model: everything that decides the answer, and nothing else."""

    messages: tuple[Message, ...]
    model: str
    params: Params = field(default_factory=Params)
    sample: int = 0
    """Which of several independent samples of the same question this is."""

    def canonical(self) -> str:
        """Return the JSON that the key is the digest of (stable across runs and versions)."""
        body = {
            "messages": [{"role": m.role, "content": m.content} for m in self.messages],
            "model": self.model,
            "params": {**self.params.given(), "extra": dict(self.params.extra)},
            "sample": self.sample,
        }
        return json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    def key(self) -> str:
        """Return the SHA-256 of the question; limits and retry policy are no part of it."""
        return self._key

    @functools.cached_property
    def _key(self) -> str:
        return hashlib.sha256(self.canonical().encode()).hexdigest()
