"""The conversations of `many` in a peer's own way: `peer_many.py JOB FOLDER PEER`.

It runs in a Python of its own (MANY_PEERS_PYTHON), which has the peers and not promptqueue. Each
is written as its documentation shows it, with the record that it keeps: langgraph's SQLite saver,
inspect_ai's log. litellm keeps none, and is here as the client that many build upon.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any


async def litellm(job: dict[str, Any], folder: Path) -> int:
    """Have all conversations, and return how many replies came."""
    import litellm as peer

    free = asyncio.Semaphore(job["at_once"])

    async def converse() -> int:
        async with free:
            messages = [{"role": "system", "content": job["role"]}]
            for prompt in job["prompts"]:
                messages.append({"role": "user", "content": prompt})
                stream = await peer.acompletion(
                    model=f"openai/{job['model']}",
                    api_base=job["base_url"],
                    api_key="none",
                    messages=messages,
                    stream=True,
                    **job["params"],
                )
                texts = [chunk.choices[0].delta.content or "" async for chunk in stream]
                messages.append({"role": "assistant", "content": "".join(texts)})
        return sum(message["role"] == "assistant" for message in messages)

    return sum(await asyncio.gather(*(converse() for _ in range(job["count"]))))


async def langgraph(job: dict[str, Any], folder: Path) -> int:
    """Have all conversations, and return how many replies came."""
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
    from langchain_openai import ChatOpenAI
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
    from langgraph.graph import START, MessagesState, StateGraph

    model = ChatOpenAI(
        model=job["model"],
        base_url=job["base_url"],
        api_key="none",
        streaming=True,
        **job["params"],
    )

    async def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    free = asyncio.Semaphore(job["at_once"])
    async with AsyncSqliteSaver.from_conn_string(str(folder / "record.sqlite")) as saver:
        app = graph.compile(checkpointer=saver)

        async def converse(number: int) -> int:
            async with free:
                config: Any = {"configurable": {"thread_id": str(number)}}
                first: list[Any] = [SystemMessage(job["role"])]
                for prompt in job["prompts"]:
                    asked = {"messages": [*first, HumanMessage(prompt)]}
                    state, first = await app.ainvoke(asked, config), []
            return sum(isinstance(message, AIMessage) for message in state["messages"])

        return sum(await asyncio.gather(*map(converse, range(job["count"]))))


def inspect_ai(job: dict[str, Any], folder: Path) -> int:
    """Have all conversations, and return how many replies came."""
    from inspect_ai import Task
    from inspect_ai import eval as run_task
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ChatMessageUser, GenerateConfig, get_model
    from inspect_ai.solver import Generate, Solver, TaskState, solver, system_message

    @solver
    def rest() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            state = await generate(state)
            for prompt in job["prompts"][1:]:
                state.messages.append(ChatMessageUser(content=prompt))
                state = await generate(state)
            return state

        return solve

    os.environ["INSPECT_DISPLAY"] = "none"
    task = Task(
        dataset=[Sample(input=job["prompts"][0], id=n) for n in range(1, job["count"] + 1)],
        solver=[system_message(job["role"]), rest()],
    )
    log = run_task(
        task,
        model=get_model(
            f"openai/{job['model']}",
            base_url=job["base_url"],
            api_key="none",
            config=GenerateConfig(max_connections=job["at_once"], **job["params"]),
            responses_api=False,
        ),
        log_dir=str(folder),
        display="none",
        max_samples=job["at_once"],
    )[0]
    assert log.status == "success", log.error
    return sum(m.role == "assistant" for sample in log.samples or [] for m in sample.messages)


def main() -> None:
    """Say how many replies came."""
    with open(sys.argv[1], encoding="utf-8") as file:  # noqa: PTH123 - as the bare loop does
        job = json.load(file)
    answered = globals()[sys.argv[3]](job, Path(sys.argv[2]))
    if asyncio.iscoroutine(answered):
        answered = asyncio.run(answered)
    print(json.dumps({"answered": answered}))


if __name__ == "__main__":
    main()
