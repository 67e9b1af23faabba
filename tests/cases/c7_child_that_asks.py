"""A node runs a graph in a separate thread, and that graph interrupts: the parent continues as if it had ended."""

from typing import TypedDict

from durable_graph import UnfinishedChildError, interrupt
from tests.cases._case import one_node, outcome, run, shown


class State(TypedDict, total=False):
    n: int
    child: int


async def case(store):
    async with store.saver() as saver:
        child = one_node(State, lambda s: {"n": interrupt("how many?")}).compile(saver)

        async def node(s):
            return {"child": (await child.ainvoke({"n": 4}, thread_id="child"))["n"]}

        graph = one_node(State, node).compile(saver)
        end = await outcome(graph.ainvoke({"n": 4}, thread_id="parent"))
    is_right = isinstance(end, UnfinishedChildError) and [each.value for each in end.interrupts] == ["how many?"]
    return "UnfinishedChildError, with the interrupt", shown(end), is_right


run(case)
