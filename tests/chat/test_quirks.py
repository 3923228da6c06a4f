"""Errors as real servers send them, messages as strict templates want them, tokens as counted."""

import time
from dataclasses import replace
from email.utils import formatdate

import pytest

from promptqueue.chat.failure import Failure
from promptqueue.chat.message import Message, Usage
from promptqueue.chat.quirks import (
    Quirks,
    classify,
    context_was_cut,
    estimate_tokens,
    normalise_messages,
)
from promptqueue.chat.retry import Policy, backoff_s, duration_s, retry_after_s


def err(message, **more):
    return {"error": {"message": message, **more}}


# status, body, failure; the bodies are those of the named servers
ERRORS = {
    "openai key": (401, err("Incorrect API key", code="invalid_api_key"), Failure.AUTH),
    "key without a right": (403, err("no access to the long context window"), Failure.AUTH),
    "forbidden": (403, {"detail": "Forbidden"}, Failure.AUTH),
    "openai model": (
        404,
        err("The model `x` does not exist", code="model_not_found"),
        Failure.MODEL_MISSING,
    ),
    "ollama model": (404, err('model "x" not found, try pulling it'), Failure.MODEL_MISSING),
    "vllm model": (
        404,
        {"object": "error", "message": "The model `x` does not exist."},
        Failure.MODEL_MISSING,
    ),
    "wrong path": (404, {"detail": "Not Found"}, Failure.NOT_FOUND),
    "wrong path as a page": (404, "<html><title>404</title></html>", Failure.NOT_FOUND),
    "wrong method": (405, None, Failure.NOT_FOUND),
    "rate": (429, err("Rate limit reached", code="rate_limit_exceeded"), Failure.RATE_LIMITED),
    "quota": (429, err("You exceeded your quota", code="insufficient_quota"), Failure.QUOTA),
    "quota as type": (429, err("You exceeded", type="insufficient_quota"), Failure.QUOTA),
    "scaleway": (429, err("INSUFFICIENT QUOTA"), Failure.RATE_LIMITED),
    "scaleway code in capitals": (429, err("x", code="INSUFFICIENT_QUOTA"), Failure.RATE_LIMITED),
    "payment": (402, err("Insufficient credits"), Failure.QUOTA),
    "bare 429": (429, "", Failure.RATE_LIMITED),
    "openai context": (
        400,
        err("This model's maximum context length is 8192", code="context_length_exceeded"),
        Failure.CONTEXT_OVERFLOW,
    ),
    "llama-server context": (
        400,
        err("too large", type="exceed_context_size_error", n_prompt_tokens=9000, n_ctx=4096),
        Failure.CONTEXT_OVERFLOW,
    ),
    "llama-server context 500": (
        500,
        err("too large", type="exceed_context_size_error"),
        Failure.CONTEXT_OVERFLOW,
    ),
    "deepinfra context": (400, {"detail": "The input length 9 exceeds"}, Failure.CONTEXT_OVERFLOW),
    "cloudflare context": (413, "<html></html>", Failure.CONTEXT_OVERFLOW),
    "vllm context": (
        400,
        {"message": "'max_tokens' is too large: 9. This model's maximum context length is 4"},
        Failure.CONTEXT_OVERFLOW,
    ),
    "tokens per minute below the request": (
        429,
        err("Request too large for gpt-4o: Limit 30000, Requested 40000"),
        Failure.CONTEXT_OVERFLOW,
    ),
    "server": (500, err("boom"), Failure.SERVER_ERROR),
    "baseten": (500, "Internal Server Error", Failure.SERVER_ERROR),
    "loading": (503, err("Loading model", code=503), Failure.SERVER_ERROR),
    "gateway page": (502, "<html><title>502</title></html>", Failure.SERVER_ERROR),
    "overloaded": (529, err("Overloaded"), Failure.SERVER_ERROR),
    "request timeout": (408, None, Failure.TIMEOUT),
    "bad request": (400, err("temperature must be below 2"), Failure.BAD_REQUEST),
    "page": (200, "<html><title>Hi</title></html>", Failure.NOT_AN_ENDPOINT),
    "redirect": (302, "it redirects to https://x", Failure.NOT_AN_ENDPOINT),
    "openrouter in the stream": (200, err("upstream", code=502), Failure.SERVER_ERROR),
    "rate in the stream": (200, err("slow", code="rate_limit_exceeded"), Failure.RATE_LIMITED),
    "429 in the stream": (200, err("slow", code="429"), Failure.RATE_LIMITED),
    "unknown in the stream": (200, err("boom"), Failure.BROKEN_STREAM),
    "bare string": (200, "overloaded", Failure.BROKEN_STREAM),
    "gemini list": (400, [err("bad thing", code=400)], Failure.BAD_REQUEST),
    "error as text": (500, {"error": "out of memory"}, Failure.SERVER_ERROR),
    "null error": (500, {"error": None, "message": "out of memory"}, Failure.SERVER_ERROR),
    "model that ends a sentence": (
        400,
        err("Unsupported parameter: 'top_k' is not supported with this model."),
        Failure.BAD_REQUEST,
    ),
}


