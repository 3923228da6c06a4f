"""Why an attempt brings no answer, and how often it is worth another one."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Failure(StrEnum):
    """Why an attempt brought no answer."""

    CONNECT = "connect"
    TIMEOUT = "timeout"
    AUTH = "auth"
    NOT_FOUND = "not_found"
    MODEL_MISSING = "model_missing"
    RATE_LIMITED = "rate_limited"
    QUOTA = "quota"
    CONTEXT_OVERFLOW = "context_overflow"
    CONTEXT_TRUNCATED = "context_truncated"
    BAD_REQUEST = "bad_request"
    SERVER_ERROR = "server_error"
    NOT_AN_ENDPOINT = "not_an_endpoint"
    BROKEN_STREAM = "broken_stream"
    EMPTY = "empty"
    FILTERED = "filtered"
    DEGENERATE = "degenerate"


RETRIED: Mapping[Failure, int | None] = {
    # Most attempts of a call that end so (None: the policy says); a fourth rarely mends these.
    Failure.CONNECT: 3,
    Failure.TIMEOUT: 3,
    Failure.EMPTY: 3,
    Failure.DEGENERATE: 3,
    Failure.RATE_LIMITED: None,
    Failure.SERVER_ERROR: None,
    Failure.BROKEN_STREAM: None,
}
