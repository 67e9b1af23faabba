"""No call cancels a thread from outside, and there is no status for it (recovery resumes it); any status may be asked for."""

import asyncio
from typing import TypedDict

from durable_graph import DurableGraphError
from tests.cases._case import one_node, outcome, run, shown


class State(TypedDict, total=False):
    n: int


async def node(s):
    await asyncio.sleep(3)
    return {"n": 1}


async def case(store):
    async with store.saver() as saver:
        graph = one_node(State, node).compile(saver)
        call = asyncio.create_task(outcome(graph.ainvoke({}, thread_id="t")))
        await asyncio.sleep(0.4)
        asked = await outcome(_cancel(graph))
        if isinstance(asked, AttributeError):
            call.cancel()
        await asyncio.wait([call])
        listed = await outcome(saver.list_threads(status="cancelled"))
        resumed = await outcome(graph.ainvoke(None, thread_id="t"))
        unknown = await outcome(saver.list_threads(status="no such status"))
    names = [each.thread for each in listed] if isinstance(listed, list) else shown(listed, 80)
    actual = f"acancel: {shown(asked, 80)}; cancelled: {names}; resumed: {shown(resumed, 80)}; unknown status: {shown(unknown, 80)}"
    is_right = (
        names == ["t"] and type(resumed).__name__ == "ThreadCancelledError" and isinstance(unknown, DurableGraphError)
    )
    return (
        "['t'] is cancelled, ThreadCancelledError when resumed, an error of ours for an unknown status",
        actual,
        is_right,
    )


async def _cancel(graph):
    return await graph.acancel("t")


run(case)
