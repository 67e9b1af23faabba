"""durability="async" while the store stalls: the number of supersteps in memory is limited, and not their size."""

import asyncio
from typing import TypedDict

from durable_graph import END, START, MemorySaver, StateGraph
from tests.cases._case import run

MB = 20


class State(TypedDict, total=False):
    n: int
    data: bytes


async def case(store):
    ran = 0
    is_stalled = asyncio.Event()

    class Stalled(MemorySaver):
        async def commit(self, unit):
            if ran:
                await is_stalled.wait()
            return await super().commit(unit)

    async def node(s):
        nonlocal ran
        ran += 1
        return {"n": ran, "data": bytes(MB << 20)}

    builder = StateGraph(State).add_node("node", node).add_edge(START, "node")
    builder.add_conditional_edges("node", lambda s: END if s["n"] >= 30 else "node", ["node", END])
    async with Stalled() as saver:
        call = asyncio.create_task(builder.compile(saver).ainvoke({}, thread_id="t", durability="async"))
        before = -1
        while before != ran or ran == 0:
            before = ran
            await asyncio.sleep(0.5)
        waiting = ran
        is_stalled.set()
        await call
    return "at most 128 MB wait", f"{waiting} supersteps of {MB} MB", waiting * MB <= 128


run(case, kinds=("memory",))
