"""The loop that `many` is compared with: AsyncOpenAI and a semaphore, nothing kept."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from openai import AsyncOpenAI


async def main() -> None:
    """Have all conversations, and say how many replies came."""
    with open(sys.argv[1], encoding="utf-8") as file:  # noqa: PTH123 - it imports nothing it need not
        job = json.load(file)
    client = AsyncOpenAI(base_url=job["base_url"], api_key="none")
    free = asyncio.Semaphore(job["at_once"])
    counts = await asyncio.gather(*(_converse(client, job, free) for _ in range(job["count"])))
    print(json.dumps({"answered": sum(counts)}))


async def _converse(client: AsyncOpenAI, job: dict[str, Any], free: asyncio.Semaphore) -> int:
    async with free:
        messages: list[Any] = [{"role": "system", "content": job["role"]}]
        for prompt in job["prompts"]:
            messages.append({"role": "user", "content": prompt})
            messages.append({"role": "assistant", "content": await _ask(client, job, messages)})
    return sum(message["role"] == "assistant" for message in messages)


async def _ask(client: AsyncOpenAI, job: dict[str, Any], messages: list[Any]) -> str:
    stream = await client.chat.completions.create(
        model=job["model"],
        messages=messages,
        stream=True,
        stream_options={"include_usage": True},
        **job["params"],
    )
    texts = [c.choices[0].delta.content or "" async for c in stream if c.choices]
    return "".join(texts)


if __name__ == "__main__":
    asyncio.run(main())
