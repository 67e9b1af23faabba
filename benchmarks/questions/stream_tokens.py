"""What does a token cost that a node writes to the stream of its reader?"""

import asyncio
from typing import Any

from benchmarks.lab import Lab, Work
from benchmarks.libraries import Library
from benchmarks.record import FLOOR
from benchmarks.shapes import Counting
from durable_graph import START

BURSTS = (1, 100)
"""A model's client lets the reader run after each token. A node that computes writes many before it does."""


def streaming(library: Library, tokens: int, burst: int) -> Work:
    """One node that writes so many tokens, and lets others run after each burst of them."""

    async def node(state: Any) -> Any:
        write = library.stream_writer()
        for number in range(1, tokens + 1):
            write(number)
            if number % burst == 0:
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


def through_a_queue(tokens: int, burst: int) -> Work:
    async def run() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue()

        async def write() -> None:
            for number in range(1, tokens + 1):
                queue.put_nowait(number)
                if number % burst == 0:
                    await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            group.create_task(write())
            for _ in range(tokens):
                await queue.get()

    return run


async def measure(lab: Lab) -> None:
    tokens = lab.size(2_000, 3)
    for burst in BURSTS:
        works: dict[str, Work] = {FLOOR: through_a_queue(tokens, burst)}
        for library in lab.libraries:
            works[library.name] = streaming(library, tokens, burst)
        title = "custom token of a stream" if burst == 1 else f"custom token, {burst} at once"
        await lab.measure(title, "token", works, tokens, rounds=11, clock="CPU")
