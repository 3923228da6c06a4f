"""Examines an endpoint: small questions that show what it really does.

Each probe asks in raw form, so that the client's own adaptations do not hide anything. The
faces that are looked for were all seen at real servers; `quirks.py` says where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from promptqueue.chat.continuation import NATIVE_EXTRA
from promptqueue.chat.failure import Failure
from promptqueue.chat.hearing import CAP, Heard, RawClient
from promptqueue.chat.quirks import Quirks, estimate_tokens
from promptqueue.chat.transport import AttemptError

Verdict = Literal["good", "quirk", "problem", "unknown"]

_HOPELESS = frozenset(
    {
        *(Failure.CONNECT, Failure.TIMEOUT, Failure.AUTH, Failure.NOT_FOUND),
        *(Failure.MODEL_MISSING, Failure.QUOTA, Failure.NOT_AN_ENDPOINT),
    }
)
"""With these nothing else can be found out."""
_COUNT = "Count from 1 to 60, with spaces between the numbers. Only the numbers."
_NEEDLE = "zebra"
_FILLER = "The grass is green and the sky is blue today. "
_LOW, _HIGH = 0.6, 2.0
"""Reported prompt tokens below and above these shares of our estimate are not believed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one probe has shown."""

    probe: str
    verdict: Verdict
    seen: str
    profile: Mapping[str, Any] = field(default_factory=dict)
    """Fields of an endpoint profile that follow."""


class Doctor:
    """Puts the probes to one model of one endpoint.

    Args:
        client: asks that model.
        context_tokens: length of the prompt that the needle is hidden in.
    """

    def __init__(self, client: RawClient, *, context_tokens: int = 4096) -> None:
        self._client = client
        self._ask = client.ask
        self._context_tokens = context_tokens

    def examine(self) -> Iterator[Finding]:
        """Yield a finding per probe, as it is known.

        Raises:
            AttemptError: the endpoint cannot be asked at all.
        """
        yield self._reachable()
        probes: dict[str, Callable[[], Finding]] = {
            "token cap": self._token_cap,
            "finish reason": self._end,
            "system role": self._system,
            "two prompts in a row": self._alternation,
            "usage in streams": self._usage,
            "honest usage": self._honesty,
            "long prompt": self._needle,
            "prompt cache": self._cache,
            "seed": self._seed,
            "temperature": self._temperature,
            "stop": self._stop,
            "continuation": self._continuation,
            "thinking": self._thinking,
            "wrong model name": self._wrong_model,
        }
        for name, probe in probes.items():
            try:
                yield probe()
            except AttemptError as failed:  # which says nothing of what the endpoint can do
                yield Finding(name, "unknown", f"not found out: {failed.classified.message}")

    def _reachable(self) -> Finding:
        heard = self._ask("Say: ready", cap=64)
        changes: dict[str, Any] = {}
        while heard.error is not None and heard.error.adapt and len(changes) < 3:
            change = dict(heard.error.adapt)
            if not set(change) - set(changes):
                break
            changes |= change
            self._client.cap_name = changes.get("token_cap", self._client.cap_name)
            self._client.stream_options = changes.get("stream_options", self._client.stream_options)
            heard = self._ask("Say: ready", cap=64)
        if heard.error is not None and heard.error.failure in _HOPELESS:
            raise AttemptError(heard.error)
        if heard.error is not None:
            return Finding("answers", "problem", heard.error.message, changes)
        if not heard.text.strip() and not heard.reasoning:
            return Finding("answers", "problem", "200, and no text at all", changes)
        refused = f"; it refused what {', '.join(changes)} stands for" if changes else ""
        return Finding("answers", "quirk" if changes else "good", f"yes{refused}", changes)

    def _token_cap(self) -> Finding:
        obeyed, seen = [], []
        for name in ("max_tokens", "max_completion_tokens"):
            other: dict[str, Any] = {"max_tokens": None, "max_completion_tokens": None, name: CAP}
            heard = self._ask(_COUNT, **other)
            if heard.error is not None:
                seen.append(f"{name} is refused")
            elif _wrote(heard) > 2 * CAP:
                seen.append(f"{name} is ignored")
            else:
                obeyed.append(name)
        if not obeyed:
            return Finding("token cap", "problem", f"{'; '.join(seen)}: replies have no end")
        if self._client.cap_name not in obeyed:
            self._client.cap_name = obeyed[0]
        seen.insert(0, f"{' and '.join(obeyed)} {'is' if len(obeyed) == 1 else 'are'} obeyed")
        verdict: Verdict = "good" if "max_tokens" in obeyed else "quirk"
        return Finding("token cap", verdict, "; ".join(seen), {"token_cap": self._client.cap_name})

    def _end(self) -> Finding:
        cut, whole = self._ask(_COUNT), self._ask("Answer with one word: yes", cap=64)
        seen = f"{cut.finish or 'none'} when cut, {whole.finish or 'none'} at its own end"
        if cut.cut and whole.finish and not whole.cut:
            return Finding("finish reason", "good", seen)
        if not whole.finish:
            return Finding("finish reason", "problem", f"{seen}: a broken stream cannot be told")
        return Finding("finish reason", "problem", f"{seen}: a cut reply cannot be told")

    def _system(self) -> Finding:
        heard = self._ask(("system", "Answer only with the word banana."), "Who are you?")
        if heard.error is not None:
            seen = f"refused: {heard.error.message}"
            return Finding("system role", "quirk", seen, {"system_role": False})
        if "banana" in heard.text.lower():
            return Finding("system role", "good", "taken and followed", {"system_role": True})
        return Finding("system role", "unknown", f"taken, but answered with {_short(heard.text)}")

    def _alternation(self) -> Finding:
        heard = self._ask("My name is Ada.", "Say hello.")
        if heard.error is not None:
            return Finding("two prompts in a row", "quirk", "refused; the client joins them")
        return Finding("two prompts in a row", "good", "taken")

    def _usage(self) -> Finding:
        heard = self._ask("Say: ready", stream_options={"include_usage": True})
        if heard.error is not None:
            seen = "stream_options is refused; tokens are estimated"
            return Finding("usage in streams", "quirk", seen, {"stream_options": False})
        if heard.usage is None:
            return Finding("usage in streams", "quirk", "none is sent; tokens are estimated")
        return Finding("usage in streams", "good", "sent", {"stream_options": True})

    def _honesty(self) -> Finding:
        prompt = _FILLER * 30 + "Say: ready"
        heard = self._ask(prompt)
        if heard.error is not None or heard.usage is None:
            return Finding("honest usage", "unknown", "nothing is reported")
        guess = estimate_tokens(prompt)
        share = heard.usage.prompt / guess
        seen = f"{heard.usage.prompt} tokens reported, about {guess} sent"
        if not _LOW < share < _HIGH:
            words = f"{seen}: not believable"
            return Finding("honest usage", "problem", words, {"checks_context": False})
        return Finding("honest usage", "good", seen, {"checks_context": True})

    def _needle(self) -> Finding:
        name = f"{self._context_tokens:,} tokens of prompt"
        prompt = self._long_prompt()
        heard = self._ask(prompt, cap=24)
        if heard.error is not None:
            refused = heard.error.failure is Failure.CONTEXT_OVERFLOW
            return Finding(name, "quirk" if refused else "problem", heard.error.message)
        if _NEEDLE in heard.text.lower():
            return Finding(name, "good", "read to the first word")
        if heard.usage is not None and heard.usage.prompt < _LOW * estimate_tokens(prompt):
            seen = f"cut without a word: only {heard.usage.prompt} tokens were read"
            return Finding(name, "problem", seen)
        return Finding(name, "unknown", f"the needle was not found: {_short(heard.text)}")

    def _long_prompt(self) -> str:
        head = f"The secret word is {_NEEDLE}. "
        tail = "\nWhat is the secret word? Answer with one word."
        room = self._context_tokens - estimate_tokens(head + tail)
        return head + _FILLER * max(1, room // estimate_tokens(_FILLER)) + tail

    def _cache(self) -> Finding:
        heard = self._ask(self._long_prompt(), cap=1)
        if heard.usage is None:
            return Finding("prompt cache", "unknown", "nothing is reported")
        if heard.usage.cached:
            share = heard.usage.cached / max(1, heard.usage.prompt)
            return Finding("prompt cache", "good", f"{share:.0%} of the same prompt taken from it")
        return Finding("prompt cache", "unknown", "none is reported")

    def _seed(self) -> Finding:
        words = "Write six random nouns."
        one, same, other = (
            self._ask(words, cap=24, temperature=1.0, seed=seed) for seed in (1, 1, 2)
        )
        if one.error is not None:
            seen = f"refused: {one.error.message}"
            return Finding("seed", "quirk", seen, {"sends_seed": False})
        if one.text != same.text:
            return Finding("seed", "quirk", "not kept: the same seed gave two replies")
        if one.text == other.text:
            return Finding("seed", "unknown", "another seed gave the same reply")
        return Finding("seed", "good", "the same seed gives the same reply, another one another")

    def _temperature(self) -> Finding:
        heard = self._ask("Say: ready", temperature=0.2)
        if heard.error is not None:
            return Finding("temperature", "quirk", "refused", {"sends_temperature": False})
        return Finding("temperature", "good", "taken", {"sends_temperature": True})

    def _stop(self) -> Finding:
        heard = self._ask(_COUNT, cap=24, stop=["4"])
        if heard.error is not None:
            return Finding("stop", "quirk", f"refused: {heard.error.message}")
        if "5" in heard.text:
            return Finding("stop", "problem", "ignored")
        if "3" not in heard.text:
            return Finding("stop", "unknown", f"not seen: it answered with {_short(heard.text)}")
        return Finding("stop", "good", "obeyed")

    def _continuation(self) -> Finding:
        said = ("Write: one two three four five six", ("assistant", "one two three"))
        heard = self._ask(*said, extra=NATIVE_EXTRA)
        if heard.error is None and heard.text.strip().lower().startswith("four"):
            seen = "native: the server goes on where the reply was cut"
            return Finding("continuation", "good", seen, {"continuation": "native"})
        why = "refused" if heard.error is not None else f"answered with {_short(heard.text)}"
        return Finding("continuation", "quirk", f"by a turn; native: {why}", _BY_TURN)

    def _thinking(self) -> Finding:
        if self._client.thought:
            return Finding("thinking", "quirk", "it thinks; kept apart, never fed back")
        return Finding("thinking", "good", "none was sent")

    def _wrong_model(self) -> Finding:
        heard = self._ask("Say: ready", model="no-such-model")
        if heard.error is None:
            return Finding("wrong model name", "quirk", "answered all the same")
        if heard.error.failure is Failure.MODEL_MISSING:
            return Finding("wrong model name", "good", "refused as such")
        return Finding("wrong model name", "quirk", f"refused: {heard.error.message}")


_BY_TURN = {"continuation": "turn"}


def profile_of(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return what the findings say about a profile, without what is so by default."""
    merged: dict[str, Any] = {}
    for finding in findings:
        merged |= finding.profile
    usual = Quirks()
    return {name: value for name, value in merged.items() if getattr(usual, name) != value}


def _wrote(heard: Heard) -> int:
    """Return the tokens of a reply: the larger of what is said and what came."""
    came = estimate_tokens(heard.text + heard.reasoning)
    return max(came, heard.usage.completion if heard.usage else 0)


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}...")
