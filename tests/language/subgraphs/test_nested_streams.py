"""Streams of nested graphs: `subgraphs=True` adds a namespace to each part."""

import asyncio
from typing import Any

from durable_graph import START, Checkpointer, Command, Durability, StateGraph
from tests.graphs import THREAD, Nodes, State


async def parts(graph: Any, given: Any, **options: Any) -> list[tuple[tuple[str, ...], Any]]:
    """Parts of a stream, their namespaces without the numbers of tasks."""
    stream = graph.astream(given, THREAD, subgraphs=True, **options)
    return [(tuple(each.split(":")[0] for each in ns), chunk) async for ns, chunk in stream]


async def test_each_update_comes_with_its_namespace(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()
    innermost = calls.chain("x").compile()
    graph = calls.chain("a", ("middle", calls.chain(("innermost", innermost)).compile())).compile(saver)

    assert await parts(graph, {"log": []}, durability=durability) == [
        ((), {"a": {"log": ["a"]}}),
        (("middle", "innermost"), {"x": {"log": ["x"]}}),
        (("middle",), {"innermost": {"log": ["a", "x"]}}),
        ((), {"middle": {"log": ["a", "a", "x"]}}),
    ]


async def test_a_graph_that_a_node_calls_streams_in_the_namespace_of_the_node(saver: Checkpointer) -> None:
    calls = Nodes()
    inner = calls.chain("x").compile()

    async def call(state: State) -> State:
        for _ in range(2):
            await inner.ainvoke({"log": []})
        return {}

    graph = calls.chain(("call", call)).compile(saver)

    first, second, outer = await parts(graph, {"log": []})

    assert (first, outer) == ((("call",), {"x": {"log": ["x"]}}), ((), {"call": None}))
    # The namespace of the second call also has a number.
    (node, number), values = second
    assert (node, values) == ("call", {"x": {"log": ["x"]}})
    assert number.isdigit()


async def test_a_graph_with_memory_streams_under_the_name_of_its_node(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calls.chain(("inner", calls.chain("x").compile(checkpointer=True))).compile(saver)

    chunks = [ns async for ns, _ in graph.astream({"log": []}, THREAD, subgraphs=True)]

    assert chunks == [("inner",), ()]


async def test_a_stream_without_subgraphs_has_only_parts_of_the_outer_graph(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calls.chain(("inner", calls.chain("x", "y").compile())).compile(saver)

    chunks = [chunk async for chunk in graph.astream({"log": []}, THREAD)]

    assert chunks == [{"inner": {"log": ["x", "y"]}}]


async def test_parts_arrive_while_the_nested_graph_runs(saver: Checkpointer) -> None:
    calls = Nodes()
    may_end = asyncio.Event()

    async def slow(state: State) -> State:
        await may_end.wait()
        return {"log": ["slow"]}

    builder = StateGraph(State)
    builder.add_node("inner", calls.chain("x", ("slow", slow)).compile())
    builder.add_node("beside", calls.noting("beside"))
    builder.add_edge(START, "inner").add_edge(START, "beside")
    graph = builder.compile(saver)

    seen: list[list[str]] = []
    async with asyncio.timeout(20):
        async for _, chunk in graph.astream({"log": []}, THREAD, subgraphs=True):
            seen.append(list(chunk))
            if len(seen) == 2:
                may_end.set()

    assert sorted(seen[:2]) == [["beside"], ["x"]]
    assert seen[2:] == [["slow"], ["inner"]]


async def test_the_values_of_nested_graphs_come_with_their_namespace(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calls.chain(("inner", calls.chain("x").compile())).compile(saver)

    assert await parts(graph, {"log": ["in"]}, stream_mode="values") == [
        ((), {"log": ["in"]}),
        (("inner",), {"log": ["in"]}),
        (("inner",), {"log": ["in", "x"]}),
        ((), {"log": ["in", "in", "x"]}),
    ]


async def test_a_nested_interrupt_is_reported_once(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calls.chain(("inner", calls.chain("x", "ask?").compile())).compile(saver)

    asked = [chunk async for chunk in graph.astream({"log": []}, THREAD)]
    answered = [chunk async for chunk in graph.astream(Command(resume="yes"), THREAD)]

    assert [[each.value for each in chunk["__interrupt__"]] for chunk in asked] == [["ask?"]]
    assert answered == [{"inner": {"log": ["x", "ask=yes"]}}]
