"""What does a token cost that a node writes to the stream of its reader?"""

import asyncio
from typing import Any

from benchmarks.lab import Lab, Work
from benchmarks.libraries import Library
from benchmarks.record import FLOOR
from benchmarks.shapes import Counting
from durable_graph import START


def streaming(library: Library, tokens: int) -> Work:
    """One node that writes so many tokens, and lets others run after each of them, as a model's client does."""

    async def node(state: Any) -> Any:
        write = library.stream_writer()
        for number in range(tokens):
            write(number)
            await asyncio.sleep(0)
        return {"count": tokens}

    builder = library.state_graph(Counting)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    graph = builder.compile()

    async def run() -> None:
        found = 0
        async for _ in graph.astream({"count": 0}, stream_mode="custom"):
            found += 1
        assert found == tokens

    return run


def through_a_queue(tokens: int) -> Work:
    async def run() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue()

        async def write() -> None:
            for number in range(tokens):
                queue.put_nowait(number)
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            group.create_task(write())
            for _ in range(tokens):
                await queue.get()

    return run


async def measure(lab: Lab) -> None:
    tokens = lab.size(2_000, 3)
    works: dict[str, Work] = {FLOOR: through_a_queue(tokens)}
    for library in lab.libraries:
        works[library.name] = streaming(library, tokens)
    await lab.measure("custom token of a stream", "token", works, tokens, rounds=11)
