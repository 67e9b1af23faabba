"""stream_mode="values", a breakpoint inside a nested graph: a parallel node's write is never emitted, but returned."""

import operator
from typing import Annotated, TypedDict

from durable_graph import START, StateGraph
from tests.cases._case import run


class State(TypedDict, total=False):
    k: Annotated[list[str], operator.add]


async def case(store):
    inner = StateGraph(State).add_node("i1", lambda s: {"k": ["i1"]}).add_node("i2", lambda s: {"k": ["i2"]})
    inner.add_edge(START, "i1").add_edge("i1", "i2")
    builder = StateGraph(State).add_node("inner", inner.compile(interrupt_before=["i2"]))
    builder.add_node("other", lambda s: {"k": ["other"]}).add_edge(START, "inner").add_edge(START, "other")
    async with store.saver() as saver:
        graph = builder.compile(saver)
        emitted = [each async for each in graph.astream({"k": []}, thread_id="t", stream_mode="values")]
        returned = await graph.ainvoke({"k": []}, thread_id="u")
    return f"the last of the stream is {returned}", emitted, emitted[-1] == returned


run(case)
