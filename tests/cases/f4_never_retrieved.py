"""A client leaves while the store is down; when the store's call fails: 'Task exception was never retrieved'."""

import asyncio
import gc
from typing import TypedDict

from durable_graph import MemorySaver, StoreUnavailableError
from tests.cases._case import one_node, run


class State(TypedDict, total=False):
    n: int


async def case(store):
    noise = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: noise.append(context["message"]))

    class Down(MemorySaver):
        async def commit(self, unit):
            await asyncio.sleep(7)  # longer than the grace period of a cancellation
            raise StoreUnavailableError("the store", "it is down")

    graph = one_node(State, lambda s: {"n": 1}).compile(Down())
    call = asyncio.create_task(graph.ainvoke({}, thread_id="t"))
    await asyncio.sleep(0.2)
    call.cancel()
    await asyncio.wait({call})
    del call
    await asyncio.sleep(3)
    gc.collect()
    await asyncio.sleep(0.1)
    return "no entry in the log of asyncio", noise, noise == []


run(case, kinds=("memory",))
