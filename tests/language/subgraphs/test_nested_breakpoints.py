"""`interrupt_before` and `interrupt_after` inside nested graphs, and around them."""

import asyncio
from typing import Any

from durable_graph import START, Checkpointer, Durability, StateGraph
from tests.graphs import THREAD, Nodes, State, nested_state


def beside(calls: Nodes, **inner: Any) -> StateGraph[State]:
    """A nested graph in parallel with a node, and a third node that joins both."""
    builder = StateGraph(State)
    builder.add_node("inner", calls.chain("x", "y").compile(**inner))
    builder.add_node("beside", calls.noting("beside"))
    builder.add_node("after", calls.noting("after"))
    builder.add_edge(START, "inner").add_edge(START, "beside")
    return builder.add_edge(["inner", "beside"], "after")


async def test_a_nested_breakpoint_keeps_the_result_of_a_parallel_node(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()
    graph = beside(calls, interrupt_before=["y"]).compile(saver)

    stopped = await graph.ainvoke({"log": []}, THREAD, durability=durability)
    assert stopped["log"] == ["beside"]
    assert sorted(calls.taken()) == ["beside", "x"]

    assert await graph.ainvoke(None, THREAD, durability=durability) == {"log": ["beside", "x", "y", "after"]}
    assert calls.taken() == ["y", "after"]


async def test_a_nested_breakpoint_after_a_node_stops_the_run(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = beside(calls, interrupt_after=["x"]).compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    assert sorted(calls.taken()) == ["beside", "x"]

    await graph.ainvoke(None, THREAD)
    assert calls.taken() == ["y", "after"]


async def test_a_breakpoint_before_the_sibling_of_a_nested_graph_precedes_the_nested_breakpoint(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()
    graph = beside(calls, interrupt_before=["y"]).compile(saver, interrupt_before=["beside"])

    first = await graph.ainvoke({"log": []}, THREAD, durability=durability)
    assert (first["log"], calls.taken()) == ([], [])
    second = await graph.ainvoke(None, THREAD, durability=durability)
    assert (second["log"], sorted(calls.taken())) == (["beside"], ["beside", "x"])
    third = await graph.ainvoke(None, THREAD, durability=durability)
    assert (third, calls.taken()) == ({"log": ["beside", "x", "y", "after"]}, ["y", "after"])


async def test_a_breakpoint_after_the_sibling_of_a_nested_graph_follows_the_nested_breakpoint(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()
    graph = beside(calls, interrupt_before=["y"]).compile(saver, interrupt_after=["beside"])

    first = await graph.ainvoke({"log": []}, THREAD, durability=durability)
    assert first["log"] == ["beside"]
    second = await graph.ainvoke(None, THREAD, durability=durability)
    assert second["log"] == ["beside", "x", "y"]
    third = await graph.ainvoke(None, THREAD, durability=durability)
    assert third["log"] == ["beside", "x", "y", "after"]
    assert sorted(calls.taken()) == ["after", "beside", "x", "y"]


async def test_a_breakpoint_two_levels_deep_stops_the_run(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()
    innermost = calls.chain("x", "y").compile(interrupt_before=["y"])
    middle = calls.chain(("innermost", innermost)).compile()
    graph = calls.chain("a", ("middle", middle), "b").compile(saver)

    assert await graph.ainvoke({"log": []}, THREAD, durability=durability) == {"log": ["a"]}
    assert calls.taken() == ["a", "x"]
    await graph.ainvoke(None, THREAD, durability=durability)
    assert calls.taken() == ["y", "b"]


async def test_nested_breakpoints_before_every_node_stop_at_each_node(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calls.chain(("inner", calls.chain("x", "y").compile(interrupt_before="*"))).compile(saver)

    await graph.ainvoke({"log": []}, THREAD)
    assert calls.taken() == []
    await graph.ainvoke(None, THREAD)
    assert calls.taken() == ["x"]
    assert await graph.ainvoke(None, THREAD) == {"log": ["x", "y"]}


async def test_breakpoints_of_a_call_are_those_of_the_outer_graph(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calls.chain("a", ("inner", calls.chain("x", "y").compile())).compile(saver)

    await graph.ainvoke({"log": []}, THREAD, interrupt_before=["inner"])

    assert calls.taken() == ["a"]
    assert (await graph.aget_state(THREAD)).next == ("inner",)


async def test_a_nested_breakpoint_in_a_loop_stops_in_each_iteration(saver: Checkpointer) -> None:
    calls = Nodes()

    async def again(state: State) -> str:
        return "inner" if len(state["log"]) < 5 else "__end__"

    builder = StateGraph(State).add_node("inner", calls.chain("x", "y").compile(interrupt_before=["y"]))
    builder.add_edge(START, "inner").add_conditional_edges("inner", again, ["inner", "__end__"])
    graph = builder.compile(saver)

    await graph.ainvoke({"log": []}, THREAD)
    assert calls.taken() == ["x"]
    await graph.ainvoke(None, THREAD)
    assert calls.taken() == ["y", "x"]
    assert (await nested_state(graph)).next == ("y",)
    await graph.ainvoke(None, THREAD)
    assert calls.taken() == ["y"]


async def test_a_stream_stops_at_a_nested_breakpoint(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calls.chain("a", ("inner", calls.chain("x", "y").compile(interrupt_before=["y"])), "b").compile(saver)

    async with asyncio.timeout(20):
        seen = [chunk async for chunk in graph.astream({"log": []}, THREAD, subgraphs=True)]
        rest = [chunk async for chunk in graph.astream(None, THREAD, subgraphs=True)]

    streamed = [(tuple(part.split(":")[0] for part in ns), list(chunk)) for ns, chunk in [*seen, *rest]]
    assert streamed == [
        ((), ["a"]),
        (("inner",), ["x"]),
        ((), ["__interrupt__"]),
        (("inner",), ["y"]),
        ((), ["inner"]),
        ((), ["b"]),
    ]
    assert seen[-1] == ((), {"__interrupt__": ()})
