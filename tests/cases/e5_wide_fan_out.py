"""3,000 Sends of quick nodes: all finished tasks are encoded and recorded in one late batch."""

import asyncio
from typing import TypedDict

from durable_graph import START, MemorySaver, Send, StateGraph
from tests.cases._case import run

WIDTH = 3_000


class State(TypedDict, total=False):
    n: int


async def one(arg):
    await asyncio.sleep(0.01 if arg["n"] else 0.5)  # one is slow, so that the others are recorded before the commit
    return {}


async def case(store):
    sizes = []

    class Watched(MemorySaver):
        async def save_writes(self, batch):
            sizes.append(len(batch.records))
            return await super().save_writes(batch)

    builder = StateGraph(State).add_node("one", one)
    builder.add_conditional_edges(START, lambda s: [Send("one", {"n": n}) for n in range(WIDTH)], ["one"])
    async with Watched() as saver:
        await builder.compile(saver).ainvoke({}, thread_id="t")
    largest = max(sizes, default=WIDTH)
    return "no batch of more than 512 records", f"{len(sizes)} batches, the largest has {largest}", largest <= 512


run(case, kinds=("memory",))
