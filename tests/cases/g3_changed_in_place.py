"""A change that a node makes in place is in the result of ainvoke and not in the store."""

import operator
import os
from typing import Annotated, TypedDict

os.environ.pop("DURABLE_GRAPH_DEBUG", None)

from durable_graph import StateMutatedError
from tests.cases._case import one_node, outcome, run, shown


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    notes: list[str]


async def node(s):
    s["notes"].append("in place")
    return {"log": ["returned"]}


async def case(store):
    async with store.saver() as saver:
        graph = one_node(State, node).compile(saver)
        end = await outcome(graph.ainvoke({"log": [], "notes": ["input"]}, thread_id="t"))
        stored = (await graph.aget_state(thread_id="t")).values
    is_right = isinstance(end, StateMutatedError) and (end.nodes, end.channels) == (("node",), ("notes",))
    is_right = is_right and stored["notes"] == ["input"]
    return (
        "StateMutatedError, which names node and key; the store is as it was",
        f"result {shown(end)}, stored {stored}",
        is_right,
    )


run(case)
