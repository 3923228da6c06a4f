"""What endpoints really do: how they fail, which parameters and roles they take, how they count.

Each rule here was seen at a real server; the projects in the comments are where.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from promptqueue.chat.failure import Failure
from promptqueue.chat.message import Message, Usage
from promptqueue.chat.retry import retry_after_s


@dataclass(frozen=True, slots=True)
class Quirks:
    """What one endpoint understands; the client replaces it as it learns."""

    token_cap: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """o-series and gpt-5 take only the second name, Ollama only the first."""
    system_role: bool = True
    """False: the template refuses `system`; it is merged into the first user message."""
    stream_options: bool = True
    """False: the server refuses to be asked for a usage chunk."""
    sends_temperature: bool = True
    """False: temperature, top_p and the penalties are left out (o-series refuse them)."""
    sends_seed: bool = True
    """False: the seed is left out; equal questions may then get equal answers."""
    continuation: Literal["native", "turn"] = "turn"
    """`native`: vLLM's and llama-server's `continue_final_message`."""
    checks_context: bool = True
    """False: do not compare the reported prompt tokens with our estimate."""


@dataclass(frozen=True, slots=True)
class Classified:
    """An error response, understood."""

    failure: Failure
    message: str
    """Status, code and the server's own words; not yet cut nor redacted."""
    retry_after_s: float | None = None
    """What the server asks to wait."""
    adapt: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `Quirks` that would make the request acceptable."""


_QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_OVERFLOW_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error"})
_RATE_CODES = frozenset({"rate_limit_exceeded", "rate_limit_error", "too_many_requests"})
_OVERFLOW_WORDS = re.compile(
    # OpenAI and vLLM | most | DeepInfra | llama-server | Anthropic proxies | a limit of tokens
    # per minute below the size of this one request (Groq, OpenAI): waiting never helps
    r"maximum context length|context window|context length|input length|context size"
    r"|prompt is too long|request too large",
    re.IGNORECASE,
)
_MISSING_MODEL = re.compile(r"\bmodel\b.{0,120}(?:not found|not exist)", re.IGNORECASE | re.DOTALL)
_REFUSED = re.compile(
    r"unsupported|not supported|does not support|unknown|unrecognized|unexpected|extra.?forbidden"
    r"|not permitted|not allowed|deprecated|invalid (?:parameter|argument)",
    re.IGNORECASE,
)
_CAP_NAME = re.compile(r"\bmax_(?:completion_)?tokens\b")
_LEFT_OUT: Mapping[re.Pattern[str], Mapping[str, Any]] = {
    re.compile(r"\b(?:temperature|top_p|frequency_penalty|presence_penalty)\b"): {
        "sends_temperature": False
    },
    re.compile(r"\bseed\b"): {"sends_seed": False},
}
"""Names of parameters to what makes a request do without them."""
_SYSTEM_REFUSED = re.compile(
    r"roles must alternate|system (?:role|message)s? (?:is |are )?(?:not|un)\s?supported"
    r"|system role|only user and assistant roles|role.{0,20}system.{0,60}(?:not|invalid)",
    re.IGNORECASE,
)
_CONTINUE_NAME = re.compile(
    r"continue_final_message|add_generation_prompt|assistant (?:response |message )?prefill",
    re.IGNORECASE,
)


def classify(
    status: int, body: Mapping[str, Any] | str | None, headers: Mapping[str, str]
) -> Classified:
    """Say what an error response means.

    Args:
        status: HTTP status; 200 for an error inside a stream.
        body: parsed JSON, or text when it is none.
        headers: of the response.
    """
    error = _ErrorBody.of(body)
    status = error.status if status == 200 and error.status else status
    failure = _failure(status, error)
    wait = retry_after_s(headers, error.words, limited=failure is Failure.RATE_LIMITED)
    adapt = _adaptation(error) if status in (400, 422, 500) else {}
    code = error.code if error.code != str(status) else ""
    shown = " ".join(part for part in (str(status), code, error.words) if part)
    return Classified(failure, shown, wait, adapt)


@dataclass(frozen=True, slots=True)
class _ErrorBody:
    """The common content of the many shapes of error bodies."""

    words: str = ""
    code: str = ""
    kind: str = ""
    param: str = ""
    status: int = 0
    html: bool = False

    @classmethod
    def of(cls, body: Any) -> _ErrorBody:
        if isinstance(body, list) and body:  # Gemini
            body = body[0]
        if isinstance(body, str):
            return _from_text(body)
        if not isinstance(body, Mapping):
            return cls()
        inner = body.get("error", body)
        if not isinstance(inner, Mapping):
            inner = {**body, "message": inner or body.get("message")}
        code = inner.get("code")
        return cls(
            words=_words(inner),
            code=_plain(code),
            kind=_plain(inner.get("type")),
            param=_plain(inner.get("param")),
            status=int(code) if re.fullmatch(r"[45]\d\d", str(code)) else 0,
        )


def _from_text(text: str) -> _ErrorBody:
    if not text.lstrip().startswith("<"):
        return _ErrorBody(words=text.strip())
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    return _ErrorBody(words=f"an HTML page, {title[1].strip()!r}" if title else "HTML", html=True)


def _words(error: Mapping[str, Any]) -> str:
    for name in ("message", "detail", "error", "msg", "title"):
        value = error.get(name)
        if value:
            words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            break
    else:
        words = json.dumps(dict(error), ensure_ascii=False) if error else ""
    if "n_ctx" in error and "n_prompt_tokens" in error:  # llama.cpp PR #15780
        words += f" (prompt {error['n_prompt_tokens']} tokens, context {error['n_ctx']})"
    return words


def _plain(value: Any) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _failure(status: int, error: _ErrorBody) -> Failure:
    # The exact code decides about quota, never the words: Scaleway says "INSUFFICIENT QUOTA"
    # for a limit that passes (LibreChat agents #358).
    if status == 402 or _QUOTA_CODES & {error.code, error.kind}:
        return Failure.QUOTA
    if status not in (401, 403) and _overflows(status, error):
        return Failure.CONTEXT_OVERFLOW
    if error.html and status < 400:
        return Failure.NOT_AN_ENDPOINT
    if status == 200:
        limited = _RATE_CODES & {error.code, error.kind}
        return Failure.RATE_LIMITED if limited else Failure.BROKEN_STREAM
    return _by_status(status, error)


def _overflows(status: int, error: _ErrorBody) -> bool:
    if status == 413 or _OVERFLOW_CODES & {error.code, error.kind}:
        return True
    return status != 404 and not error.html and bool(_OVERFLOW_WORDS.search(error.words))


_BY_STATUS = {
    401: Failure.AUTH,
    403: Failure.AUTH,
    405: Failure.NOT_FOUND,
    408: Failure.TIMEOUT,
    409: Failure.SERVER_ERROR,  # "conflict": OpenAI's own client retries it
    425: Failure.RATE_LIMITED,
    429: Failure.RATE_LIMITED,
}


def _by_status(status: int, error: _ErrorBody) -> Failure:
    missing = error.code == "model_not_found" or _MISSING_MODEL.search(error.words)
    if status in (400, 404) and missing and not error.html:
        return Failure.MODEL_MISSING
    if status == 404:
        return Failure.NOT_FOUND
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= 500:
        return Failure.SERVER_ERROR
    return Failure.BAD_REQUEST if status >= 400 else Failure.NOT_AN_ENDPOINT


def _adaptation(error: _ErrorBody) -> dict[str, Any]:
    """Return the change of `Quirks` that answers the complaint, or an empty dict."""
    text = f"{error.param} {error.words}"
    refused = _REFUSED.search(f"{error.code} {text}")
    cap = _CAP_NAME.search(text)  # the first one named is the refused one, the second the advice
    if _OVERFLOW_CODES & {error.code, error.kind} or _OVERFLOW_WORDS.search(error.words):
        return {}
    if "stream_options" in text:
        return {"stream_options": False}
    if _CONTINUE_NAME.search(text):
        return {"continuation": "turn"}
    if cap and refused:
        other = cap[0] == "max_tokens"
        return {"token_cap": "max_completion_tokens" if other else "max_tokens"}
    left_out = next((change for names, change in _LEFT_OUT.items() if names.search(text)), None)
    if left_out and refused:
        return dict(left_out)
    return {"system_role": False} if _SYSTEM_REFUSED.search(text) else {}


def normalise_messages(messages: Sequence[Message], quirks: Quirks) -> tuple[Message, ...]:
    """Return the messages in a form that strict chat templates accept.

    Equal neighbours are joined with a blank line, `system` is merged into the first user
    message when the endpoint refuses it, and an empty assistant message becomes "…": to drop
    it would put two user messages side by side. (vllm #6862, chat-ui #1386, autogen #1037)

    A well-formed conversation comes back unchanged, so that the server's prompt cache holds.
    """
    result: list[Message] = []
    for message in messages:
        role = message.role if quirks.system_role or message.role != "system" else "user"
        content = message.content
        if role == "assistant" and not content.strip():
            content = "…"
        if result and result[-1].role == role:
            content = f"{result.pop().content}\n\n{content}"
        result.append(Message(role, content))
    return tuple(result)


_RUN = re.compile(r"(.)\1{3,}", re.DOTALL)


def _first_of(run: re.Match[str]) -> str:
    return run[1]


CUT_SHARE = 0.6
"""Below this share of the estimate the server cannot have read the whole prompt."""
CUT_MINIMUM = 1000
"""Estimates up to this many tokens are too coarse to accuse a server."""

_MESSAGE_TOKENS = 4
"""About what a chat template adds to every message."""


@functools.lru_cache(maxsize=16)  # the turns of a conversation are asked about again each time
def estimate_tokens(text: str) -> int:
    """Return about how many tokens a text has, rather too few than too many.

    ASCII counts 4 characters a token, everything else 3, a run of one character (indents) as one.
    """
    text = _RUN.sub(_first_of, text)
    if text.isascii():
        return len(text) // 4
    ascii_count = len(text.encode("ascii", "ignore"))
    return ascii_count // 4 + (len(text) - ascii_count) // 3


def estimate_prompt(messages: Sequence[Message]) -> int:
    """Return about how many tokens the server reads, with what its template adds."""
    return sum(estimate_tokens(message.content) + _MESSAGE_TOKENS for message in messages)


def context_was_cut(usage: Usage, messages: Sequence[Message]) -> bool:
    """Tell whether the server silently dropped a part of the prompt, as Ollama does (#4967)."""
    # Some servers count only what was not in their cache.
    seen = usage.prompt + (usage.cached if usage.cached > usage.prompt else 0)
    most = sum(len(message.content) for message in messages) / 3  # no estimate is above
    if usage.estimated or not seen or seen >= CUT_SHARE * most:
        return False
    estimate = sum(estimate_tokens(message.content) for message in messages)
    return estimate > CUT_MINIMUM and seen < CUT_SHARE * estimate
