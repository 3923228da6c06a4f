from __future__ import annotations

import threading
from collections.abc import Iterator

from promptqueue.chat.failure import Failure
from promptqueue.chat.message import Answered, AttemptFailed, ChatEvent, Message, Request
from promptqueue.compare.throttle import Throttle, ThrottledChat
from tests.scripted import reply_of

REQUEST = Request((Message("user", "?"),), "m")


class Server:
    """Bears so many at once; refuses the others. It is a script, no model."""

    def __init__(self, bears: int, takes_s: float = 0.005) -> None:
        self.takes_s = takes_s
        self.bears, self.busy, self.most, self.refusals = bears, 0, 0, 0
        self.lock = threading.Lock()
        self.pause = threading.Event()

    def ask(self, request: Request) -> Iterator[ChatEvent]:
        with self.lock:
            self.busy += 1
            self.most = max(self.most, self.busy)
            refused = self.busy > self.bears
            self.refusals += refused
        self.pause.wait(self.takes_s)
        if refused:
            yield AttemptFailed(1, Failure.RATE_LIMITED, "slow down")
        with self.lock:
            self.busy -= 1
        yield Answered(reply_of("x"))


def ask_often(chat: ThrottledChat, threads: int, times: int) -> None:
    def work() -> None:
        for _ in range(times):
            list(chat.ask(REQUEST))

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def test_as_many_as_the_limit_ask_at_once_and_no_more() -> None:
    server = Server(bears=100, takes_s=0.02)
    ask_often(ThrottledChat(server, Throttle(3)), threads=9, times=4)
    assert server.most == 3


def test_refusals_bring_the_limit_down_to_what_the_endpoint_bears() -> None:
    server, throttle = Server(bears=4, takes_s=0.02), Throttle(32)
    ask_often(ThrottledChat(server, throttle), threads=32, times=12)
    assert throttle.limit <= 16
    assert server.refusals < 32 * 12 / 3


def test_answers_bring_it_up_again_to_the_most_and_no_further() -> None:
    throttle = Throttle(4)
    with throttle.slot(), throttle.slot(), throttle.slot(), throttle.slot():
        throttle.refused()
        throttle.refused()  # of the same four: one halving
    assert throttle.limit == 2
    for _ in range(50):
        throttle.answered()
    assert throttle.limit == 4


def test_a_place_is_given_back_when_a_conversation_is_closed() -> None:
    throttle = Throttle(1)
    chat = ThrottledChat(Server(bears=9), throttle)
    for _ in range(3):
        events = iter(chat.ask(REQUEST))
        next(events)
        events.close()  # type: ignore[attr-defined]
    assert list(chat.ask(REQUEST))
