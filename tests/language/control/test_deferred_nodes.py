"""A deferred node waits until no other node is left to run."""

import operator
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import END, START, Checkpointer, Command, Durability, Send, StateGraph
from tests.graphs import Nodes, State, chain, questions_of


def uneven(nodes: Nodes, *, is_join: bool = False) -> StateGraph[State]:
    """A graph of a long and a short branch, which both lead to a deferred node."""
    builder = StateGraph(State)
    for name in ("start", "long 1", "long 2", "short"):
        builder.add_node(name, nodes.noting(name))
    builder.add_node("end", nodes.noting("end"), defer=True)
    builder.add_edge(START, "start")
    builder.add_edge("start", "long 1")
    builder.add_edge("long 1", "long 2")
    builder.add_edge("start", "short")
    if is_join:
        builder.add_edge(["long 2", "short"], "end")
    else:
        builder.add_edge("long 2", "end")
        builder.add_edge("short", "end")
    return builder


@pytest.mark.parametrize("is_join", [False, True])
async def test_a_deferred_node_runs_once_after_the_longest_branch(
    saver: Checkpointer, durability: Durability, is_join: bool
) -> None:
    nodes = Nodes()
    graph = uneven(nodes, is_join=is_join).compile(saver)

    result = await graph.ainvoke({}, thread_id="t", durability=durability)

    assert result == {"log": ["start", "long 1", "short", "long 2", "end"]}
    assert nodes.calls["end"] == 1


async def test_a_deferred_node_waits_without_a_checkpointer() -> None:
    result = await uneven(Nodes()).compile().ainvoke({})

    assert result == {"log": ["start", "long 1", "short", "long 2", "end"]}


async def test_a_node_that_is_not_deferred_runs_whenever_an_edge_leads_to_it(saver: Checkpointer) -> None:
    nodes = Nodes()
    builder = StateGraph(State)
    for name in ("a", "b", "end"):
        builder.add_node(name, nodes.noting(name))
    builder.add_edge(START, "a")
    builder.add_edge("a", "b")
    builder.add_edge("a", "end")
    builder.add_edge("b", "end")

    assert (await builder.compile(saver).ainvoke({}, thread_id="t"))["log"] == ["a", "b", "end", "end"]


async def test_the_successor_of_a_deferred_node_runs_after_it(saver: Checkpointer, durability: Durability) -> None:
    nodes = Nodes()
    builder = uneven(nodes)
    builder.add_node("after", nodes.noting("after"))
    builder.add_edge("end", "after")

    result = await builder.compile(saver).ainvoke({}, thread_id="t", durability=durability)

    assert result["log"][-2:] == ["end", "after"]


async def test_a_deferred_node_may_start_another_round_and_is_deferred_again(
    saver: Checkpointer, durability: Durability
) -> None:
    nodes = Nodes()
    builder = uneven(nodes)
    builder.add_conditional_edges(
        "end", lambda state: "start" if state["log"].count("end") < 2 else END, ["start", END]
    )

    result = await builder.compile(saver).ainvoke({}, thread_id="t", durability=durability)

    assert result["log"] == ["start", "long 1", "short", "long 2", "end"] * 2


async def test_all_waiting_deferred_nodes_run_in_one_superstep(saver: Checkpointer) -> None:
    nodes = Nodes()
    builder = StateGraph(State)
    for name in ("a", "b"):
        builder.add_node(name, nodes.noting(name))
    for name in ("y", "x"):
        builder.add_node(name, nodes.noting(name), defer=True)
    builder.add_edge(START, "a")
    builder.add_edge(START, "x")
    builder.add_edge("a", "b")
    builder.add_edge("a", "y")

    result = await builder.compile(saver).ainvoke({}, thread_id="t")

    assert result == {"log": ["a", "b", "x", "y"]}
    steps = [each.next async for each in builder.compile(saver).aget_state_history(thread_id="t")]
    assert steps == [(), ("x", "y"), ("b",), ("a",)]


async def test_a_deferred_node_that_is_the_only_node_runs(saver: Checkpointer) -> None:
    builder = StateGraph(State)
    builder.add_node("a", Nodes().noting("a"), defer=True)
    builder.add_edge(START, "a")

    assert await builder.compile(saver).ainvoke({}, thread_id="t") == {"log": ["a"]}


async def test_a_deferred_target_of_a_goto_waits(saver: Checkpointer) -> None:
    nodes = Nodes()

    async def go(state: State) -> Command[Any]:
        return Command(update={"log": ["go"]}, goto=["late", "soon"])

    builder = StateGraph(State)
    builder.add_node("go", go, destinations=("late", "soon"))
    builder.add_node("late", nodes.noting("late"), defer=True)
    builder.add_node("soon", nodes.noting("soon"))
    builder.add_node("sooner", nodes.noting("then"))
    builder.add_edge(START, "go")
    builder.add_edge("soon", "sooner")

    assert await builder.compile(saver).ainvoke({}, thread_id="t") == {"log": ["go", "soon", "then", "late"]}