@pytest.mark.parametrize(("status", "body", "failure"), ERRORS.values(), ids=ERRORS)
def test_each_error_is_what_it_is(status, body, failure):
    assert classify(status, body, {}).failure is failure


SHOWN = {
    "openai": (
        (401, err("Wrong key", code="invalid_api_key"), {}),
        "401 invalid_api_key Wrong key",
    ),
    "text": ((500, {"error": "out of memory"}, {}), "500 out of memory"),
    "message": ((500, {"message": "boom"}, {}), "500 boom"),
    "detail": ((422, {"detail": [{"msg": "x"}]}, {}), '422 [{"msg": "x"}]'),
    "bare": ((500, "boom\n", {}), "500 boom"),
    "page": ((502, "<html><title>Bad\n gateway</title>", {}), "502 an HTML page, 'Bad\\n gateway'"),
    "nothing": ((500, None, {}), "500"),
    "gemini": ((400, [err("bad thing", code=400)], {}), "400 bad thing"),
    "llama-server": (
        (400, err("too large", n_prompt_tokens=9000, n_ctx=4096), {}),
        "400 too large (prompt 9000 tokens, context 4096)",
    ),
}


@pytest.mark.parametrize(("answer", "words"), SHOWN.values(), ids=SHOWN)
def test_the_servers_own_words_are_found_in_every_shape(answer, words):
    assert classify(*answer).message == words


ADAPTATIONS = {
    "openai cap": (
        err(
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            code="unsupported_parameter",
            param="max_tokens",
        ),
        {"token_cap": "max_completion_tokens"},
    ),
    "the other way round": (
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"]}]},
        {"token_cap": "max_tokens"},
    ),
    "stream_options": (err("Extra inputs: stream_options"), {"stream_options": False}),
    "gemma": (err("System role not supported"), {"system_role": False}),
    "mistral": (
        err("Conversation roles must alternate user/assistant/user/assistant/..."),
        {"system_role": False},
    ),
    "o-series temperature": (
        err(
            "Unsupported value: 'temperature' does not support 0.2 with this model.",
            code="unsupported_value",
            param="temperature",
        ),
        {"sends_temperature": False},
    ),
    "a seed": (err("Unsupported parameter: 'seed'"), {"sends_seed": False}),
    "native continuation": (err("unknown field continue_final_message"), {"continuation": "turn"}),
    "thinking and prefill": (
        err("Assistant response prefill is incompatible with enable_thinking."),
        {"continuation": "turn"},
    ),
    "a cap that is only too large": (err("max_tokens is too large: 9; at most 4"), {}),
    "a temperature out of range": (err("temperature must be between 0 and 1"), {}),
    "a context overflow that names the cap": (
        err("maximum context length is 9, unsupported max_tokens"),
        {},
    ),
    "something else": (err("top_k unknown"), {}),
}


@pytest.mark.parametrize(("body", "change"), ADAPTATIONS.values(), ids=ADAPTATIONS)
def test_a_complaint_about_a_parameter_says_how_to_adapt(body, change):
    found = classify(400, body, {})
    assert found.adapt == change
    replace(Quirks(), **found.adapt)  # every name is a field


def test_a_template_that_raises_is_a_500_at_llama_server():
    assert classify(500, err("System role not supported"), {}).adapt == {"system_role": False}


WAITS = {
    "seconds": ({"Retry-After": "7"}, 7),
    "fraction": ({"retry-after": "0.5"}, 0.5),
    "milliseconds win": ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
    "duration": ({"x-ratelimit-reset-requests": "6m0s"}, 360),
    "short duration": ({"x-ratelimit-reset-tokens": "20ms"}, 0.02),
    "retry-after wins": ({"retry-after": "3", "x-ratelimit-reset-tokens": "1h"}, 3),
    "the exhausted one": (
        {
            "x-ratelimit-remaining-requests": "2999",
            "x-ratelimit-reset-requests": "1s",
            "x-ratelimit-remaining-tokens": "0",
            "x-ratelimit-reset-tokens": "1m30s",
        },
        90,
    ),
    "the nearest one": (
        {"x-ratelimit-reset-requests": "23h", "x-ratelimit-reset-tokens": "1s"},
        1,
    ),
    "garbage": ({"retry-after": "soon", "x-ratelimit-reset-tokens": "later"}, None),
    "nothing": ({}, None),
}


@pytest.mark.parametrize(("headers", "seconds"), WAITS.values(), ids=WAITS)
def test_what_the_headers_say_about_waiting(headers, seconds):
    assert retry_after_s(headers) == pytest.approx(seconds)


