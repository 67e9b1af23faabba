"""Nested graphs interrupt all of their callers and resume where they stopped."""

import operator
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    AmbiguousResumeError,
    Checkpointer,
    Command,
    CompiledGraph,
    Durability,
    GraphBubbleUp,
    GraphInterrupt,
    InterruptAnsweredError,
    Send,
    StateGraph,
    interrupt,
)
from tests.graphs import Nodes, State, chain, fan_out, interrupt_ids, interrupts_of, questions_of


class Job(TypedDict, total=False):
    """The state of a nested graph: it shares no key with the state of its caller."""

    name: str
    notes: Annotated[list[str], operator.add]


def asking_job(nodes: Nodes) -> CompiledGraph[Job]:
    """The nodes begin, ask and end, of which `ask` interrupts."""

    async def begin(job: Job) -> Job:
        nodes.calls["begin"] += 1
        return {"notes": ["begun"]}

    async def ask(job: Job) -> Job:
        nodes.calls["ask"] += 1
        return {"notes": [interrupt(f"{job['name']}?")]}

    async def end(job: Job) -> Job:
        nodes.calls["end"] += 1
        return {"notes": ["ended"]}

    builder = StateGraph(Job)
    builder.add_sequence([("begin", begin), ("ask", ask), ("end", end)])
    builder.add_edge(START, "begin")
    return builder.compile()


def calling(inner: CompiledGraph[Job], nodes: Nodes, *jobs: str) -> Any:
    """A node that runs the nested graph for each of the jobs sequentially."""

    async def call(state: State) -> State:
        nodes.calls["call"] += 1
        results = [await inner.ainvoke({"name": job}) for job in jobs]
        return {"log": [f"{result['name']}:{'/'.join(result['notes'])}" for result in results]}

    return call


async def test_a_graph_as_a_node_interrupts_through_its_parent(saver: Checkpointer, durability: Durability) -> None:
    nodes = Nodes()
    inner = chain(("before", nodes.noting("before")), ("ask", nodes.asking("ask", "sure?"))).compile()

    class Outer(TypedDict, total=False):
        log: list[str]

    builder = StateGraph(Outer)
    builder.add_node("inner", inner)
    builder.add_edge(START, "inner")
    graph = builder.compile(saver)

    assert questions_of(await graph.ainvoke({"log": ["in"]}, thread_id="t", durability=durability)) == ["sure?"]
    result = await graph.ainvoke(Command(resume="yes"), thread_id="t", durability=durability)

    assert result == {"log": ["in", "before", "ask:yes"]}
    assert nodes.calls == {"before": 1, "ask": 2}


async def test_a_graph_that_a_node_calls_interrupts_and_does_not_start_over(
    saver: Checkpointer, durability: Durability
) -> None:
    nodes = Nodes()
    graph = chain(("call", calling(asking_job(nodes), nodes, "x"))).compile(saver)

    assert questions_of(await graph.ainvoke({}, thread_id="t", durability=durability)) == ["x?"]
    result = await graph.ainvoke(Command(resume="fine"), thread_id="t", durability=durability)

    assert result == {"log": ["x:begun/fine/ended"]}
    assert nodes.calls == {"call": 2, "begin": 1, "ask": 2, "end": 1}


async def test_sequential_calls_of_a_nested_graph_interrupt_one_at_a_time(
    saver: Checkpointer, durability: Durability
) -> None:
    nodes = Nodes()
    graph = chain(("call", calling(asking_job(nodes), nodes, "x", "y"))).compile(saver)

    first = await graph.ainvoke({}, thread_id="t", durability=durability)
    second = await graph.ainvoke(Command(resume="1"), thread_id="t", durability=durability)
    third = await graph.ainvoke(Command(resume="2"), thread_id="t", durability=durability)

    assert (questions_of(first), questions_of(second)) == (["x?"], ["y?"])
    assert third == {"log": ["x:begun/1/ended", "y:begun/2/ended"]}
    assert nodes.calls == {"call": 3, "begin": 2, "ask": 4, "end": 2}


