"""Interrupts from every kind of code that may interrupt, parallel and nested, each answered by a rebuilt graph."""

from typing import Any

import pytest

from durable_graph import (
    END,
    START,
    Checkpointer,
    Command,
    CompiledGraph,
    Durability,
    InterruptAnsweredError,
    NodeError,
    RetryPolicy,
    Send,
    StateGraph,
    UnknownInterruptError,
    entrypoint,
    interrupt,
    task,
)
from tests.graphs import THREAD, Nodes, State, interrupt_ids, interrupts_of, nested_state, questions_of

AT_ONCE = RetryPolicy(max_attempts=3, initial_interval=0, jitter=False)


def every_kind(calls: Nodes, saver: Checkpointer) -> CompiledGraph[Any]:
    """A superstep of a node, a node with a task, a nested graph, a node with a router and two Sends: all interrupt."""

    @task
    async def asks() -> Any:
        calls.note("task")
        return interrupt("b?")

    async def with_task(state: State) -> State:
        calls.note("b")
        return {"log": [f"b={await asks()}"]}

    async def route(state: State) -> Send:
        calls.note("router")
        return Send("routed", interrupt("d?"))

    async def routed(answer: Any) -> State:
        return {"log": [f"d={answer}"]}

    async def fan(state: State) -> list[Send]:
        return [Send("sent", "e"), Send("sent", "f")]

    async def sent(name: Any) -> State:
        calls.note(name)
        return {"log": [f"{name}={interrupt(f'{name}?')}"]}

    builder = calls.chain("begin")
    builder.add_node("a", calls.asking("a")).add_node("b", with_task)
    builder.add_node("c", calls.chain("n", ("c", calls.asking("c"))).compile())
    builder.add_node("d", calls.noting("d")).add_node("routed", routed).add_node("sent", sent)
    for name in "abcd":
        builder.add_edge("begin", name)
    builder.add_conditional_edges("d", route, ["routed"])
    builder.add_conditional_edges("begin", fan, ["sent"])
    return builder.compile(saver)


RUN_BY = {"a": ["a"], "b": ["b", "task"], "c": ["c"], "d": ["router"], "e": ["e"], "f": ["f"]}
"""The names of the code that runs again after an answer, by the name of the interrupt."""


@pytest.mark.parametrize("order", [["a", "b", "c", "d", "e", "f"], ["f", "e", "d", "c", "b", "a"], ["bd", "fac", "e"]])
async def test_a_map_of_some_answers_runs_the_answered_code_and_keeps_the_other_interrupts(
    saver: Checkpointer, durability: Durability, order: list[str]
) -> None:
    calls = Nodes()
    found = interrupt_ids(await every_kind(calls, saver).ainvoke({"log": []}, THREAD, durability=durability))
    assert sorted(found) == ["a?", "b?", "c?", "d?", "e?", "f?"]
    left = set("abcdef")

    for names in order:
        calls.taken()
        answers = {found[f"{name}?"]: name.upper() for name in names}
        result = await every_kind(calls, saver).ainvoke(Command(resume=answers), THREAD, durability=durability)
        left -= set(names)
        assert sorted(calls.taken()) == sorted(run for name in names for run in RUN_BY[name])
        if left:
            assert interrupt_ids(result) == {f"{name}?": found[f"{name}?"] for name in left}

    nested = ["begin", "n", "c=C"]
    assert result["log"] == ["begin", "a=A", "b=B", *nested, "d", "e=E", "f=F", "d=D"]