async def test_a_deferred_node_sees_the_results_of_all_sends(saver: Checkpointer, durability: Durability) -> None:
    class Work(TypedDict, total=False):
        results: Annotated[list[int], operator.add]
        total: int

    async def work(job: Any) -> dict[str, Any]:
        return {"results": [job]}

    async def again(job: Any) -> Command[Any]:
        return Command(goto=[Send("work", job * 10)], update={"results": [job]})

    async def total(state: Work) -> Work:
        return {"total": sum(state["results"])}

    builder = StateGraph(Work)
    builder.add_node("work", work)
    builder.add_node("again", again, destinations=("work",))
    builder.add_node("total", total, defer=True)
    builder.add_conditional_edges(
        START, lambda _: [Send("work", 1), Send("again", 2), Send("work", 3)], ["work", "again"]
    )
    builder.add_edge("work", "total")

    result = await builder.compile(saver).ainvoke({}, thread_id="t", durability=durability)

    assert result == {"results": [1, 2, 3, 20], "total": 26}


async def test_a_deferred_node_still_waits_after_a_failure(saver: Checkpointer, durability: Durability) -> None:
    failing = True
    nodes = Nodes()

    async def flaky(state: State) -> State:
        if failing:
            message = "not yet"
            raise ValueError(message)
        return {"log": ["flaky"]}

    builder = StateGraph(State)
    builder.add_node("a", nodes.noting("a"))
    builder.add_node("flaky", flaky)
    builder.add_node("end", nodes.noting("end"), defer=True)
    builder.add_edge(START, "a")
    builder.add_edge(START, "end")
    builder.add_edge("a", "flaky")
    graph = builder.compile(saver)
    with pytest.raises(ValueError, match="not yet"):
        await graph.ainvoke({}, thread_id="t", durability=durability)
    assert nodes.calls["end"] == 0
    failing = False

    assert await graph.ainvoke(None, thread_id="t", durability=durability) == {"log": ["a", "flaky", "end"]}


async def test_a_deferred_node_still_waits_after_an_interrupt(saver: Checkpointer, durability: Durability) -> None:
    nodes = Nodes()
    builder = StateGraph(State)
    builder.add_node("ask", nodes.asking("ask", "sure?"))
    builder.add_node("then", nodes.noting("then"))
    builder.add_node("end", nodes.noting("end"), defer=True)
    builder.add_edge(START, "ask")
    builder.add_edge(START, "end")
    builder.add_edge("ask", "then")
    graph = builder.compile(saver)

    assert questions_of(await graph.ainvoke({}, thread_id="t", durability=durability)) == ["sure?"]
    result = await graph.ainvoke(Command(resume="yes"), thread_id="t", durability=durability)

    assert result == {"log": ["ask:yes", "then", "end"]}


async def test_a_breakpoint_stops_the_run_before_a_deferred_node(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = uneven(nodes).compile(saver, interrupt_after=["long 2"])

    first = await graph.ainvoke({}, thread_id="t")
    assert first["log"] == ["start", "long 1", "short", "long 2"]
    assert (await graph.aget_state(thread_id="t")).next == ("end",)
    assert (await graph.ainvoke(None, thread_id="t"))["log"][-1] == "end"


async def test_new_input_discards_the_waiting_deferred_node_of_a_failed_run(saver: Checkpointer) -> None:
    failing = True
    nodes = Nodes()

    async def flaky(state: State) -> State:
        if failing:
            message = "not yet"
            raise ValueError(message)
        return {"log": ["fine"]}

    builder = StateGraph(State)
    builder.add_node("flaky", flaky)
    builder.add_node("end", nodes.noting("end"), defer=True)
    builder.add_conditional_edges(START, lambda _: ["flaky", "end"], ["flaky", "end"])
    graph = builder.compile(saver)
    with pytest.raises(ValueError, match="not yet"):
        await graph.ainvoke({}, thread_id="t")
    failing = False

    assert await graph.ainvoke({"log": ["new"]}, thread_id="t") == {"log": ["new", "fine", "end"]}
    assert nodes.calls["end"] == 1


async def test_a_deferred_node_of_a_nested_graph_waits_for_that_graph_only(saver: Checkpointer) -> None:
    nodes = Nodes()
    inner = uneven(nodes).compile()

    async def call(state: State) -> State:
        return {"log": (await inner.ainvoke({}))["log"]}

    graph = chain(("call", call), ("outer", nodes.noting("outer"))).compile(saver)

    assert (await graph.ainvoke({}, thread_id="t"))["log"] == ["start", "long 1", "short", "long 2", "end", "outer"]
