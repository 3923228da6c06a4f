"""What a user reads when an endpoint fails: what was found, where, and the way out; no secrets."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from promptqueue.chat.endpoints import shown_url
from promptqueue.chat.failure import Failure
from promptqueue.chat.quirks import Classified

WORDS_CHARS = 200
"""So much is shown of a server's own words."""
_MIN_SECRET = 4
_KEY_PREFIX = 8
"""A key that the server shortened is still known by so many characters."""
_YEAR_S = 366 * 86_400

_WAY_OUT: Mapping[Failure, str] = {
    Failure.CONNECT: "Is the server running, and is the base URL right?",
    Failure.TIMEOUT: "Wait longer (--timeout), or see whether other requests keep the server busy.",
    Failure.NOT_FOUND: "Check the path of the base URL; it usually ends in /v1.",
    Failure.MODEL_MISSING: "Name another model; the endpoint lists its own under /models.",
    Failure.RATE_LIMITED: "Wait and resume, or run fewer calls at once.",
    Failure.QUOTA: "Top up the account or choose another endpoint; waiting does not help.",
    Failure.CONTEXT_OVERFLOW: "Send less context with the step, or serve a longer context.",
    Failure.CONTEXT_TRUNCATED: (
        "Serve a longer context (Ollama: OLLAMA_CONTEXT_LENGTH), or set checks_context = false "
        "if the endpoint miscounts."
    ),
    Failure.BAD_REQUEST: "Correct the parameter that it names.",
    Failure.SERVER_ERROR: "Resume when the server has recovered.",
    Failure.NOT_AN_ENDPOINT: (
        "Point the base URL at an OpenAI-compatible server; it usually ends in /v1."
    ),
    Failure.BROKEN_STREAM: "Resume when the connection is stable.",
    Failure.EMPTY: (
        "The prompt may be longer than the server's context (LM Studio says nothing then), or "
        "max_tokens too small for the thinking."
    ),
    Failure.FILTERED: "Rephrase the step or choose another model.",
}
_NO_LIST = (
    "Name the model with --model NAME, so that no list is needed; or check the base URL, which "
    "usually ends in /v1."
)
_OF_LISTS = frozenset(
    {
        *(Failure.NOT_FOUND, Failure.BAD_REQUEST, Failure.SERVER_ERROR, Failure.TIMEOUT),
        *(Failure.NOT_AN_ENDPOINT, Failure.BROKEN_STREAM),
    }
)
"""Failures of a list of models that need not be failures of the endpoint."""


class Explainer:
    """Words the errors of one endpoint."""

    def __init__(self, name: str, base_url: str, *, api_key: str | None, key_hint: str) -> None:
        self._where = f"{name} ({shown_url(base_url)}"
        self._key_hint = key_hint
        parts = urlsplit(base_url)
        self._secrets = _patterns(api_key, parts.password, parts.query)

    def one_line(self, words: str) -> str:
        """Return a server's words on one line, cut, and with every secret blackened."""
        for pattern in self._secrets:  # before the cut, or half a key would survive it
            words = pattern.sub("***", words)
        words = " ".join(words.split())
        return words if len(words) <= WORDS_CHARS else words[: WORDS_CHARS - 1] + "…"

    def terminal(
        self, found: Classified, *, model: str = "", attempts: int = 1, listing: bool = False
    ) -> str:
        """Return the message of the error that ends a call, or the listing of models."""
        where = f"{self._where}, model {model})" if model else f"{self._where})"
        tries = f" after {attempts} attempts" if attempts > 1 else ""
        words = self.one_line(found.message).rstrip(".")
        what = found.failure.replace("_", " ")
        way_out = _NO_LIST if listing and found.failure in _OF_LISTS else None
        return f"{where}: {what}{tries}: {words}. {way_out or self._way_out(found.failure)}"

    def _way_out(self, failure: Failure) -> str:
        if failure is Failure.AUTH:
            return f"Set {self._key_hint or 'the API key of this endpoint'} to a valid key."
        return _WAY_OUT.get(failure, "Try another endpoint.")


def wait_text(seconds: float) -> str:
    """Return a wait for people, with the moment when it ends, where a calendar has it."""
    if seconds > _YEAR_S:
        return "more than a year"
    until = time.strftime("%Y-%m-%d %H:%M", time.localtime(time.time() + seconds))
    return f"{seconds / 60:.0f} minutes, at {until}"


def _patterns(api_key: str | None, *others: str | None) -> list[re.Pattern[str]]:
    secrets = [secret for secret in (api_key, *others) if secret and len(secret) >= _MIN_SECRET]
    patterns = [re.compile(re.escape(secret)) for secret in secrets]
    if api_key and len(api_key) >= 2 * _KEY_PREFIX:
        patterns.append(re.compile(re.escape(api_key[:_KEY_PREFIX]) + r"[\w.*…-]*"))
    return patterns
