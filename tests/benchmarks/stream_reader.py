"""A child that reads streams, with our client or with openai's, and says what an event cost."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable


def main() -> None:
    """Print CPU microseconds per event, and how many characters a reply had."""
    parser = argparse.ArgumentParser()
    parser.add_argument("reader", choices=["ours", "openai"])
    parser.add_argument("base_url")
    parser.add_argument("model")
    parser.add_argument("replies", type=int)
    parser.add_argument("events", type=int, help="of one reply")
    options = parser.parse_args()
    read = _READERS[options.reader](options.base_url, options.model)
    read()  # imports, connection and caches are no cost of an event
    begin = time.process_time()
    characters = sum(read() for _ in range(options.replies))
    spent_s = time.process_time() - begin
    print(1e6 * spent_s / (options.replies * options.events), characters / options.replies)


def _ours(base_url: str, model: str) -> Callable[[], int]:
    from promptqueue.chat.client import OpenAIChat
    from promptqueue.chat.message import Delta, Message, Request

    chat = OpenAIChat(base_url=base_url, api_key=None)
    request = Request((Message("user", "Write both files."),), model)
    return lambda: sum(len(e.text) for e in chat.ask(request) if isinstance(e, Delta))


def _openai(base_url: str, model: str) -> Callable[[], int]:
    from openai import OpenAI
    from openai.types.chat import ChatCompletionUserMessageParam

    client = OpenAI(base_url=base_url, api_key="none")
    message: ChatCompletionUserMessageParam = {"role": "user", "content": "Write both files."}

    def read() -> int:
        stream = client.chat.completions.create(
            model=model,
            messages=[message],
            stream=True,
            stream_options={"include_usage": True},
        )
        return sum(len(c.choices[0].delta.content or "") for c in stream if c.choices)

    return read


_READERS = {"ours": _ours, "openai": _openai}


if __name__ == "__main__":
    main()