MOMENTS = {
    "HTTP date": (lambda: {"retry-after": formatdate(time.time() + 90, usegmt=True)}, 90),
    "date in the past": (lambda: {"retry-after": formatdate(time.time() - 90, usegmt=True)}, 0),
    "Unix milliseconds": (lambda: {"x-ratelimit-reset": f"{time.time() + 90:.0f}000"}, 90),
    "Unix seconds": (lambda: {"x-ratelimit-reset": f"{time.time() + 90:.0f}"}, 90),
}


@pytest.mark.parametrize(("headers", "seconds"), MOMENTS.values(), ids=MOMENTS)
def test_moments_become_waits(headers, seconds):
    assert retry_after_s(headers()) == pytest.approx(seconds, abs=2)


def test_words_are_the_last_source():
    assert retry_after_s({}, "Limit reached. Please try again in 1m20s. Thanks") == 80
    assert retry_after_s({"retry-after": "2"}, "Please try again in 1m20s.") == 2


@pytest.mark.parametrize("text", ["", "abc", "5", "5x", "s"])
def test_what_is_no_duration(text):
    assert duration_s(text) is None


def test_backoff_doubles_up_to_a_minute_and_jitters_down():
    waits = [backoff_s(n, Policy(), lambda: 0.0) for n in range(1, 9)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert backoff_s(3, Policy(), lambda: 1.0) == 3.0


def said(*pairs):
    return tuple(Message(role, content) for role, content in pairs)


FORMED = {
    "one": said(("user", "a")),
    "system": said(("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c")),
    "blank text": said(("user", " \n"), ("assistant", "x"), ("user", "")),
    "ends with assistant": said(("user", "a"), ("assistant", "b")),
}


@pytest.mark.parametrize("messages", FORMED.values(), ids=FORMED)
def test_a_well_formed_conversation_is_sent_as_it_is(messages):
    assert normalise_messages(messages, Quirks()) == messages


NORMALISED = {
    "two users": (
        said(("user", "a"), ("user", "b"), ("assistant", "c")),
        Quirks(),
        said(("user", "a\n\nb"), ("assistant", "c")),
    ),
    "empty assistant": (
        said(("user", "a"), ("assistant", " "), ("user", "b")),
        Quirks(),
        said(("user", "a"), ("assistant", "…"), ("user", "b")),
    ),
    "no system role": (
        said(("system", "s"), ("user", "a"), ("assistant", "b")),
        Quirks(system_role=False),
        said(("user", "s\n\na"), ("assistant", "b")),
    ),
    "system only": (said(("system", "s")), Quirks(system_role=False), said(("user", "s"))),
}


@pytest.mark.parametrize(("messages", "quirks", "expected"), NORMALISED.values(), ids=NORMALISED)
def test_what_strict_templates_refuse_is_normalised(messages, quirks, expected):
    assert normalise_messages(messages, quirks) == expected
    assert normalise_messages(expected, quirks) == expected


# Lower bounds, counted by hand: a token is at most one word, one bracket, one run of a character
# (runs up to 32) or two Chinese characters. The check cries only below 60 % of the estimate.
TEXTS = {
    "prose": ("The quick brown fox jumps over the lazy dog. " * 40, 10 * 40),
    "code": ("def forward(self, x):\n    return self.head(x)\n" * 40, 14 * 40),
    "deep indent": (" " * 64 + "x\n" + " " * 64 + "y\n", 8),
    "a ruler": ("=" * 400, 13),
    "Chinese": ("你好世界" * 50, 100),
}


@pytest.mark.parametrize(("text", "tokens"), TEXTS.values(), ids=TEXTS)
def test_the_estimate_does_not_exceed_what_the_context_check_can_bear(text, tokens):
    assert estimate_tokens(text) * 0.6 <= tokens


def test_the_estimate_is_in_the_documented_order():
    assert estimate_tokens("abcd" * 100) == 100
    assert estimate_tokens("жук" * 100) == 100
    assert estimate_tokens("") == 0


LONG = said(("system", "ab" * 4000), ("user", "cd" * 4000))  # 4,000 tokens by estimate
CUTS = {
    "read whole": (Usage(4100, 1), LONG, False),
    "coarse estimate": (Usage(2500, 1), LONG, False),
    "ollama's 2051": (Usage(2051, 1), LONG, True),
    "cached apart": (Usage(100, 1, cached=3900), LONG, False),
    "cached inside": (Usage(2051, 1, cached=2000), LONG, True),
    "our own estimate": (Usage(10, 1, estimated=True), LONG, False),
    "no count": (Usage(0, 1), LONG, False),
    "short prompt": (Usage(10, 1), said(("user", "ab" * 1900)), False),
}


@pytest.mark.parametrize(("usage", "messages", "cut"), CUTS.values(), ids=CUTS)
def test_a_silently_cut_prompt_is_seen_in_the_usage(usage, messages, cut):
    assert context_was_cut(usage, messages) is cut
