"""A nested graph is called with another input than before the crash (such as a time or a random number)."""

from typing import TypedDict

from durable_graph import ReplayMismatchError
from tests.cases._case import one_node, outcome, run, shown


class State(TypedDict, total=False):
    asked: str
    res: str


async def case(store):
    attempts = 0
    called = []

    async def answer(s):
        called.append(s["asked"])
        return {"res": s["asked"].upper()}

    child = one_node(State, answer).compile()

    async def node(s):
        nonlocal attempts
        attempts += 1
        asked = f"attempt-{attempts}"
        res = (await child.ainvoke({"asked": asked}))["res"]
        if attempts == 1:
            raise RuntimeError("crash")
        return {"asked": asked, "res": res}

    async with store.saver() as saver:
        graph = one_node(State, node).compile(saver)
        await outcome(graph.ainvoke({}, thread_id="t"))
        end = await outcome(graph.ainvoke(None, thread_id="t"))
    is_right = isinstance(end, ReplayMismatchError) and called == ["attempt-1"]
    return "ReplayMismatchError before the graph runs again", f"{shown(end)}; called for {called}", is_right


run(case)
