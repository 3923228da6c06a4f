"""Bytes to values, and values to text: cut anywhere, in every dialect that was seen."""

import json

import pytest

from promptqueue.chat import transport
from promptqueue.chat.failure import Failure
from promptqueue.chat.message import Message, Usage
from promptqueue.chat.reading import Reading, ThinkSplitter, read_usage
from promptqueue.chat.stream import BodyParser, StreamError
from tests.fake_endpoint import chunk, count, sse

EVENTS = [{"n": 1, "t": "wörld 😀"}, {"n": 2}, {"n": [3, "\n"]}]


def parse(data, size=None):
    parser = BodyParser()
    size = size or len(data) or 1
    values = [v for i in range(0, len(data), size) for v in parser.feed(data[i : i + size])]
    return values + parser.finish(), parser


def read(events):
    """Read events as if each came with a network read of its own."""
    reading = Reading()
    pieces = [reading.take([event]) for event in events] + [reading.finish()]
    assert "".join(piece.text for piece in pieces) == reading.text
    assert "".join(piece.reasoning for piece in pieces) == reading.reasoning
    return reading


@pytest.mark.parametrize("size", [1, 2, 3, 5, 17, 64, 10**6])
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("pings", [False, True], ids=["plain", "pings"])
def test_events_cut_anywhere_are_the_same_events(size, newline, pings):
    values, parser = parse(b"".join(sse(EVENTS, newline=newline, pings=pings)), size)
    assert values == EVENTS
    assert parser.done


BODIES = {
    "no blank lines": b'data: {"n": 1}\ndata: {"n": 2}\ndata: [DONE]\n',
    "no space": b'data:{"n": 1}\n\ndata:{"n": 2}\n\ndata:[DONE]\n\n',
    "id and retry": b'id: 1\nretry: 9\ndata: {"n": 1}\n\nid: 2\ndata: {"n": 2}\n\ndata: [DONE]\n',
    "byte order mark": b'\xef\xbb\xbfdata: {"n": 1}\n\ndata: {"n": 2}\n\ndata: [DONE]\n\n',
    "value over two lines": b'data: {"n":\ndata: 1}\n\ndata: {"n": 2}\n\ndata: [DONE]\n\n',
    "empty data": b'data:\n\ndata: {"n": 1}\n\ndata: \n\ndata: {"n": 2}\n\ndata: [DONE]\n\n',
    "no last line end": b'data: {"n": 1}\n\ndata: {"n": 2}\n\ndata: [DONE]',
    "blank start": b'\n\n: hi\n\ndata: {"n": 1}\n\ndata: {"n": 2}\n\ndata: [DONE]\n\n',
}


@pytest.mark.parametrize("size", [1, 4, 10**6])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_every_dialect_of_event_streams(body, size):
    values, parser = parse(body, size)
    assert values == [{"n": 1}, {"n": 2}]
    assert parser.done


def test_an_event_without_its_line_end_is_read_if_it_is_whole_and_dropped_if_not():
    assert parse(b'data: {"n": 1}\n\ndata: {"n": 2}')[0] == [{"n": 1}, {"n": 2}]
    assert parse(b'data: {"n": 1}\n\ndata: {"n":')[0] == [{"n": 1}]


def test_invalid_utf8_costs_one_character_and_not_the_reply():
    assert parse(b'data: {"t": "a\xff\xfeb"}\n\n')[0] == [{"t": "a\ufffd\ufffdb"}]


@pytest.mark.parametrize("size", [1, 10**6])
def test_a_document_is_read_whole(size):
    document = {"choices": [{"message": {"content": "x\n\ny"}}]}
    assert parse(json.dumps(document, indent=1).encode(), size)[0] == [document]


WRONG = {
    "html": (b"<!DOCTYPE html><title>x</title>", Failure.NOT_AN_ENDPOINT, "HTML"),
    "text": (b"Not here.\n", Failure.NOT_AN_ENDPOINT, "Not here."),
    "text without line end": (b"OK", Failure.NOT_AN_ENDPOINT, "OK"),
    "cut document": (b'{"choices": [', Failure.BROKEN_STREAM, "breaks off"),
    "garbage event": (b'data: {"n"\n\ndata: {"n": 1}\n\n', Failure.BROKEN_STREAM, "no JSON"),
    "error field": (b'error: {"message": "x"}\n\n', Failure.BROKEN_STREAM, "error"),
    "too deep": (b"[" * 100_000, Failure.BROKEN_STREAM, "breaks off"),
}


