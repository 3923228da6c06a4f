"""A scripted endpoint with the faces that real servers show. It is no model: it answers by rule.

    with FakeEndpoint(default=Face(ignores_cap=True)) as server: ...

A word is a token.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Any

from tests.fake_endpoint import Answer, Asked, count, error, stream

NUMBERS = " ".join(str(n) for n in range(1, 61))


@dataclass(frozen=True)
class Face:
    """What a server does, and does not."""

    cap_names: tuple[str, ...] = ("max_tokens", "max_completion_tokens")
    refuses_other_cap: bool = False
    ignores_cap: bool = False
    system: bool = True
    follows_system: bool = True
    alternation: bool = False
    """Whether two prompts in a row are refused."""
    stream_options: bool = True
    usage: bool = True
    usage_factor: float = 1.0
    finish: bool = True
    says_stop_when_cut: bool = False
    context: int | None = None
    """Words that are read of a prompt, from its end; the rest is cut without a word."""
    caches: bool = True
    seed: bool = True
    """Whether the same seed gives the same reply."""
    refuses_seed: bool = False
    temperature: bool = True
    native: bool = True
    thinks: bool = False
    only_thinks: bool = False
    """Whether thinking eats up every small cap."""
    stop: bool = True
    any_model: bool = False

    def __call__(self, asked: Asked) -> Answer:
        body = asked.body
        refused = self._refused(body)
        if refused is not None:
            return refused
        cap = next((body[name] for name in self.cap_names if body.get(name)), None)
        if self.only_thinks and cap is not None and cap < 60:
            return stream("", reasoning="Hmm. " * cap, finish="length")
        words = self._text(body).split()
        cut = cap is not None and len(words) > cap and not self.ignores_cap
        text = " ".join(words[:cap] if cut else words)
        finish = "stop" if not cut or self.says_stop_when_cut else "length"
        usage = None
        if self.usage and body.get("stream_options"):
            usage = self._usage(body, text)
        return stream(
            text,
            reasoning="Hmm." if self.thinks else "",
            finish=finish if self.finish else None,
            usage=usage,
        )

    def _refused(self, body: dict[str, Any]) -> Answer | None:
        roles = [message["role"] for message in body["messages"]]
        if body["model"] == "no-such-model" and not self.any_model:
            return error(404, "The model `no-such-model` does not exist", code="model_not_found")
        for name in ("max_tokens", "max_completion_tokens"):
            if self.refuses_other_cap and name in body and name not in self.cap_names:
                words = f"Unsupported parameter: '{name}'. Use '{self.cap_names[0]}' instead."
                return error(400, words, code="unsupported_parameter")
        if "system" in roles and not self.system:
            return error(400, "System role not supported")
        if self.alternation and any(a == b for a, b in itertools.pairwise(roles)):
            return error(400, "Conversation roles must alternate user/assistant/user/assistant")
        if body.get("stream_options") and not self.stream_options:
            return error(400, "Unknown parameter: stream_options")
        if "temperature" in body and not self.temperature:
            return error(400, "Unsupported value: 'temperature' does not support 0.2")
        if "seed" in body and self.refuses_seed:
            return error(400, "Unsupported parameter: 'seed'")
        return None

    def _text(self, body: dict[str, Any]) -> str:
        prompts = [message["content"] for message in body["messages"]]
        said = " ".join(" ".join(prompts).split()[-self.context :] if self.context else prompts)
        if "Count from" in said:
            return self._counted(body)
        if "secret word" in said:
            return "zebra" if "zebra" in said else "I do not know"
        if "banana" in said:
            return "banana" if self.follows_system else "I am a model"
        if "nouns" in said:
            return f"cat dog {body['seed'] if self.seed else len(prompts[0]) * id(body)}"
        if "one two three four" in said:
            native = self.native and "continue_final_message" in body
            return "four five six" if native else "one two three four five six"
        return "ready"

    def _counted(self, body: dict[str, Any]) -> str:
        stops = body.get("stop") or []
        return re.split("|".join(stops), NUMBERS)[0] if stops and self.stop else NUMBERS

    def _usage(self, body: dict[str, Any], text: str) -> dict[str, Any]:
        prompts = " ".join(message["content"] for message in body["messages"])
        read = min(len(prompts.split()), self.context or 10**9)
        tokens = max(1, round(read * 1.2 * self.usage_factor))
        more = {"prompt_tokens_details": {"cached_tokens": tokens - 1}} if self.caches else {}
        return count(tokens, len(text.split()), **more)
