"""When to ask again: the policy, the back-off and what the headers say about waiting."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

BACKOFF_CAP_S = 60.0
"""Longest wait that we choose ourselves; a server may ask for more."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TRY_AGAIN = re.compile(
    r"(?:try again|retry) (?:in|after) ((?:\d+(?:\.\d+)?\s*(?:ms|s|m|h|d)\b\s*|\d+[mhd])+)"
)
_EPOCH_S = 1e9
"""Numbers from here on are a Unix time, not a duration (OpenRouter sends milliseconds)."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient the client is; no part of what is asked."""

    attempts: int = 6
    """Most attempts of one call, the first one included."""
    base_wait_s: float = 1.0
    """Wait after the first failure; it doubles with each further one."""
    max_wait_s: float = 900.0
    """Longest single wait that is accepted; a longer Retry-After ends the call."""
    idle_timeout_s: float = 300.0
    """No byte for so long means that the attempt is dead."""
    connect_timeout_s: float = 10.0
    """Time for TCP and TLS."""
    continuations: int = 3
    """How often a cut reply is continued."""


def backoff_s(failures: int, policy: Policy, jitter: Callable[[], float] = random.random) -> float:
    """Return the wait after the given number of failures: 1, 2, 4 … 60 s, less up to a quarter.

    The jitter keeps parallel calls from coming back at the same moment.
    """
    full: float = min(policy.base_wait_s * 2.0 ** (failures - 1), BACKOFF_CAP_S)
    return full * (1 - jitter() / 4)


def retry_after_s(
    headers: Mapping[str, str], message: str = "", *, limited: bool = True
) -> float | None:
    """Return how many seconds the server asks to wait, or None when it does not say.

    Args:
        headers: of the response; names in any case.
        message: the server's words; some say "try again in 6m0s" there and nowhere else.
        limited: it refused for a limit; with another error the resets of its limits say nothing.
    """
    lower = {name.lower(): value.strip() for name, value in headers.items()}
    resets = _from_resets(lower) if limited else None
    for wait in (_from_retry_after(lower), resets, _from_words(message)):
        if wait is not None:
            return max(wait, 0.0)
    return None


def _from_retry_after(headers: Mapping[str, str]) -> float | None:
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after", "")
    seconds = _number(value)
    return seconds if seconds is not None else _until_date(value)


def _until_date(value: str) -> float | None:
    try:
        return parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None


def _from_resets(headers: Mapping[str, str]) -> float | None:
    """Return the reset of the exhausted limit; if none is marked as such, the nearest one."""
    exhausted: list[float] = []
    others: list[float] = []
    for name, value in headers.items():
        wait = _reset_s(value) if name.startswith("x-ratelimit-reset") else None
        if wait is not None:
            left = headers.get(name.replace("-reset", "-remaining", 1))
            (exhausted if left == "0" else others).append(wait)
    if exhausted:
        return max(exhausted)
    return min(others) if others else None


def _reset_s(value: str) -> float | None:
    number = _number(value)
    if number is None:
        return duration_s(value)
    if number < _EPOCH_S:
        return number
    return number / (1000 if number > _EPOCH_S * 1000 else 1) - time.time()


def _from_words(message: str) -> float | None:
    found = _TRY_AGAIN.search(message.lower())
    return duration_s(found[1]) if found else None


def duration_s(text: str) -> float | None:
    """Return the seconds in "1s", "6m0s" or "20ms"; None when the text is anything else."""
    if not text.strip() or _DURATION.sub("", text).strip():
        return None
    return sum(float(amount) * _UNIT_S[unit] for amount, unit in _DURATION.findall(text))


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d+(?:\.\d+)?", text) else None