@pytest.mark.parametrize(("body", "failure", "words"), WRONG.values(), ids=WRONG)
def test_what_is_no_reply_says_what_it_is(body, failure, words):
    with pytest.raises(StreamError, match=words) as caught:
        parse(body)
    assert caught.value.failure is failure


def test_a_line_without_end_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr("promptqueue.chat.stream.MAX_EVENT_BYTES", 1000)
    parser = BodyParser()
    parser.feed(b"data: " + b"x" * 900)
    with pytest.raises(StreamError, match="without end"):
        parser.feed(b"x" * 100)


def test_a_comment_alone_is_an_event_stream():
    values, parser = parse(b": ping\n\n: ping\n\n")
    assert values == []
    assert parser.streamed


def choice(**fields):
    return {"model": "m", "choices": [fields]}


CONTENTS = {
    "delta": (choice(delta={"content": "hi"}), "hi", ""),
    "message": (choice(message={"content": "hi"}), "hi", ""),
    "parts": (choice(delta={"content": [{"type": "text", "text": "h"}, "i"]}), "hi", ""),
    "mistral": (
        choice(
            delta={
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                    {"type": "text", "text": "hi"},
                ]
            }
        ),
        "hi",
        "hm",
    ),
    "null content": (choice(delta={"content": None, "role": "assistant"}), "", ""),
    "no delta": (choice(delta=None), "", ""),
    "reasoning_content": (choice(delta={"reasoning_content": "hm"}), "", "hm"),
    "reasoning": (choice(delta={"reasoning": "hm"}), "", "hm"),
    "both names mean it once": (
        choice(delta={"reasoning": "hm", "reasoning_content": "hm"}),
        "",
        "hm",
    ),
    "reasoning and details mean it once": (
        choice(delta={"reasoning": "hm", "reasoning_details": [{"text": "hm"}]}),
        "",
        "hm",
    ),
    "details": (choice(delta={"reasoning_details": [{"text": "h"}, {"summary": "m"}]}), "", "hm"),
    "encrypted details": (choice(delta={"reasoning_details": [{"data": "xx"}]}), "", ""),
    "no choices": ({"choices": [], "usage": None}, "", ""),
    "foreign event": ({"type": "ping"}, "", ""),
}


@pytest.mark.parametrize(("event", "text", "reasoning"), CONTENTS.values(), ids=CONTENTS)
def test_content_and_thinking_are_found_wherever_they_are(event, text, reasoning):
    reading = read([event])
    assert (reading.text, reading.reasoning) == (text, reasoning)


THINKING = {
    "tagged": ("<think>a < b</think>\n\ncode", "code", "a < b"),
    "blank before": ("\n <think>a</think>code", "code", "a"),
    "later is content": ("see <think>a</think>", "see <think>a</think>", ""),
    "only begun": ("<thi", "<thi", ""),
    "another tag": ("<thing>", "<thing>", ""),
    "never closed": ("<think>abc</thi", "", "abc</thi"),
    "leading blank stays": ("\n\n  code", "\n\n  code", ""),
    "empty thought": ("<think>\n\n</think>\n\ncode", "code", "\n\n"),
    "a second one is content": ("<think>a</think>b<think>c</think>", "b<think>c</think>", "a"),
    "opened in the prompt": ("a thought</think>\n\ncode", "code", "a thought"),
    "spoken of": ('x = r.split("</think>")[-1]\n', 'x = r.split("</think>")[-1]\n', ""),
}


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize(("content", "text", "reasoning"), THINKING.values(), ids=THINKING)
def test_think_tags_are_split_wherever_the_stream_cuts_them(content, text, reasoning, size):
    reading = Reading()
    for i in range(0, len(content), size):
        reading.take([chunk({"content": content[i : i + size]})])
    reading.finish()
    assert (reading.text, reading.reasoning) == (text, reasoning)


