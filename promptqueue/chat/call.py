"""The state of one call: what is sent next, and what has come back so far."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from promptqueue.chat.attempt import Answer
from promptqueue.chat.continuation import NATIVE_EXTRA, continue_messages
from promptqueue.chat.failure import Failure
from promptqueue.chat.message import Message, Params, Reply, Request, Usage
from promptqueue.chat.quirks import Classified, Quirks, normalise_messages

_GUESSED_CAP = 1024
"""Taken as the cap that was reached when neither we nor the server said one."""
_CAP_TOLERANCE = 1.1
"""Servers may count a few tokens of the template; beyond that they ignore the cap."""
_SAMPLING = ("temperature", "top_p", "frequency_penalty", "presence_penalty")


@dataclass
class Call:
    """One `ask` on its way: attempts, continuations and what the client had to change."""

    request: Request
    params: Params
    """Those of the request, with the cap doubled or the sampling varied where it had to be."""
    attempt: int = 1
    text: str = ""
    reasoning: str = ""
    usage: Usage | None = None
    """Of all parts so far; None before the first one."""
    finish_reason: str = ""
    model: str = ""
    seconds: float = 0.0
    first_token_s: float = 0.0
    continuations: int = 0
    doublings: int = 0
    ignored_cap: str = ""
    """Said when the endpoint went beyond the cap."""
    failures: Counter[Failure] = field(default_factory=Counter)
    adapted: set[str] = field(default_factory=set)
    """Fields of `Quirks` that were changed: each at most once, or two errors could alternate."""

    def messages(self, quirks: Quirks) -> tuple[Message, ...]:
        """Return the messages of the next request; of a continuation, the text so far with it."""
        messages = self.request.messages
        if self.text:
            messages += continue_messages(self.text, native=quirks.continuation == "native")
        return normalise_messages(messages, quirks)

    def body(self, messages: tuple[Message, ...], quirks: Quirks) -> dict[str, Any]:
        """Return the request body, but for `extra_fields`."""
        given = self.params.given()
        cap = given.pop("max_tokens", None)
        if not quirks.sends_temperature:
            given = {name: value for name, value in given.items() if name not in _SAMPLING}
        if not quirks.sends_seed:
            given.pop("seed", None)
        if cap is not None:
            given[quirks.token_cap] = cap
        if quirks.stream_options:
            given["stream_options"] = {"include_usage": True}
        shown = [{"role": message.role, "content": message.content} for message in messages]
        return {"model": self.request.model, "messages": shown, "stream": True, **given}

    def extra_fields(self, quirks: Quirks) -> dict[str, Any]:
        """Return the fields of the body that openai does not know."""
        native = bool(self.text) and quirks.continuation == "native"
        return {**self.params.extra, **(NATIVE_EXTRA if native else {})}

    def add(self, answer: Answer) -> None:
        """Append a part of the reply."""
        self.continuations += bool(self.text) and not answer.gave_up
        self.text += answer.text
        self.reasoning += answer.reasoning
        self.usage = answer.usage if self.usage is None else self.usage + answer.usage
        self.finish_reason = answer.finish_reason
        self.model = self.model or answer.model
        self.seconds += answer.seconds
        self.first_token_s = self.first_token_s or answer.first_token_s
        self._check_cap(answer.usage)

    def reply(self) -> Reply:
        """Return the whole reply."""
        return Reply(
            text=self.text,
            finish_reason=self.finish_reason,
            usage=self.usage or Usage(0, 0),
            model=self.model or self.request.model,
            reasoning=self.reasoning,
            seconds=self.seconds,
            first_token_s=self.first_token_s,
            attempts=self.attempt,
            continuations=self.continuations,
        )

    def adaptation(self, found: Classified, quirks: Quirks) -> dict[str, Any]:
        """Return the change of `Quirks` that makes the next request acceptable, if there is one.

        Args:
            found: what the endpoint complained about.
            quirks: those that the refused request was made with.
        """
        change = dict(found.adapt)
        native = bool(self.text) and quirks.continuation == "native"
        if native and not change and found.failure is Failure.BAD_REQUEST:
            change = {"continuation": "turn"}
        if self.adapted & set(change) or replace(quirks, **change) == quirks:
            return {}
        self.adapted |= set(change)
        return change

    def vary(self, quirks: Quirks) -> str:
        """Change the sampling, for the same again would repeat itself again; say how."""
        seed, temperature = self.params.seed, self.params.temperature
        varied: dict[str, Any] = {}
        if quirks.sends_seed:
            varied["seed"] = self.attempt if seed is None else seed + 1
        if temperature is not None and quirks.sends_temperature:
            varied["temperature"] = min(2.0, max(0.5, round(temperature + 0.3, 3)))
        self.params = Params(**varied).over(self.params)
        how = " and ".join(f"{name} {value}" for name, value in varied.items())
        return "the reply repeated itself: asked again" + (f" with {how}" if how else "")

    def double_cap(self, used: Usage) -> None:
        """Ask anew for twice the tokens: thinking ate them all, but for some blanks."""
        self.text = ""
        cap = self.params.max_tokens or max(used.completion, _GUESSED_CAP)
        self.params = Params(max_tokens=2 * cap).over(self.params)
        self.doublings += 1

    def _check_cap(self, usage: Usage) -> None:
        cap = self.params.max_tokens
        if cap and not usage.estimated and usage.completion > cap * _CAP_TOLERANCE + 16:
            self.ignored_cap = (
                f"the endpoint ignores the cap: it wrote {usage.completion} tokens, not {cap}"
            )
