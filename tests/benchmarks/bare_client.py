"""The script that a conversation is compared with: the openai client in a loop, nothing else.

Reads {"base_url", "model", "params", "role", "prompts"} from the file that is named, and prints
when it had processed the last reply.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from openai import OpenAI


def main() -> None:
    """Ask all prompts, each with everything before it."""
    with open(sys.argv[1], encoding="utf-8") as file:  # noqa: PTH123 - it imports nothing it need not
        job = json.load(file)
    client = OpenAI(base_url=job["base_url"], api_key="none")
    messages: list[Any] = [{"role": "system", "content": job["role"]}]
    for prompt in job["prompts"]:
        messages.append({"role": "user", "content": prompt})
        messages.append({"role": "assistant", "content": _ask(client, job, messages)})
    print(json.dumps({"end": time.time(), "characters": sum(len(m["content"]) for m in messages)}))


def _ask(client: OpenAI, job: dict[str, Any], messages: list[Any]) -> str:
    stream = client.chat.completions.create(
        model=job["model"],
        messages=messages,
        stream=True,
        stream_options={"include_usage": True},
        **job["params"],
    )
    texts = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
    return "".join(texts)


if __name__ == "__main__":
    main()
