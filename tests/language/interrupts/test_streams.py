"""Streams report interrupts and the updates that follow their answers."""

from typing import Any, TypedDict

from durable_graph import (
    START,
    Checkpointer,
    Command,
    CompiledGraph,
    Durability,
    Interrupt,
    Send,
    StateGraph,
    interrupt,
)
from tests.graphs import Nodes, State, chain, fan_out


async def streamed(graph: CompiledGraph[Any], given: Any, **options: Any) -> list[Any]:
    """The parts that the stream of a run yields; each interrupt is replaced by its value, since ids vary."""
    return [_without_ids(part) async for part in graph.astream(given, thread_id="t", **options)]


def _without_ids(part: Any) -> Any:
    if isinstance(part, tuple):
        return tuple(_without_ids(each) for each in part)
    if isinstance(part, dict):
        return {key: _without_ids(value) for key, value in part.items()}
    return f"<{part.value}>" if isinstance(part, Interrupt) else part


async def test_updates_show_the_interrupt_and_then_the_update_of_the_answered_node(
    saver: Checkpointer, durability: Durability
) -> None:
    nodes = Nodes()
    graph = chain(("before", nodes.noting("before")), ("ask", nodes.asking("ask", "sure?"))).compile(saver)

    assert await streamed(graph, {}, durability=durability) == [
        {"before": {"log": ["before"]}},
        {"__interrupt__": ("<sure?>",)},
    ]
    assert await streamed(graph, Command(resume="yes"), durability=durability) == [{"ask": {"log": ["ask:yes"]}}]


async def test_updates_show_each_interrupt_of_a_node_when_it_is_raised(saver: Checkpointer) -> None:
    graph = chain(("ask", Nodes().asking("ask", {"value": 1}, {"value": 2}))).compile(saver)

    inputs: list[Any] = [{}, Command(resume="a", update={"log": ["u"]}), Command(resume="b")]
    assert [await streamed(graph, given) for given in inputs] == [
        [{"__interrupt__": ("<{'value': 1}>",)}],
        [{"__interrupt__": ("<{'value': 2}>",)}],
        [{"ask": {"log": ["ask:a,b"]}}],
    ]


async def test_values_show_the_state_with_the_interrupt(saver: Checkpointer) -> None:
    class Talk(TypedDict, total=False):
        robot: str
        human: str

    async def robot(state: Talk) -> Talk:
        return {"robot": "beep"}

    async def human(state: Talk) -> Command[Any]:
        return Command(update={"human": interrupt("who are you?")})

    builder = StateGraph(Talk)
    builder.add_node("robot", robot)
    builder.add_node("human", human)
    builder.add_edge(START, "robot")
    builder.add_edge("robot", "human")
    graph = builder.compile(saver)
    both: list[Any] = ["updates", "values"]

    first = await streamed(graph, {}, stream_mode=both)
    second = await streamed(graph, Command(resume="a human"), stream_mode=both)

    assert first[-4:] == [
        ("updates", {"robot": {"robot": "beep"}}),
        ("values", {"robot": "beep"}),
        ("updates", {"__interrupt__": ("<who are you?>",)}),
        ("values", {"robot": "beep", "__interrupt__": ("<who are you?>",)}),
    ]
    assert second == [
        ("values", {"robot": "beep"}),
        ("updates", {"human": {"human": "a human"}}),
        ("values", {"robot": "beep", "human": "a human"}),
    ]


async def test_a_breakpoint_is_reported_as_a_stop_without_interrupts(
    saver: Checkpointer, durability: Durability
) -> None:
    nodes = Nodes()
    graph = chain(("a", nodes.noting("a")), ("b", nodes.noting("b"))).compile(saver, interrupt_before=["b"])

    assert await streamed(graph, {}, durability=durability) == [{"a": {"log": ["a"]}}, {"__interrupt__": ()}]
    assert await streamed(graph, None, durability=durability) == [{"b": {"log": ["b"]}}]


async def test_a_breakpoint_after_a_node_is_reported_after_its_update(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = chain(("a", nodes.noting("a")), ("b", nodes.noting("b"))).compile(saver, interrupt_after=["a"])

    assert await streamed(graph, {}) == [{"a": {"log": ["a"]}}, {"__interrupt__": ()}]
    assert await streamed(graph, None) == [{"b": {"log": ["b"]}}]


async def test_an_answered_node_with_a_finished_sibling_is_reported_once(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = fan_out(("a", nodes.noting("a")), ("ask", nodes.asking("ask", "sure?"))).compile(saver)

    first = await streamed(graph, {})
    second = await streamed(graph, Command(resume="yes"))

    assert first == [{"a": {"log": ["a"]}}, {"__interrupt__": ("<sure?>",)}]
    assert [part for part in second if "ask" in part] == [{"ask": {"log": ["ask:yes"]}}]


async def test_every_open_interrupt_is_reported_at_the_end_of_a_run(saver: Checkpointer) -> None:
    async def work(job: Any) -> State:
        return {"log": [interrupt(job)]}

    builder = StateGraph(State)
    builder.add_node("work", work)
    builder.add_conditional_edges(START, lambda _: [Send("work", job) for job in "xyz"], ["work"])
    graph = builder.compile(saver)

    parts = await streamed(graph, {})

    assert sorted(question for part in parts for question in part["__interrupt__"]) == ["<x>", "<y>", "<z>"]


async def test_a_stream_resumed_without_an_answer_reports_the_same_interrupt(saver: Checkpointer) -> None:
    graph = chain(("ask", Nodes().asking("ask", "sure?"))).compile(saver)
    first = await streamed(graph, {})

    assert await streamed(graph, None) == first == [{"__interrupt__": ("<sure?>",)}]


async def test_an_interrupt_of_a_nested_graph_is_reported_once_at_each_level(
    saver: Checkpointer, durability: Durability
) -> None:
    inner = chain(("ask", Nodes().asking("ask", "sure?"))).compile()
    middle = chain(("inner", inner)).compile()
    graph = chain(("middle", middle)).compile(saver)

    assert [(len(ns), part) for ns, part in await streamed(graph, {}, subgraphs=True, durability=durability)] == [
        (depth, {"__interrupt__": ("<sure?>",)}) for depth in (2, 1, 0)
    ]
