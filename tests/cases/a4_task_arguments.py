"""Two concurrent calls of one @task, with arguments that the codec cannot store; after a crash in the other order."""

import array
import asyncio
from typing import Any

from durable_graph import InvalidCallError, entrypoint, task
from tests.cases._case import outcome, run, shown


class Plain:
    def __init__(self, text):
        self.text = text


VALUES = {
    "object": (Plain("1"), Plain("2"), lambda v: v.text),
    "array": (array.array("b", [1]), array.array("b", [2]), lambda v: str(v[0])),
    "text (control)": ("1", "2", lambda v: v),
}


async def case(store):
    ends = {}
    async with store.saver() as saver:
        for name, (first, second, text) in VALUES.items():
            attempts = 0

            @task
            async def work(value):
                return f"result of {text(value)}"

            @entrypoint(checkpointer=saver)
            async def flow(_: int) -> Any:
                nonlocal attempts
                attempts += 1

                async def call(value, is_slow):
                    await asyncio.sleep(0.03 if is_slow else 0)
                    return await work(value)

                found = await asyncio.gather(call(first, attempts > 1), call(second, attempts == 1))
                if attempts == 1:
                    raise RuntimeError("crash")
                return found

            await outcome(flow.ainvoke(1, thread_id=name))
            ends[name] = await outcome(flow.ainvoke(None, thread_id=name))
    right = ["result of 1", "result of 2"]
    is_right = isinstance(ends["object"], InvalidCallError) and ends["array"] == ends["text (control)"] == right
    return (
        f"InvalidCallError for the objects, otherwise {right}",
        {name: shown(end, 60) for name, end in ends.items()},
        is_right,
    )


run(case)