def test_a_closed_splitter_is_out_of_the_way():
    splitter = ThinkSplitter()
    assert splitter.feed("plain").text == "plain"
    assert splitter.decided


def test_halves_of_a_character_become_one():
    """json.loads lets lone surrogates through, and no file can hold them."""
    events = [json.loads(f'{{"choices":[{{"delta":{{"content":"{t}"}}}}]}}') for t in HALVES]
    assert read(events).text == "a😀b\ufffd"


HALVES = ["a\\ud83d", "\\ude00b", "\\ud83d"]


def test_an_error_inside_the_stream_keeps_what_came_before_it():
    reading = Reading()
    with pytest.raises(StreamError) as caught:
        reading.take([chunk({"content": "half"}), {"error": {"message": "boom"}}])
    assert reading.text == "half"
    assert caught.value.body == {"error": {"message": "boom"}}


@pytest.mark.parametrize("value", ["overloaded", 3, None], ids=str)
def test_a_bare_value_is_no_reply(value):
    with pytest.raises(StreamError):
        Reading().take([value])


USAGES = {
    "plain": (count(10, 5), Usage(10, 5)),
    "details": (
        count(
            10,
            5,
            total_tokens=15,
            prompt_tokens_details={"cached_tokens": 8},
            completion_tokens_details={"reasoning_tokens": 3},
        ),
        Usage(10, 5, cached=8, reasoning=3),
    ),
    "cached reported separately": (
        count(10, 5, total_tokens=115, prompt_tokens_details={"cached_tokens": 100}),
        Usage(110, 5, cached=100),
    ),
    "null details": (count(10, 5, prompt_tokens_details=None), Usage(10, 5)),
    "strange": ({"prompt_tokens": "ten", "completion_tokens": -1}, None),
    "no dict": ([1], None),
}


@pytest.mark.parametrize(("usage", "expected"), USAGES.values(), ids=USAGES)
def test_usage_is_read(usage, expected):
    assert read_usage(usage) == expected


def test_the_last_usage_counts():
    """vLLM can send a running count with every chunk."""
    events = [{**chunk({"content": "a"}), "usage": count(9, n)} for n in (1, 2, 3)]
    assert read(events).usage == Usage(9, 3)


def test_missing_usage_is_estimated_and_marked():
    reading = read([chunk({"content": "ab" * 20}), chunk({"reasoning": "cd" * 40})])
    expected = Usage(prompt=25, completion=30, reasoning=20, estimated=True)  # 4 letters a token
    assert reading.counted((Message("user", "ab" * 50),)) == expected


def test_a_missing_prompt_count_is_estimated_and_marked():
    reading = read([{**chunk({"content": "x"}), "usage": {"completion_tokens": 7}}])
    assert reading.counted((Message("user", "ab" * 50),)) == Usage(25, 7, estimated=True)


class Clock:
    """Stands in for the time module: only what is waited for takes time."""

    def __init__(self):
        self.now = 0.0
        self.slept = []
        self.waits = 0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    def network(self, count, per_s, late=0.0):
        """Yield a byte at a time, so many a second; the first are late, all by the same moment."""
        for number in range(count):
            at = 0.5 + max(number / per_s, late)
            self.waits += at > self.now
            self.now = max(at, self.now)
            yield b"x"


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(transport, "time", clock)
    return clock


def test_a_stream_that_hurries_is_seldom_waited_for(clock):
    assert list(transport.gathered(clock.network(1000, 2000))) == [b"x"] * 1000
    assert clock.waits < 250


@pytest.mark.parametrize("per_s", [20, 300, 1000])
def test_a_model_is_read_as_it_writes(clock, per_s):
    assert list(transport.gathered(clock.network(1000, per_s))) == [b"x"] * 1000
    assert clock.slept == []


def test_a_server_that_catches_up_is_no_rush(clock):
    assert list(transport.gathered(clock.network(1000, 1000, late=0.02))) == [b"x"] * 1000
    assert clock.slept == []


def test_what_has_arrived_is_handed_on_before_more_is_waited_for(clock):
    chunks = transport.gathered(clock.network(1000, 2000))
    handed = [next(chunks) for _ in range(9)]
    assert (len(handed), clock.slept) == (9, [])
