"""Concurrent calls of two tasks; after a crash they come in the other order. Both results are recorded."""

import asyncio
from typing import Any

from durable_graph import entrypoint, task
from tests.cases._case import outcome, run, shown


async def case(store):
    attempts = 0

    @task
    async def first(x: int) -> str:
        return "first"

    @task
    async def second(x: int) -> str:
        return "second"

    async with store.saver() as saver:

        @entrypoint(checkpointer=saver)
        async def flow(x: int) -> Any:
            nonlocal attempts
            attempts += 1

            async def call(of, is_slow):
                await asyncio.sleep(0.03 if is_slow else 0)
                return await of(x)

            found = await asyncio.gather(call(first, attempts > 1), call(second, attempts == 1))
            if attempts == 1:
                raise RuntimeError("crash")
            return found

        await outcome(flow.ainvoke(1, thread_id="t"))
        ends = [await outcome(flow.ainvoke(None, thread_id="t")) for _ in range(2)]
    return ["first", "second"], [shown(end, 120) for end in ends], ends[0] == ["first", "second"]


run(case)
