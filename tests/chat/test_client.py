"""The client against a real loopback server; the numbers are those of the ten rules.

The rules are listed in the research notes on OpenAI-compatible servers (section 3).
"""

import re
import socket
import sys
import threading
import time
from contextlib import contextmanager
from itertools import pairwise
from types import SimpleNamespace

import pytest

from promptqueue.chat import attempt, transport
from promptqueue.chat.client import OpenAIChat
from promptqueue.chat.continuation import CONTINUE_PROMPT, HEAD_CHARS, drop_overlap
from promptqueue.chat.failure import Failure
from promptqueue.chat.message import (
    Adapted,
    Answered,
    AttemptFailed,
    AttemptStarted,
    Continued,
    Delta,
    Message,
    Params,
    Request,
    Usage,
    Waiting,
)
from promptqueue.chat.quirks import Quirks
from promptqueue.chat.retry import Policy
from promptqueue.errors import EndpointError
from tests.fake_endpoint import (
    REASONING_PLACES,
    Answer,
    FakeEndpoint,
    chunk,
    completion,
    count,
    document,
    error,
    half,
    html,
    sse,
    stream,
    whole,
)

KEY = "sk-proj-0123456789abcdefSECRET"
TEXT = "Hello wörld 😀\n```python\nprint('привет')\n```\n"
LOOP = "import torch\n" + "from torch.utils.data import DataLoader\n" * 200


class Asked:
    """What came of one `ask`."""

    def __init__(self):
        self.events = []
        self.error = None
        self.slept = []
        self.chat = None

    @property
    def reply(self):
        assert isinstance(self.events[-1], Answered), self.error
        return self.events[-1].reply

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def text(self):
        return "".join(delta.text for delta in self.of(Delta) if not delta.reasoning)

    @property
    def kinds(self):
        return [type(event).__name__ for event in self.events if not isinstance(event, Delta)]


def request(*messages, **params):
    pairs = messages or (("user", "Write it."),)
    return Request(tuple(Message(*pair) for pair in pairs), "asked-model", Params(**params))


@contextmanager
def connected(server, slept=None, **options):
    options = {"api_key": KEY, "jitter": lambda: 0.0, **options}
    sleep = (slept if slept is not None else []).append
    chat = OpenAIChat(base_url=server.base_url, sleep=sleep, **options)
    try:
        yield chat
    finally:
        chat.close()


def ask(server, asked_request=None, **options):
    asked = Asked()
    with connected(server, asked.slept, **options) as asked.chat:
        try:
            for event in asked.chat.ask(asked_request or request()):
                asked.events.append(event)
        except EndpointError as exc:
            asked.error = str(exc)
    return asked


def play(*script, asked_request=None, default=None, **options):
    """Ask a server that answers so; return what came of it with the requests that it saw."""
    with FakeEndpoint(script, default=default) as server:
        asked = ask(server, asked_request, **options)
        asked.requests = server.requests
        asked.base_url = server.base_url
    return asked


# --- the plain way


DIALECTS = {
    "streamed": stream(TEXT),
    "one write": whole(stream(TEXT)),
    "cut anywhere": whole(stream(TEXT), 3),
    "CRLF": stream(TEXT, newline="\r\n"),
    "pings": stream(TEXT, pings=True),
    "no DONE": stream(TEXT, done=False),
    "not streamed": completion(TEXT),
    "not streamed, cut": whole(completion(TEXT), 7),
    "html as content type": stream(TEXT).then(content_type="text/html"),
    "no usage": stream(TEXT, usage=None),
}


@pytest.mark.parametrize("answer", DIALECTS.values(), ids=DIALECTS)
def test_the_text_arrives_byte_for_byte_in_every_dialect(answer):
    asked = play(answer)
    assert asked.reply.text == asked.text == TEXT
    assert asked.reply.finish_reason == "stop"
    assert asked.reply.model == "fake-model"
    assert asked.kinds == ["AttemptStarted", "Answered"]


def test_the_request_holds_what_was_asked_and_nothing_else():
    params = {"temperature": 0.2, "max_tokens": 50, "seed": 3, "stop": ("END",), "top_p": 0.9}
    asked = play(
        stream("x"),
        asked_request=request(("system", "s"), ("user", "u"), **params, extra={"top_k": 5}),
    )
    (sent,) = asked.requests
    assert sent.path == "/v1/chat/completions"
    assert sent.body == {
        "model": "asked-model",
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.2,
        "max_tokens": 50,
        "seed": 3,
        "stop": ["END"],
        "top_p": 0.9,
        "top_k": 5,
    }
    assert sent.headers["authorization"] == f"Bearer {KEY}"


def test_nothing_of_the_environment_reaches_the_server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-environment")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-environment")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "environment")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://environment.invalid/v1")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: environment\nX-Environment: yes")
    asked = play(stream("x"), api_key=None, headers={"X-Own": "1"})
    sent = asked.requests[0].headers
    assert "environment" not in str(sent).lower()
    assert not [name for name in sent if name.startswith(("openai", "x-stainless-os"))]
    assert sent["x-own"] == "1"
    assert sent["authorization"] == "Bearer none"


