"""One damaged row of a thread stops the sweep for all later threads, and the thread cannot be deleted."""

from datetime import timedelta
from typing import TypedDict

from durable_graph import delete_expired_threads
from tests.cases._case import one_node, outcome, run, shown


class State(TypedDict, total=False):
    n: int


async def case(store):
    async with store.saver() as saver:
        graph = one_node(State, lambda s: {"n": 1}).compile(saver)
        for thread in ("t0", "t1", "t2"):
            await graph.ainvoke({}, thread_id=thread)
    store.flip("threads", "thread_id = 't1'")
    async with store.saver() as saver:
        swept = await outcome(delete_expired_threads(saver, older_than=timedelta(0)))
        left = [each.thread for each in await saver.list_threads()]
        deleted = await outcome(one_node(State, lambda s: {}).compile(saver).adelete_thread("t1"))
    is_right = left == ["t1"] and not isinstance(deleted, Exception)
    actual = f"sweep: {shown(swept, 250)}; left {left}; delete: {shown(deleted, 100)}"
    return "t0 and t2 are swept, t1 can be deleted", actual, is_right


run(case, kinds=("sqlite",))
