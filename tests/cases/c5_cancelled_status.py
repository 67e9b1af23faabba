"""No call cancels a thread from outside, no status exists for it (recovery resumes it), and unknown statuses are accepted."""

import asyncio
from typing import TypedDict

from durable_graph import InvalidOptionError, ThreadCancelledError
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
        asked = await outcome(graph.acancel("t"))
        await asyncio.wait([call])
        listed = await outcome(saver.list_threads(status="cancelled"))
        resumed = await outcome(graph.ainvoke(None, thread_id="t"))
        unknown = await outcome(saver.list_threads(status="no such status"))
    names = [each.thread for each in listed] if isinstance(listed, list) else shown(listed, 80)
    actual = f"acancel: {shown(asked, 80)}; cancelled: {names}; resumed: {shown(resumed, 80)}; unknown status: {shown(unknown, 80)}"
    errors = (call.result(), resumed)
    is_right = asked is True and names == ["t"] and all(isinstance(each, ThreadCancelledError) for each in errors)
    return (
        "['t'] is cancelled, ThreadCancelledError for its run and when resumed, InvalidOptionError for the status",
        actual,
        is_right and isinstance(unknown, InvalidOptionError),
    )


run(case)
