"""`GraphOutput["k"]` and `"k" in output` (documented as the same), `ainvoke(subgraphs=True)`."""

from typing import TypedDict

from tests.cases._case import one_node, outcome, run, shown


class State(TypedDict, total=False):
    k: str


async def case(store):
    graph = one_node(State, lambda s: {"k": "a"}).compile()
    output = await graph.ainvoke({"k": "x"}, version="v2")

    async def item():
        return output["k"]

    async def contains():
        return "k" in output

    async def option():
        return (await graph.ainvoke({"k": "x"}, subgraphs=True))["k"]

    ends = [await outcome(call()) for call in (item, contains, option)]
    return ["a", True, "a"], [shown(end, 90) for end in ends], ends == ["a", True, "a"]


run(case, kinds=("memory",))