async def test_parallel_interrupts_of_one_nested_graph_have_different_ids(saver: Checkpointer) -> None:
    nodes = Nodes()
    inner = fan_out(("a", nodes.asking("a", "a?")), ("b", nodes.asking("b", "b?"))).compile()
    builder = StateGraph(State)
    builder.add_node("inner", inner)
    builder.add_edge(START, "inner")
    graph = builder.compile(saver)
    found = interrupt_ids(await graph.ainvoke({}, thread_id="t"))
    assert list(found) == ["a?", "b?"]

    with pytest.raises(AmbiguousResumeError):
        await graph.ainvoke(Command(resume="which?"), thread_id="t")
    result = await graph.ainvoke(Command(resume={found["a?"]: 1, found["b?"]: 2}), thread_id="t")

    assert result["log"][-2:] == ["a:1", "b:2"]


async def test_a_finished_node_of_a_nested_graph_does_not_run_again(
    saver: Checkpointer, durability: Durability
) -> None:
    nodes = Nodes()
    inner = fan_out(("a", nodes.asking("a", "a?")), ("b", nodes.asking("b", "b?"))).compile()
    builder = StateGraph(State)
    builder.add_node("inner", inner)
    builder.add_edge(START, "inner")
    graph = builder.compile(saver)
    found = interrupt_ids(await graph.ainvoke({}, thread_id="t", durability=durability))

    partly = await graph.ainvoke(Command(resume={found["a?"]: "yes"}), thread_id="t", durability=durability)
    assert interrupt_ids(partly) == {"b?": found["b?"]}
    result = await graph.ainvoke(Command(resume={found["b?"]: "ok"}), thread_id="t", durability=durability)

    assert result["log"] == ["a:yes", "b:ok"]
    assert nodes.calls == {"a": 2, "b": 2}


async def test_parallel_nested_graphs_are_answered_separately(saver: Checkpointer, durability: Durability) -> None:
    nodes = Nodes()
    inner = asking_job(nodes)

    class Jobs(TypedDict, total=False):
        notes: Annotated[list[str], operator.add]

    builder = StateGraph(Jobs)
    builder.add_node("inner", inner)
    builder.add_conditional_edges(START, lambda _: [Send("inner", {"name": name}) for name in "xy"], ["inner"])
    graph = builder.compile(saver)
    found = interrupt_ids(await graph.ainvoke({}, thread_id="t", durability=durability))
    assert list(found) == ["x?", "y?"]

    await graph.ainvoke(Command(resume={found["y?"]: "2"}), thread_id="t", durability=durability)
    snapshot = await graph.aget_state(thread_id="t")
    assert (questions_of(snapshot.interrupts), snapshot.next) == (["x?"], ("inner",))
    result = await graph.ainvoke(Command(resume="1"), thread_id="t", durability=durability)

    assert result == {"notes": ["begun", "1", "ended", "begun", "2", "ended"]}
    assert nodes.calls == {"begin": 2, "ask": 4, "end": 2}


async def test_an_interrupt_three_graphs_deep_is_answered_through_the_outermost_graph(
    saver: Checkpointer, durability: Durability
) -> None:
    nodes = Nodes()
    innermost = chain(("ask", nodes.asking("ask", "first?", "second?"))).compile()

    async def middle(state: State) -> State:
        nodes.calls["middle"] += 1
        return {"log": [f"middle({(await innermost.ainvoke({}))['log'][0]})"]}

    between = chain(("middle", middle)).compile()

    async def outer(state: State) -> State:
        nodes.calls["outer"] += 1
        return {"log": [f"outer({(await between.ainvoke({}))['log'][0]})"]}

    graph = chain(("outer", outer)).compile(saver)

    assert questions_of(await graph.ainvoke({}, thread_id="t", durability=durability)) == ["first?"]
    assert questions_of(await graph.ainvoke(Command(resume=1), thread_id="t", durability=durability)) == ["second?"]
    result = await graph.ainvoke(Command(resume=2), thread_id="t", durability=durability)

    assert result == {"log": ["outer(middle(ask:1,2))"]}
    assert nodes.calls == {"outer": 3, "middle": 3, "ask": 3}


