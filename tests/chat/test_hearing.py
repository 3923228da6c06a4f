"""What is heard of one raw request: the text apart from the thinking, or what went wrong."""

from __future__ import annotations

import contextlib

import pytest

from promptqueue.chat.failure import Failure
from promptqueue.chat.hearing import Heard, hear
from promptqueue.chat.retry import Policy
from promptqueue.chat.transport import Transport
from tests.fake_endpoint import Answer, FakeEndpoint, error, half, html, stream


def heard_of(answer: Answer) -> Heard:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    with FakeEndpoint([answer]) as server:
        transport = Transport(server.base_url, None, policy=Policy(), headers={})
        with contextlib.closing(transport):
            return hear(transport, body, {})


def test_thinking_whose_tag_was_opened_in_the_prompt_is_no_text() -> None:
    heard = heard_of(stream("a thought</think>\n\nfour", finish="length"))
    assert (heard.text, heard.reasoning, heard.cut) == ("four", "a thought", True)


@pytest.mark.parametrize(
    ("answer", "text", "failure"),
    [
        (half(stream("half a"), 2), "half ", Failure.BROKEN_STREAM),
        (stream("whole").then(breaks_off=True), "whole", None),
        (html(), "", Failure.NOT_AN_ENDPOINT),
        (Answer(), "", Failure.NOT_AN_ENDPOINT),
        (error(400, "no"), "", Failure.BAD_REQUEST),
    ],
    ids=["broken", "broken behind its end", "page", "nothing", "refused"],
)
def test_what_went_wrong_is_heard_with_what_came_before_it(
    answer: Answer, text: str, failure: Failure | None
) -> None:
    heard = heard_of(answer)
    assert heard.text == text
    assert (heard.error and heard.error.failure) == failure