def test_a_proxy_of_the_environment_does_not_hide_this_machine(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert play(stream("x")).reply.text == "x"


def test_openai_is_not_imported_before_the_first_request():
    import subprocess

    code = (
        "import sys; from promptqueue.chat.client import OpenAIChat;"
        "OpenAIChat(base_url='http://127.0.0.1:1/v1', api_key=None);"
        "sys.exit(bool({'openai', 'httpx2'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_times_are_those_of_the_successful_attempt(monkeypatch):
    waited = []
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + sum(waited))
    monkeypatch.setattr(attempt, "time", clock)
    busy = error(429, headers={"Retry-After": "600"})
    slow = stream("one two three").then(delay_s=0.02)
    with FakeEndpoint([busy, slow]) as server, connected(server, waited) as chat:
        *_, answered = chat.ask(request())
    assert waited == [600]
    assert 0.02 <= answered.reply.first_token_s < answered.reply.seconds < 600
    assert answered.reply.seconds >= 0.02 * (len(slow.pieces) - 1)


def test_events_of_one_network_read_are_one_delta():
    asked = play(whole(stream(TEXT * 5)))
    assert len(asked.of(Delta)) <= 2


def test_a_connection_can_be_shared_by_threads():
    replies = {}
    with FakeEndpoint(default=lambda a: stream(a.body["messages"][0]["content"])) as server:  # noqa: SIM117
        with connected(server) as chat:

            def work(number):
                *_, last = chat.ask(request(("user", f"text {number}")))
                replies[number] = last.reply.text

            threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert replies == {n: f"text {n}" for n in range(8)}


# --- rule 1: our own retries, visible, and long waits honoured


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
def test_rule_1_what_may_pass_is_retried_visibly(status):
    asked = play(error(status, "busy"), stream("ok"))
    assert asked.kinds == [
        "AttemptStarted",
        "AttemptFailed",
        "Waiting",
        "AttemptStarted",
        "Answered",
    ]
    assert [event.attempt for event in asked.of(AttemptStarted)] == [1, 2]
    assert asked.reply.attempts == 2
    assert asked.slept == [1.0]


def test_rule_1_the_wait_doubles_and_the_attempts_end():
    asked = play(default=error(500, "boom"))
    assert asked.slept == [1, 2, 4, 8, 16]
    assert len(asked.requests) == 6
    assert "after 6 attempts" in asked.error
    assert "boom" in asked.error
    assert isinstance(asked.events[-1], AttemptFailed)


def test_rule_1_failures_of_different_kinds_share_the_attempts():
    asked = play(
        error(500), error(429), half(stream("half a"), 3), error(500), policy=Policy(attempts=3)
    )
    assert len(asked.requests) == 3
    assert "broken stream after 3 attempts" in asked.error


def test_rule_1_a_long_retry_after_is_honoured_in_full():
    """openai's client gives up beyond 120 seconds."""
    asked = play(error(429, headers={"Retry-After": "600"}), stream("ok"))
    assert asked.slept == [600]
    (waiting,) = asked.of(Waiting)
    assert waiting.seconds == 600
    assert waiting.until == pytest.approx(time.time() + 600, abs=10)
    assert waiting.reason.startswith("rate limited: 429")


def test_rule_1_a_wait_that_is_too_long_ends_with_the_moment_to_come_back():
    asked = play(error(429, headers={"Retry-After": "7200"}))
    assert asked.slept == []
    assert re.search(r"come back in 120 minutes, at \d{4}-\d\d-\d\d \d\d:\d\d", asked.error)
    assert asked.kinds == ["AttemptStarted", "AttemptFailed"]


def test_rule_1_our_own_wait_is_never_too_long_for_us():
    asked = play(default=error(503, "loading"), policy=Policy(max_wait_s=3))
    assert asked.slept == [1, 2, 3, 3, 3]
    assert "server error after 6 attempts" in asked.error
    assert "asks to come back" not in asked.error


def test_rule_1_the_reset_of_a_limit_says_nothing_of_another_failure():
    asked = play(error(500, headers={"x-ratelimit-reset-tokens": "6ms"}), stream("ok"))
    assert asked.slept == [1]
    asked = play(error(429, headers={"x-ratelimit-reset-tokens": "6s"}), stream("ok"))
    assert asked.slept == [6]


@pytest.mark.parametrize("seconds", ["18446744073709551615", "9" * 400], ids=["2**64", "endless"])
def test_rule_1_a_wait_that_no_calendar_holds_ends_the_call_as_well(seconds):
    asked = play(error(429, headers={"Retry-After": seconds}))
    assert "rate limited: it asks to come back in more than a year: 429" in asked.error


# --- rule 2: 429 is not 429


QUOTAS = {
    "insufficient_quota is terminal": (error(429, "x", code="insufficient_quota"), 1),
    "its words alone are not": (error(429, "INSUFFICIENT QUOTA"), 2),
}


@pytest.mark.parametrize(("answer", "calls"), QUOTAS.values(), ids=QUOTAS)
def test_rule_2_the_code_decides(answer, calls):
    asked = play(answer, stream("ok"))
    assert len(asked.requests) == calls
    assert (asked.error is None) == (calls == 2)


# --- rule 3: the token cap


def reject(name, code=400, message=None):
    """Return a server that refuses a field of the request, as strict ones do."""

    def answer(asked):
        if name in asked.body:
            return error(code, message or f"Unsupported parameter: '{name}'", param=name)
        return stream("ok")

    return answer


@pytest.mark.parametrize(
    ("start", "end"),
    [("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")],
)
def test_rule_3_the_name_of_the_cap_is_learned_once(start, end):
    with FakeEndpoint(default=reject(start)) as server:  # noqa: SIM117
        with connected(server, quirks=Quirks(token_cap=start)) as chat:
            first = list(chat.ask(request(max_tokens=9)))
            second = list(chat.ask(request(max_tokens=9)))
    assert [type(e).__name__ for e in first if not isinstance(e, Delta)] == [
        "AttemptStarted",
        "Adapted",
        "AttemptStarted",
        "Answered",
    ]
    assert end in first[1].what
    assert first[-1].reply.attempts == 1  # an adaptation is no attempt
    assert len(second) < len(first)
    assert chat.quirks.token_cap == end
    assert [server.requests[n].body.get(end) for n in range(3)] == [None, 9, 9]


def test_rule_3_a_server_that_refuses_both_names_ends_the_call():
    def answer(asked):
        name = "max_tokens" if "max_tokens" in asked.body else "max_completion_tokens"
        return error(400, f"Unsupported parameter: '{name}'", param=name)

    asked = play(default=answer, asked_request=request(max_tokens=9))
    assert len(asked.requests) == 2
    assert "bad request" in asked.error


def test_rule_3_an_ignored_cap_is_said():
    asked = play(stream("x" * 50, usage=count(0, 500)), asked_request=request(max_tokens=100))
    assert asked.of(Adapted) == [
        Adapted("the endpoint ignores the cap: it wrote 500 tokens, not 100")
    ]
    within = play(stream("x", usage=count(0, 125)), asked_request=request(max_tokens=100))
    assert within.of(Adapted) == []


@pytest.mark.parametrize(
    ("name", "kept"), [("temperature", "seed"), ("top_p", "seed"), ("seed", "temperature")]
)
def test_sampling_parameters_that_are_refused_are_left_out(name, kept):
    params = {"temperature": 0.2, "top_p": 0.2, "seed": 1}
    refusal = f"Unsupported value: '{name}' does not support {params[name]} with this model."
    asked = play(default=reject(name, message=refusal), asked_request=request(**params))
    assert asked.reply.text == "ok"
    assert name not in asked.requests[1].body
    assert asked.requests[1].body[kept] == params[kept]


# --- rule 4: cut replies


def test_rule_4_a_cap_that_thinking_ate_is_doubled():
    eaten = stream("", reasoning="hmm " * 10, finish="length", usage=count(0, 100))
    asked = play(eaten, eaten, stream("done"), asked_request=request(max_tokens=100))
    assert [r.body["max_tokens"] for r in asked.requests] == [100, 200, 400]
    assert asked.of(Continued) == [Continued("cap"), Continued("cap")]
    assert asked.reply.text == "done"
    assert asked.reply.attempts == 1
    assert asked.reply.usage.completion >= 200  # what the thinking cost is in the sum
    assert asked.requests[0].body["messages"] == asked.requests[2].body["messages"]


def test_rule_4_thinking_that_eats_everything_ends_the_call_after_two_doublings():
    eaten = stream("", reasoning="hmm", finish="length", usage=count(0, 100))
    asked = play(default=eaten, asked_request=request(max_tokens=100))
    assert [r.body["max_tokens"] for r in asked.requests] == [100, 200, 400]
    assert "400 tokens" in asked.error
    assert asked.events[-1].usage.completion == 300


def test_rule_4_blanks_behind_the_thinking_are_no_reply_to_go_on_with():
    blank = stream("\n\n", reasoning="hmm", finish="length", usage=count(0, 100))
    asked = play(blank, stream("done"), asked_request=request(max_tokens=100))
    assert asked.of(Continued) == [Continued("cap")]
    assert asked.requests[1].body["messages"] == asked.requests[0].body["messages"]
    assert (asked.reply.text, asked.reply.continuations) == ("done", 0)


def test_rule_4_a_cut_reply_is_continued_by_a_turn():
    asked = play(
        stream("def f():\n    return", finish="length", usage=count(0, 7)),
        stream(" 1\n", usage=count(0, 2)),
    )
    assert asked.reply.text == asked.text == "def f():\n    return 1\n"
    assert asked.reply.finish_reason == "stop"
    assert asked.reply.continuations == 1
    assert asked.reply.usage.completion == 9
    assert asked.kinds == ["AttemptStarted", "AttemptStarted", "Continued", "Answered"]
    assert asked.requests[1].body["messages"] == [
        {"role": "user", "content": "Write it."},
        {"role": "assistant", "content": "def f():\n    return"},
        {"role": "user", "content": CONTINUE_PROMPT},
    ]


def test_rule_4_a_server_that_can_goes_on_natively():
    asked = play(
        stream("one ", finish="length"), stream("two"), quirks=Quirks(continuation="native")
    )
    assert asked.reply.text == "one two"
    assert asked.of(Continued) == [Continued("native")]
    sent = asked.requests[1].body
    assert sent["messages"][-1] == {"role": "assistant", "content": "one "}
    assert sent["continue_final_message"] is True
    assert sent["add_generation_prompt"] is False
    assert "continue_final_message" not in asked.requests[0].body


def test_rule_4_what_goes_on_natively_repeats_nothing():
    rows = "TABLE = [\n" + "    [0, 0, 0, 0],\n" * 2
    asked = play(
        stream(rows, finish="length"),
        stream("    [0, 0, 0, 0],\n]\n"),
        quirks=Quirks(continuation="native"),
    )
    assert asked.reply.text == "TABLE = [\n" + "    [0, 0, 0, 0],\n" * 3 + "]\n"


def test_rule_4_a_server_that_refuses_the_native_way_is_asked_by_a_turn():
    asked = play(
        stream("one ", finish="length"),
        error(400, "what is this?"),
        stream("two"),
        quirks=Quirks(continuation="native"),
    )
    assert asked.reply.text == "one two"
    assert asked.of(Continued) == [Continued("turn")]
    assert asked.chat.quirks.continuation == "turn"


def test_rule_4_what_a_continuation_repeats_is_dropped_and_said():
    so_far = "```python\nx = compute(a)\ny = compute(b)\nz = comp"
    again = "Sure, here is the rest:\n\n```python\ny = compute(b)\nz = compute(c)\n```\n"
    asked = play(stream(so_far, finish="length"), stream(again))
    expected = "```python\nx = compute(a)\ny = compute(b)\nz = compute(c)\n```\n"
    assert asked.reply.text == asked.text == expected
    assert asked.of(Continued) == [Continued("turn", len(so_far + again) - len(expected))]


@pytest.mark.parametrize("text", ["", "the whole text"], ids=["nothing", "the end again"])
def test_rule_4_a_continuation_may_have_nothing_to_add(text):
    asked = play(stream("This is the whole text", finish="length"), stream(text))
    assert asked.reply.text == asked.text == "This is the whole text"
    assert asked.reply.finish_reason == "stop"


def test_rule_4_a_long_continuation_streams_on_after_its_beginning():
    rest = "".join(f"line {n}\n" for n in range(400))
    resting = stream(rest).then(rests_after=HEAD_CHARS // 4)  # of 5 characters each
    text = ""
    policy = Policy(attempts=1, idle_timeout_s=20)
    with FakeEndpoint([stream("start\n", finish="length"), resting]) as server:  # noqa: SIM117
        with connected(server, policy=policy) as chat:
            for event in chat.ask(request()):
                text += event.text if isinstance(event, Delta) else ""
                if len(text) > HEAD_CHARS:  # the rest is still to come
                    server.release()
    assert text == event.reply.text == "start\n" + rest


def test_rule_4_a_reply_that_stays_cut_says_so():
    asked = play(default=stream("part ", finish="length", usage=count(0, 5)))
    assert asked.reply.finish_reason == "length"
    assert asked.reply.continuations == 3
    assert len(asked.requests) == 4
    assert asked.reply.usage.completion == 20


def test_rule_4_a_failed_continuation_starts_again_where_the_first_part_ended():
    asked = play(
        stream("one ", finish="length"),
        half(stream("two three four", finish="stop"), 2),
        stream("two"),
    )
    assert asked.reply.text == "one two"
    assert asked.of(AttemptFailed)[0].partial == "one two t"


def test_rule_4_a_continuation_that_no_longer_fits_leaves_the_cut_reply():
    asked = play(
        stream("paid text", finish="length", usage=count(9, 4)),
        error(400, "too long", code="context_length_exceeded"),
    )
    assert asked.reply.text == "paid text"
    assert asked.reply.finish_reason == "length"
    assert asked.reply.continuations == 0
    assert asked.reply.usage == Usage(9, 4)


def test_rule_4_a_call_that_ends_in_a_continuation_hands_over_all_that_was_paid_for():
    asked = play(stream("paid text", finish="length", usage=count(9, 4)), error(401, "expired"))
    assert asked.events[-1].partial == "paid text"
    assert asked.events[-1].usage == Usage(9, 4)
    assert "auth" in asked.error


def test_rule_4_a_fence_that_opened_far_above_is_not_opened_again():
    body = "".join(f"value_{n} = compute({n})\n" for n in range(200))
    cut = stream("```python path=a.py\n" + body, finish="length")
    asked = play(cut, stream("```python path=a.py\nlast = 1\n```\n"))
    assert asked.reply.text == f"```python path=a.py\n{body}last = 1\n```\n"


FENCED = "Text\n```python\nimport os\nvalue = compute(first_argument)\n"
SEAMS = {
    "nothing is repeated": (FENCED, "other = 1\n", "other = 1\n"),
    "the last line again": (FENCED, "value = compute(first_argument)\nx\n", "x\n"),
    "two lines again": (FENCED, "import os\nvalue = compute(first_argument)\nx\n", "x\n"),
    "an opening fence": (FENCED, "```python\nx\n", "x\n"),
    "a closing fence stays": (FENCED, "```\n\nDone.", "```\n\nDone."),
    "an introduction and a fence": (FENCED, "Here is the rest:\n```python\nx\n", "x\n"),
    "a Russian introduction": (FENCED, "Конечно, вот продолжение:\n```python\nx\n", "x\n"),
    "a restarted line": ("```\n    value = comp", "    value = compute()\n", "ute()\n"),
    "a restarted line without indent": ("```\n    value = comp", "value = compute()\n", "ute()\n"),
    "a trailing blank is not doubled": ("```\nvalue = ", "value = 1\n", "1\n"),
    "outside a fence a new one is the answer": (
        "Now the file.\n",
        "```python\nx\n",
        "```python\nx\n",
    ),
    "prose that only looks like one": ("The list.\n", "Here we go:\n- a\n", "Here we go:\n- a\n"),
    "a bracket is chance": ("```\nf(x)", ")\n", ")\n"),
}


@pytest.mark.parametrize(("so_far", "continuation", "rest"), SEAMS.values(), ids=SEAMS)
def test_rule_4_seams(so_far, continuation, rest):
    assert drop_overlap(so_far, continuation) == rest


# --- rule 5: streams


BROKEN = {
    "clean end without a finish_reason": stream("half a", finish=None),
    "clean end without anything more": stream("half a", finish=None, usage=None, done=False),
    "connection lost": half(stream("half a reply"), 3),
    "connection lost within an event": half(whole(stream("half a reply"), 330), 1),
    "error inside": Answer(sse([chunk({"content": "half"}), {"error": {"message": "boom"}}])),
    "finish_reason error": stream("half", finish="error"),
    "garbage": Answer(sse([chunk({"content": "half"}), "{not json", "{}"])),
    "cut document": half(whole(completion("half a reply"), 50), 1),
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
def test_rule_5_a_stream_that_breaks_is_retried_from_an_empty_buffer(answer):
    asked = play(answer, stream("whole"))
    (failed,) = asked.of(AttemptFailed)
    assert failed.failure == Failure.BROKEN_STREAM
    assert asked.reply.text == "whole"
    streamed = answer.content_type != "application/json"
    assert failed.partial.startswith("half") == streamed


@pytest.mark.parametrize(
    "told", [b'data: {"error": {"message": "boom"}}', b'error: {"message": "boom"}']
)
def test_rule_5_an_error_inside_the_stream_is_told_in_the_servers_words(told):
    """The second form is that of older llama-servers."""
    asked = play(Answer([*stream("half").pieces[:2], told + b"\n\n"]), stream("whole"))
    assert [failed.message for failed in asked.of(AttemptFailed)] == ["in the stream: 200 boom"]


def test_rule_5_what_a_broken_stream_cost_is_kept():
    asked = play(half(stream("word " * 40), 30), stream("x"))
    usage = asked.of(AttemptFailed)[0].usage
    assert usage.estimated
    assert usage.completion >= 29


def test_rule_5_a_break_after_the_finish_reason_is_none():
    pieces = stream("whole", usage=None, done=False)
    asked = play(pieces.then(breaks_off=True))
    assert asked.reply.text == "whole"
    assert asked.reply.usage.estimated


def test_rule_5_a_line_kept_open_after_done_does_not_hold_the_reply_up():
    started = time.monotonic()
    asked = play(stream("whole").then(hangs=True), policy=Policy(idle_timeout_s=60))
    assert asked.reply.text == "whole"
    assert time.monotonic() - started < 30


def test_rule_5_servers_that_refuse_stream_options_are_not_asked_again():
    asked = play(default=reject("stream_options", message="stream_options: extra field"))
    assert asked.reply.text == "ok"
    assert len(asked.requests) == 2
    assert not asked.chat.quirks.stream_options


def test_rule_5_silence_is_a_timeout():
    hanging = Answer(stream("half a reply").pieces[:3], hangs=True)
    asked = play(hanging, stream("x"), policy=Policy(idle_timeout_s=2))
    (failed,) = asked.of(AttemptFailed)
    assert failed.failure == Failure.TIMEOUT
    assert failed.partial == "half a rep"
    assert asked.reply.text == "x"


def test_rule_5_pings_keep_a_slow_server_alive():
    ping = Answer([b": ping\n\n"] * 6 + list(stream("x").pieces), delay_s=0.3)
    assert play(ping, policy=Policy(idle_timeout_s=1.5)).reply.text == "x"


FINISHES = {
    "content_filter": (stream("bad", finish="content_filter"), Failure.FILTERED, 1),
    "refusal": (
        Answer(sse([chunk({"refusal": "I must not."}, finish="stop")])),
        Failure.FILTERED,
        1,
    ),
    "tool_calls": (stream("", finish="tool_calls"), Failure.EMPTY, 3),
    "function_call": (stream("", finish="function_call"), Failure.EMPTY, 3),
    "only blanks": (stream(" \n"), Failure.EMPTY, 3),
    "only thinking": (stream("", reasoning="hm"), Failure.EMPTY, 3),
    "nothing": (stream(""), Failure.EMPTY, 3),
    "no bytes": (Answer(), Failure.EMPTY, 3),
}


@pytest.mark.parametrize(("answer", "failure", "calls"), FINISHES.values(), ids=FINISHES)
def test_rule_5_finish_reasons_without_an_answer(answer, failure, calls):
    asked = play(default=answer)
    assert {event.failure for event in asked.of(AttemptFailed)} == {failure}
    assert len(asked.requests) == calls
    assert failure.replace("_", " ") in asked.error


@pytest.mark.parametrize("finish", ["stop", "eos_token", "end_turn", "tool_calls"])
def test_rule_5_other_finish_reasons_with_text_are_an_answer(finish):
    assert play(stream("text", finish=finish)).reply.finish_reason == "stop"


# --- rule 6: context


OVERFLOWS = {  # test_quirks.py has what other servers say
    "llama-server": error(500, "too large", type="exceed_context_size_error"),
    "inside the stream": Answer(
        sse([{"error": {"message": "x", "type": "exceed_context_size_error"}}])
    ),
}


@pytest.mark.parametrize("answer", OVERFLOWS.values(), ids=OVERFLOWS)
def test_rule_6_an_overflow_is_not_retried(answer):
    asked = play(default=answer)
    assert len(asked.requests) == 1
    assert "context overflow" in asked.error
    assert "less context" in asked.error


LONG = request(("user", "word " * 4000))  # 5,000 tokens by the estimate


def test_rule_6_a_silently_cut_prompt_is_an_error_and_the_paid_text_is_kept():
    asked = play(stream("paid", usage=count(2051, 3)), asked_request=LONG)
    failed = asked.events[-1]
    assert isinstance(failed, AttemptFailed)
    assert (failed.failure, failed.partial) == (Failure.CONTEXT_TRUNCATED, "paid")
    assert failed.usage == Usage(2051, 3)
    assert "2051 tokens" in asked.error


def test_rule_6_the_check_can_be_switched_off():
    quirks = Quirks(checks_context=False)
    asked = play(stream("x", usage=count(2051, 3)), asked_request=LONG, quirks=quirks)
    assert asked.reply.text == "x"


def test_rule_6_a_prompt_that_was_read_whole_is_no_error():
    assert play(stream("x"), asked_request=LONG).reply.text == "x"


def test_rule_6_an_empty_reply_hints_at_the_context():
    """LM Studio answers 200 with zero deltas."""
    asked = play(default=Answer(sse([])))
    assert "longer than the server's context" in asked.error


# --- rule 7: roles


def strict_roles(asked):
    roles = [message["role"] for message in asked.body["messages"]]
    if "system" in roles:
        return error(500, "System role not supported")
    if any(a == b for a, b in pairwise(roles)):
        return error(400, "Conversation roles must alternate")
    return stream("ok")


def test_rule_7_a_refused_system_role_is_merged():
    asked = play(default=strict_roles, asked_request=request(("system", "s"), ("user", "u")))
    assert asked.requests[-1].body["messages"] == [{"role": "user", "content": "s\n\nu"}]
    assert asked.chat.quirks == Quirks(system_role=False)


def test_rule_7_two_users_in_a_row_are_one():
    asked = play(default=strict_roles, asked_request=request(("user", "a"), ("user", "b")))
    assert asked.reply.text == "ok"
    assert len(asked.requests) == 1


# --- rule 8: thinking


@pytest.mark.parametrize("place", REASONING_PLACES)
@pytest.mark.parametrize("size", [None, 1, 50], ids=["events", "bytes", "pieces"])
def test_rule_8_thinking_is_kept_apart(place, size):
    answer = stream("the answer", reasoning="let me think", place=place)
    asked = play(whole(answer, size) if size else answer)
    assert asked.reply.text == asked.text == "the answer"
    assert asked.reply.reasoning == "let me think"
    thought = "".join(delta.text for delta in asked.of(Delta) if delta.reasoning)
    assert thought == "let me think"


def test_rule_8_thinking_is_never_fed_back():
    asked = play(
        stream("one ", reasoning="secret thought", finish="length"),
        stream("two", reasoning="another"),
    )
    assert "secret thought" not in str(asked.requests[1].body)
    assert asked.reply.reasoning == "secret thoughtanother"


# --- rule 9: usage, bare strings


def test_rule_9_usage_is_read_from_the_last_chunk():
    usage = count(
        20,
        9,
        prompt_tokens_details={"cached_tokens": 16},
        completion_tokens_details={"reasoning_tokens": 4},
    )
    assert play(stream("x", usage=usage)).reply.usage == Usage(20, 9, cached=16, reasoning=4)


def test_rule_9_missing_usage_is_estimated_and_marked():
    usage = play(stream("ab" * 40, usage=None)).reply.usage
    assert usage == Usage(2, 20, estimated=True)  # 9 and 80 letters, 4 a token


@pytest.mark.parametrize("text", ["overloaded", ""], ids=["words", "nothing"])
def test_rule_9_a_bare_string_is_no_reply(text):
    asked = play(document(text), stream("ok"))
    assert asked.of(AttemptFailed)[0].failure == Failure.BROKEN_STREAM
    assert asked.reply.text == "ok"


# --- rule 10: opaque errors, and what a user reads


ENDS = {
    "auth": (error(401, "Wrong key", code="invalid_api_key"), ["401 invalid_api_key", "MY_KEY"]),
    "model": (error(404, "The model `x` does not exist"), ["model missing", "/models"]),
    "path": (document({"detail": "Not Found"}, status=404), ["not found", "/v1"]),
    "page": (html(), ["not an endpoint", "Welcome to nginx!", "/v1"]),
    "page as 404": (html(404), ["not found", "Welcome to nginx!"]),
    "text": (Answer([b"It works!\n"], content_type="text/plain"), ["It works!"]),
    "other JSON": (document({"status": "up"}), ["not an endpoint", "no choices"]),
    "bad request": (error(400, "top_k is unknown"), ["bad request", "400 top_k is unknown"]),
    "redirect": (
        Answer(status=307, headers={"Location": "https://other.invalid/v1"}),
        ["not an endpoint", "redirects to https://other.invalid/v1"],
    ),
    "quota": (error(402, "no credits"), ["quota", "Top up"]),
}


@pytest.mark.parametrize(("answer", "words"), ENDS.values(), ids=ENDS)
def test_rule_10_the_error_says_what_where_and_the_way_out(answer, words):
    asked = play(default=answer, name="mine", key_hint="MY_KEY")
    assert len(asked.requests) == 1
    assert "\n" not in asked.error
    assert asked.error.startswith(f"mine ({asked.base_url}, model asked-model): ")
    for word in words:
        assert word in asked.error


def test_rule_10_opaque_500s_are_shown_in_the_servers_words():
    asked = play(default=Answer([b"Internal\nServer  Error"], 500), policy=Policy(attempts=1))
    assert "server error: 500 Internal Server Error." in asked.error


def test_a_long_story_is_cut():
    asked = play(default=error(400, "bla " * 500))
    assert len(asked.error) < 500


ECHOES = {
    "whole": KEY,
    "shortened": KEY[:14] + "...",
    "masked": KEY[:8] + "********",
    "behind a long story": "x" * 175 + " " + KEY,
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
@pytest.mark.parametrize("status", [400, 401, 500])
def test_the_key_is_in_no_message(echo, status):
    asked = play(default=error(status, f"wrong key {echo}"), policy=Policy(attempts=2))
    said = str(asked.events) + asked.error
    assert KEY[:8] not in said
    assert "***" in said


def test_a_message_is_not_cut_in_the_middle_of_a_key():
    key = "hunter2pass"  # too short to be known by its beginning
    asked = play(default=error(400, "x" * 185 + " " + key), api_key=key)
    assert "hunter" not in str(asked.events) + asked.error
    assert "x ***" in asked.error


@pytest.mark.parametrize(
    ("address", "secret"),
    [
        (("http://", "http://joe:hunter2pass@"), "hunter2pass"),
        (("/v1", "/v1?key=hunter2pass"), "key=hunter2pass"),
    ],
    ids=["password", "query"],
)
def test_a_secret_of_the_url_is_in_no_message(address, secret):
    with FakeEndpoint(default=error(400, f"no {secret} here")) as server:
        chat = OpenAIChat(base_url=server.base_url.replace(*address), api_key=None)
        with pytest.raises(EndpointError) as caught:
            list(chat.ask(request()))
        chat.close()
    assert f"endpoint ({server.base_url}, model" in str(caught.value)
    assert "no *** here" in str(caught.value)
    assert "hunter2pass" not in str(caught.value)


def test_a_key_with_strange_characters_is_refused_without_being_shown():
    with pytest.raises(EndpointError, match="no key has") as caught:
        OpenAIChat(base_url="http://127.0.0.1:1/v1", api_key="sk-ключ")
    assert "ключ" not in str(caught.value)


def test_a_line_end_behind_the_key_is_dropped():
    asked = play(stream("x"), api_key=f"{KEY}\n")
    assert asked.requests[0].headers["authorization"] == f"Bearer {KEY}"


# --- connections


def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_no_server_is_tried_three_times():
    slept = []
    chat = OpenAIChat(
        base_url=f"http://127.0.0.1:{closed_port()}/v1",
        api_key=None,
        sleep=slept.append,
        jitter=lambda: 0.0,
    )
    with pytest.raises(EndpointError, match=r"connect after 3 attempts.*Is the server running"):
        list(chat.ask(request()))
    assert slept == [1, 2]
    chat.close()


def test_a_url_that_is_none_is_said_at_once():
    chat = OpenAIChat(base_url="ftp://127.0.0.1/v1", api_key=None)
    with pytest.raises(EndpointError, match="not an endpoint"):
        list(chat.ask(request()))
    chat.close()


def test_a_redirect_carries_neither_key_nor_prompt_away():
    with FakeEndpoint(default=stream("stolen")) as thief:
        there = Answer(status=307, headers={"Location": f"{thief.base_url}/chat/completions"})
        asked = play(there)
        assert thief.requests == []
    assert "redirects to" in asked.error


def test_one_connection_serves_one_call_after_the_other(monkeypatch):
    monkeypatch.setattr(transport, "_END_S", 20)  # a busy machine ends no stream at once
    with FakeEndpoint(default=stream("hello")) as server, connected(server) as chat:
        for _ in range(3):
            list(chat.ask(request()))
        assert len(server.requests) == 3
        assert server.connections == 1


def test_a_server_that_holds_the_line_open_is_asked_on_another():
    with FakeEndpoint(default=stream("hello").then(hangs=True)) as server:
        with connected(server) as chat:
            answers = [list(chat.ask(request()))[-1] for _ in range(2)]
        assert [answer.reply.text for answer in answers] == ["hello", "hello"]
        assert server.connections == 2


def test_closing_the_generator_closes_the_connection():
    hanging = Answer(stream("hello").pieces[:2], hangs=True)
    with FakeEndpoint([hanging]) as server, connected(server) as chat:
        events = chat.ask(request())
        assert next(e for e in events if isinstance(e, Delta)).text == "hello"
        events.close()
        assert server.wait_for_disconnect()


def test_ctrl_c_in_the_middle_of_a_reply_closes_the_connection():
    hanging = Answer(stream("hello").pieces[:2], hangs=True)
    with FakeEndpoint([hanging]) as server, connected(server) as chat:
        events = chat.ask(request())
        next(e for e in events if isinstance(e, Delta))
        with pytest.raises(KeyboardInterrupt):
            events.throw(KeyboardInterrupt)
        assert server.wait_for_disconnect()


def test_ctrl_c_while_waiting_ends_the_call():
    def interrupt(_seconds):
        raise KeyboardInterrupt

    with FakeEndpoint([error(500)]) as server:
        chat = OpenAIChat(base_url=server.base_url, api_key=None, sleep=interrupt)
        with pytest.raises(KeyboardInterrupt):
            list(chat.ask(request()))
        chat.close()
        assert len(server.requests) == 1


# --- repetition


def test_a_reply_that_repeats_itself_is_cut_off_and_asked_again_differently():
    asked = play(stream(LOOP), stream("fine"), asked_request=request(temperature=0.4, seed=7))
    (failed,) = asked.of(AttemptFailed)
    assert failed.failure == Failure.DEGENERATE
    assert failed.partial == "import torch\nfrom torch.utils.data import DataLoader\n"
    assert failed.usage.estimated
    assert asked.requests[1].body["seed"] == 8
    assert asked.requests[1].body["temperature"] == 0.7
    assert asked.of(Adapted)[0].what.endswith("seed 8 and temperature 0.7")
    assert asked.slept == []
    assert asked.reply.text == "fine"


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        ({"sends_seed": False}, "asked again with temperature 0.7"),
        ({"sends_temperature": False}, "asked again with seed 8"),
        ({"sends_seed": False, "sends_temperature": False}, "asked again"),
    ],
    ids=["seed", "temperature", "both"],
)
def test_only_what_is_sent_is_said_to_be_varied(refused, said):
    asked = play(
        stream(LOOP),
        stream("fine"),
        asked_request=request(temperature=0.4, seed=7),
        quirks=Quirks(**refused),
    )
    assert asked.of(Adapted) == [Adapted(f"the reply repeated itself: {said}")]


def test_greedy_sampling_without_a_seed_is_given_both():
    asked = play(stream(LOOP), stream("fine"), asked_request=request(temperature=0))
    assert asked.requests[1].body["seed"] == 2
    assert asked.requests[1].body["temperature"] == 0.5


def test_the_stream_is_closed_long_before_its_end():
    with FakeEndpoint([stream(LOOP * 5).then(delay_s=0.0002)]) as server:
        server.enqueue(stream("fine"))
        asked = ask(server)
        assert server.wait_for_disconnect()
    assert asked.reply.text == "fine"


def test_after_two_retries_the_cut_text_is_the_reply():
    asked = play(default=stream(LOOP), asked_request=request(seed=1))
    assert [r.body["seed"] for r in asked.requests] == [1, 2, 3]
    assert asked.reply.finish_reason == "degenerate"
    assert asked.reply.text == "import torch\nfrom torch.utils.data import DataLoader\n"
    assert asked.reply.usage.estimated
    assert len(asked.of(AttemptFailed)) == 2  # the third one is the reply, and paid once


def test_thinking_in_circles_is_cut_off_too():
    asked = play(stream("x", reasoning="Wait, let me think again.\n" * 100), stream("fine"))
    assert asked.of(AttemptFailed)[0].failure == Failure.DEGENERATE
    assert asked.reply.text == "fine"


# --- models


LISTS = {
    "openai": ({"object": "list", "data": [{"id": "a"}, {"id": "b"}]}, ("a", "b")),
    "ollama": ({"models": [{"name": "a"}]}, ("a",)),
    "bare": ([{"id": "a"}, "b"], ("a", "b")),
    "none": ({"data": []}, ()),
}


@pytest.mark.parametrize(("listing", "names"), LISTS.values(), ids=LISTS)
def test_models_are_listed(listing, names):
    with FakeEndpoint(models=document(listing)) as server, connected(server) as chat:
        assert chat.models() == names


def test_a_busy_endpoint_is_asked_for_its_models_again():
    answers = iter(
        [
            error(503, "loading"),
            error(429, "slow down", headers={"Retry-After": "7"}),
            document({"data": [{"id": "a"}]}),
        ]
    )
    slept = []
    with FakeEndpoint(models=lambda _: next(answers)) as server, connected(server, slept) as chat:
        assert chat.models() == ("a",)
    assert slept == [1.0, 7.0]


@pytest.mark.parametrize(("listing", "idle"), [(0.2, 300), (30, 0.2)], ids=["list", "call"])
def test_a_list_that_does_not_come_is_waited_for_as_long_as_is_said(monkeypatch, listing, idle):
    monkeypatch.setattr("promptqueue.chat.transport._LISTING_TIMEOUT_S", listing)
    policy = Policy(attempts=1, idle_timeout_s=idle)
    with (
        FakeEndpoint(models=Answer(hangs=True)) as server,
        connected(server, policy=policy) as chat,
        pytest.raises(EndpointError, match=r"nothing came for 0\.2 s"),
    ):
        chat.models()


UNLISTED = {
    "html": (html(), "not an endpoint.*nginx"),
    "auth": (error(401, f"bad {KEY}"), r"auth: 401 bad \*\*\*.*MY_KEY"),
    "other JSON": (document({"up": True}), "not an endpoint"),
    "missing": (document({"detail": "Not Found"}, status=404), "not found.*--model NAME"),
    "failing": (error(500, "oops"), "server error after 6 attempts.*--model NAME"),
}


@pytest.mark.parametrize(("answer", "words"), UNLISTED.values(), ids=UNLISTED)
def test_a_list_that_is_none_is_an_error_with_the_same_care(answer, words):
    with FakeEndpoint(models=answer) as server, connected(server, key_hint="MY_KEY") as chat:  # noqa: SIM117
        with pytest.raises(EndpointError, match=words):
            chat.models()