async def test_a_nested_interrupt_is_shown_at_the_calling_task(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = chain(("call", calling(asking_job(nodes), nodes, "x"))).compile(saver)
    result = await graph.ainvoke({}, thread_id="t")

    snapshot = await graph.aget_state(thread_id="t")

    assert snapshot.next == ("call",)
    assert snapshot.interrupts == snapshot.tasks[0].interrupts == tuple(interrupts_of(result))


async def test_a_second_answer_to_a_nested_interrupt_is_refused_with_the_first(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = chain(("call", calling(asking_job(nodes), nodes, "x", "y"))).compile(saver)
    first = interrupt_ids(await graph.ainvoke({}, thread_id="t"))["x?"]
    await graph.ainvoke(Command(resume={first: "fine"}), thread_id="t")

    with pytest.raises(InterruptAnsweredError) as refused:
        await graph.ainvoke(Command(resume={first: "not fine"}), thread_id="t")

    assert refused.value.answer == "fine"


async def test_resuming_without_an_answer_runs_nothing_of_a_nested_graph(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = chain(("call", calling(asking_job(nodes), nodes, "x"))).compile(saver)
    first = await graph.ainvoke({}, thread_id="t")

    assert await graph.ainvoke(None, thread_id="t") == first
    assert nodes.calls == {"call": 1, "begin": 1, "ask": 1}


async def test_a_breakpoint_in_a_nested_graph_stops_the_whole_run(saver: Checkpointer, durability: Durability) -> None:
    nodes = Nodes()
    inner = chain(("a", nodes.noting("a")), ("b", nodes.noting("b"))).compile(interrupt_before=["b"])
    builder = StateGraph(State)
    builder.add_node("inner", inner)
    builder.add_node("beside", nodes.noting("beside"))
    builder.add_node("after", nodes.noting("after"))
    builder.add_edge(START, "inner")
    builder.add_edge(START, "beside")
    builder.add_edge(["inner", "beside"], "after")
    graph = builder.compile(saver)

    first = await graph.ainvoke({}, thread_id="t", durability=durability)
    assert first["log"] == ["beside"]
    result = await graph.ainvoke(None, thread_id="t", durability=durability)

    assert result["log"] == ["beside", "a", "b", "after"]
    assert nodes.calls == {"a": 1, "b": 1, "beside": 1, "after": 1}


async def test_an_interrupt_of_a_nested_graph_is_not_swallowed_by_except_exception(saver: Checkpointer) -> None:
    """Reference P18."""
    nodes = Nodes()
    inner = asking_job(nodes)

    async def call(state: State) -> State:
        try:
            result = await inner.ainvoke({"name": "x"})
        except Exception:
            return {"log": ["swallowed"]}
        return {"log": result["notes"]}

    graph = chain(("call", call)).compile(saver)

    assert questions_of(await graph.ainvoke({}, thread_id="t")) == ["x?"]
    assert (await graph.ainvoke(Command(resume="fine"), thread_id="t"))["log"] == ["begun", "fine", "ended"]


async def test_the_exception_of_an_interrupted_nested_graph_has_its_interrupts(saver: Checkpointer) -> None:
    """Code that has to clean up may inspect the exception and raises it again."""
    nodes = Nodes()
    inner = asking_job(nodes)
    passed: list[list[Any]] = []

    async def call(state: State) -> State:
        try:
            result = await inner.ainvoke({"name": "x"})
        except GraphBubbleUp as unwinding:
            passed.append(questions_of(unwinding.interrupts) if isinstance(unwinding, GraphInterrupt) else [])
            raise
        return {"log": result["notes"]}

    graph = chain(("call", call)).compile(saver)

    assert questions_of(await graph.ainvoke({}, thread_id="t")) == ["x?"]
    assert passed == [["x?"]]
    assert (await graph.ainvoke(Command(resume="fine"), thread_id="t"))["log"] == ["begun", "fine", "ended"]
