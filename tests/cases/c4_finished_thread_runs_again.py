"""Repeating the start of a finished order charges again; `if_finished="reject"` refuses the second start."""

from typing import TypedDict

from durable_graph import ThreadFinishedError
from tests.cases._case import one_node, outcome, run, shown


class State(TypedDict, total=False):
    order: str


async def case(store):
    charged = []

    async def charge(s):
        charged.append(s["order"])
        return {}

    async with store.saver() as saver:
        graph = one_node(State, charge).compile(saver)
        await graph.ainvoke({"order": "o-1"}, thread_id="o-1")
        end = await outcome(graph.ainvoke({"order": "o-1"}, thread_id="o-1", if_finished="reject"))
        if not isinstance(end, ThreadFinishedError):
            await outcome(graph.ainvoke({"order": "o-1"}, thread_id="o-1"))
    is_right = isinstance(end, ThreadFinishedError) and charged == ["o-1"]
    return "charged once, the second start refused", f"charged {charged}; {shown(end)}", is_right


run(case)