async def test_a_map_of_some_answers_reaches_interrupts_of_nested_graphs(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()

    def built() -> CompiledGraph[Any]:
        both = StateGraph(State)
        for name in "pq":
            both.add_node(name, calls.asking(name)).add_edge(START, name)
        builder = StateGraph(State).add_node("both", both.compile())
        builder.add_node("remembers", calls.chain("r?", "s?").compile(checkpointer=True))
        return builder.add_edge(START, "both").add_edge(START, "remembers").compile(saver)

    found = interrupt_ids(await built().ainvoke({"log": []}, THREAD, durability=durability))
    assert sorted(found) == ["p?", "q?", "r?"]
    calls.taken()

    result = await built().ainvoke(Command(resume={found["p?"]: 1, found["r?"]: 2}), THREAD, durability=durability)
    found |= interrupt_ids(result)
    assert sorted(questions_of(result)) == ["q?", "s?"]
    assert sorted(calls.taken()) == ["p", "r", "s"]
    with pytest.raises(InterruptAnsweredError):
        await built().ainvoke(Command(resume={found["p?"]: "again", found["q?"]: 3}), THREAD, durability=durability)
    assert questions_of(await built().ainvoke(Command(resume={found["s?"]: 4}), THREAD, durability=durability)) == [
        "q?"
    ]
    result = await built().ainvoke(Command(resume={found["q?"]: 3}), THREAD, durability=durability)

    assert result == {"log": ["p=1", "q=3", "r=2", "s=4"]}
    assert calls.taken() == ["s", "q"]


async def test_routers_of_a_nested_graph_interrupt(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()

    async def begin(state: State) -> Any:
        return interrupt("where?")

    async def route(state: State) -> Any:
        return interrupt("and then?")

    def built() -> CompiledGraph[Any]:
        inner = StateGraph(State)
        for name in ("left", "right", "last"):
            inner.add_node(name, calls.noting(name))
        inner.set_conditional_entry_point(begin, ["left", "right"])
        inner.add_conditional_edges("left", route, ["last"]).add_conditional_edges("right", route, ["last"])
        return calls.chain(("inner", inner.compile()), "after").compile(saver)

    assert questions_of(await built().ainvoke({"log": []}, THREAD, durability=durability)) == ["where?"]
    assert questions_of(await built().ainvoke(Command(resume="right"), THREAD, durability=durability)) == ["and then?"]
    await built().ainvoke(Command(resume="last"), THREAD, durability=durability)

    assert calls.taken() == ["right", "last", "after"]


async def test_an_error_handler_of_a_nested_graph_interrupts(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()

    async def bad(state: State) -> State:
        calls.note("bad")
        raise ConnectionError

    async def handle(state: State, error: NodeError) -> State:
        return {"log": [interrupt(f"{error.node} failed, go on?")]}

    def built() -> CompiledGraph[Any]:
        inner = StateGraph(State).add_node("bad", bad, error_handler=handle).add_edge(START, "bad").compile()
        return calls.chain(("inner", inner), "after").compile(saver)

    assert questions_of(await built().ainvoke({"log": []}, THREAD, durability=durability)) == ["bad failed, go on?"]
    result = await built().ainvoke(Command(resume="yes"), THREAD, durability=durability)

    assert result == {"log": ["yes", "after"]}
    assert calls.taken() == ["bad", "after"]


async def test_a_deferred_node_interrupts_after_all_other_nodes(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()

    def built() -> CompiledGraph[Any]:
        builder = calls.chain("a", "b")
        builder.add_node("last", calls.asking("last"), defer=True)
        return builder.add_edge("a", "last").add_edge("b", "last").compile(saver)

    assert questions_of(await built().ainvoke({"log": []}, THREAD, durability=durability)) == ["last?"]
    result = await built().ainvoke(Command(resume="yes"), THREAD, durability=durability)

    assert result == {"log": ["a", "b", "last=yes"]}
    assert calls.taken() == ["a", "b", "last", "last"]


async def test_a_join_waits_for_interrupted_sources(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()

    def built() -> CompiledGraph[Any]:
        builder = calls.chain("a", "c?")
        builder.add_node("b", calls.asking("b")).add_edge(START, "b")
        builder.add_node("joined", calls.noting("joined"))
        return builder.add_edge(["b", "c"], "joined").compile(saver)

    assert questions_of(await built().ainvoke({"log": []}, THREAD, durability=durability)) == ["b?"]
    assert questions_of(await built().ainvoke(Command(resume="1"), THREAD, durability=durability)) == ["c?"]
    result = await built().ainvoke(Command(resume="2"), THREAD, durability=durability)

    assert result == {"log": ["a", "b=1", "c=2", "joined"]}
    assert calls.taken().count("joined") == 1


async def test_graphs_in_tasks_of_entrypoints_in_nested_graphs_interrupt(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()

    def built() -> CompiledGraph[Any]:
        innermost = calls.chain("x", "ask?").compile()

        @task
        async def run(number: int) -> list[str]:
            result: list[str] = (await innermost.ainvoke({"log": [f"{number}"]}))["log"]
            return result

        @entrypoint()
        async def flow(number: int) -> list[str]:
            return [*await run(number), *await run(number + 1)]

        async def node(state: State) -> State:
            return {"log": await flow.ainvoke(1)}

        return calls.chain(("middle", calls.chain("m", ("node", node)).compile()), "after").compile(saver)

    assert questions_of(await built().ainvoke({"log": []}, THREAD, durability=durability)) == ["ask?"]
    assert questions_of(await built().ainvoke(Command(resume="yes"), THREAD, durability=durability)) == ["ask?"]
    result = await built().ainvoke(Command(resume="no"), THREAD, durability=durability)

    assert result == {"log": ["m", "1", "x", "ask=yes", "2", "x", "ask=no", "after"]}
    assert calls.taken() == ["m", "x", "ask", "ask", "x", "ask", "ask", "after"]


@pytest.mark.parametrize("memory", [None, True, False])
async def test_an_answer_in_a_nested_graph_is_valid_for_every_attempt_of_the_calling_node(
    saver: Checkpointer, durability: Durability, memory: bool | None
) -> None:
    """P20, which the reference describes for a single graph."""
    calls = Nodes()
    failures = iter([True, True, True, True, False])

    def built() -> CompiledGraph[Any]:
        inner = calls.chain("x", "ask?", "y").compile(checkpointer=memory)

        async def call(state: State) -> State:
            result = await inner.ainvoke({"log": []})
            if next(failures):
                raise ConnectionError
            return {"log": result["log"]}

        builder = StateGraph(State).add_node("call", call, retry_policy=AT_ONCE).add_edge(START, "call")
        return builder.compile(saver)

    assert questions_of(await built().ainvoke({"log": []}, THREAD, durability=durability)) == ["ask?"]
    with pytest.raises(ConnectionError):
        await built().ainvoke(Command(resume="yes"), THREAD, durability=durability)
    with pytest.raises(InterruptAnsweredError):
        await built().ainvoke(Command(resume="no"), THREAD, durability=durability)

    assert await built().ainvoke(None, THREAD, durability=durability) == {"log": ["x", "ask=yes", "y"]}
    if memory is not False:
        assert calls.taken() == ["x", "ask", "ask", "y"]


async def test_equal_interrupts_of_nodes_tasks_and_nested_graphs_have_different_ids(saver: Checkpointer) -> None:
    """Nodes, tasks and nested graphs interrupt twice each, in each iteration of a loop."""

    @task
    async def asks() -> Any:
        return interrupt("same")

    async def asks_twice(state: State) -> State:
        return {"log": [interrupt("same"), interrupt("same")]}

    inner = Nodes().chain(("asks_twice", asks_twice)).compile()

    async def node(state: State) -> State:
        answers = [interrupt("same"), interrupt("same"), await asks(), await asks()]
        for _ in range(2):
            answers += (await inner.ainvoke({"log": []}))["log"]
        return {"log": answers}

    async def again(state: State) -> str:
        return "node" if len(state["log"]) == 8 else END

    builder = Nodes().chain(("node", node))
    graph = builder.add_conditional_edges("node", again, ["node", END]).compile(saver)
    seen: list[str] = []

    result = await graph.ainvoke({"log": []}, THREAD)
    while "__interrupt__" in result:
        (question,) = interrupts_of(result)
        seen.append(question.id)
        result = await graph.ainvoke(Command(resume={question.id: f"{len(seen)}"}), THREAD)

    assert result == {"log": [f"{place}" for place in range(1, 17)]}
    assert len(set(seen)) == 16


async def test_a_nested_interrupt_with_a_failing_sibling_is_reported_after_the_sibling_succeeds(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()
    is_failing = True

    async def bad(state: State) -> State:
        if is_failing:
            raise ConnectionError
        return {"log": ["bad"]}

    inner = StateGraph(State).add_node("ask", calls.asking("ask")).add_node("bad", bad)
    inner.add_edge(START, "ask").add_edge(START, "bad")
    graph = calls.chain(("inner", inner.compile()), "after").compile(saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({"log": []}, THREAD, durability=durability)
    (question,) = (await nested_state(graph)).interrupts
    with pytest.raises(UnknownInterruptError, match=question.id):
        await graph.ainvoke(Command(resume={question.id: "too soon"}), THREAD, durability=durability)
    is_failing = False

    assert questions_of(await graph.ainvoke(None, THREAD, durability=durability)) == ["ask?"]
    result = await graph.ainvoke(Command(resume="yes"), THREAD, durability=durability)

    assert result == {"log": ["ask=yes", "bad", "after"]}
    assert calls.taken() == ["ask", "ask", "after"]
