"""The state of a nested graph without its own checkpointer is kept during an invocation and new in the next one."""

import operator
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    Durability,
    ReplayMismatchError,
    RetryPolicy,
    StateGraph,
    interrupt,
)
from tests.graphs import THREAD, Nodes, State, questions_of


class Result(TypedDict, total=False):
    result: str
    round: Annotated[int, operator.add]


def calling(inner: Any, saver: Checkpointer, calls: Nodes) -> Any:
    """A graph whose node calls `inner` with another mark in each round and returns all of its marks."""

    async def call(state: Result) -> Result:
        calls.note("call")
        result = await inner.ainvoke({"log": [f"round{state['round']}"]})
        calls.note("called")
        return {"result": " ".join(result["log"])}

    return StateGraph(Result).add_node("call", call).add_edge(START, "call").compile(saver)


async def test_a_nested_graph_has_a_new_state_in_each_invocation(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()
    graph = calling(calls.chain("x").compile(), saver, calls)

    results = [await graph.ainvoke({"round": 1}, THREAD, durability=durability) for _ in range(3)]

    assert [each["result"] for each in results] == ["round1 x", "round2 x", "round3 x"]


async def test_a_nested_graph_resumes_at_its_interrupt(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()
    graph = calling(calls.chain("x", "ask?", "y").compile(), saver, calls)

    result = await graph.ainvoke({"round": 1}, THREAD, durability=durability)
    assert questions_of(result) == ["ask?"]
    assert calls.taken() == ["call", "x", "ask"]

    result = await graph.ainvoke(Command(resume="yes"), THREAD, durability=durability)
    assert result["result"] == "round1 x ask=yes y"
    # The calling node starts again; the finished nested nodes do not.
    assert calls.taken() == ["call", "ask", "y", "called"]


async def test_a_nested_graph_has_a_new_state_after_an_interrupted_invocation(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()
    graph = calling(calls.chain("x", "ask?").compile(), saver, calls)

    for turn in (1, 2):
        assert questions_of(await graph.ainvoke({"round": 1}, THREAD, durability=durability)) == ["ask?"]
        result = await graph.ainvoke(Command(resume=f"{turn}"), THREAD, durability=durability)
        assert result["result"] == f"round{turn} x ask={turn}"


async def test_a_graph_that_is_not_nested_raises_its_interrupts_one_at_a_time(saver: Checkpointer) -> None:
    calls = Nodes()
    alone = calls.chain("one?", "two?").compile(saver)

    assert questions_of(await alone.ainvoke({"log": []}, thread_id="alone")) == ["one?"]
    assert questions_of(await alone.ainvoke(Command(resume="1"), thread_id="alone")) == ["two?"]
    assert await alone.ainvoke(Command(resume="2"), thread_id="alone") == {"log": ["one=1", "two=2"]}


async def test_finished_nested_nodes_do_not_run_again_after_a_nested_failure(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()
    is_failing = True

    async def flaky(state: State) -> State:
        calls.note("flaky")
        if is_failing:
            raise ConnectionError
        return {"log": ["flaky"]}

    graph = calls.chain(("inner", calls.chain("x", ("flaky", flaky), "y").compile())).compile(saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({"log": []}, THREAD, durability=durability)
    is_failing = False
    assert calls.taken() == ["x", "flaky"]

    assert await graph.ainvoke(None, THREAD, durability=durability) == {"log": ["x", "flaky", "y"]}
    assert calls.taken() == ["flaky", "y"]


async def test_a_finished_nested_run_is_not_run_again_on_resume(saver: Checkpointer, durability: Durability) -> None:
    """P8."""
    calls = Nodes()
    inner = calls.chain("x", "y").compile()
    is_failing = True

    async def call(state: State) -> State:
        calls.note("call")
        result = await inner.ainvoke({"log": []})
        if is_failing:
            raise ConnectionError
        return {"log": result["log"]}

    graph = calls.chain(("call", call)).compile(saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({"log": []}, THREAD, durability=durability)
    is_failing = False
    assert calls.taken() == ["call", "x", "y"]

    assert await graph.ainvoke(None, THREAD, durability=durability) == {"log": ["x", "y"]}
    assert calls.taken() == ["call"]


async def test_a_finished_nested_run_is_not_run_again_when_its_caller_is_retried(
    saver: Checkpointer, durability: Durability
) -> None:
    """P8."""
    calls = Nodes()
    inner = calls.chain("x", "y").compile()
    failures = iter([True, True, False])

    async def call(state: State) -> State:
        calls.note("call")
        result = await inner.ainvoke({"log": []})
        if next(failures):
            raise ConnectionError
        return {"log": result["log"]}

    builder = StateGraph(State)
    builder.add_node("call", call, retry_policy=RetryPolicy(max_attempts=3, initial_interval=0, jitter=False))
    graph = builder.add_edge(START, "call").compile(saver)

    assert await graph.ainvoke({"log": []}, THREAD, durability=durability) == {"log": ["x", "y"]}
    assert calls.taken() == ["call", "x", "y", "call", "call"]


async def test_a_nested_run_that_failed_continues_when_its_node_is_retried(saver: Checkpointer) -> None:
    """P8."""
    calls = Nodes()
    failures = iter([True, False])

    async def flaky(state: State) -> State:
        calls.note("flaky")
        if next(failures):
            raise ConnectionError
        return {"log": ["flaky"]}

    builder = StateGraph(State)
    inner = calls.chain("x", ("flaky", flaky)).compile()
    builder.add_node("inner", inner, retry_policy=RetryPolicy(max_attempts=2, initial_interval=0, jitter=False))
    graph = builder.add_edge(START, "inner").compile(saver)

    assert await graph.ainvoke({"log": []}, THREAD) == {"log": ["x", "flaky"]}
    assert calls.taken() == ["x", "flaky", "flaky"]


@pytest.mark.parametrize("is_retried", [False, True])
async def test_nested_runs_are_found_in_another_order_and_another_graph_is_an_error_that_names_both(
    saver: Checkpointer, is_retried: bool
) -> None:
    """P10."""
    calls = Nodes()
    one, two, three = (calls.chain(name).compile() for name in "xyz")
    orders = iter([(one, two), (two, one), (three, one)])

    async def call(state: State) -> State:
        graphs = next(orders)
        results = [(await graph.ainvoke({"log": []}))["log"] for graph in graphs]
        calls.note(" ".join(mark for result in results for mark in result))
        raise ConnectionError

    attempts = RetryPolicy(max_attempts=3 if is_retried else 1, initial_interval=0, jitter=False)
    graph = StateGraph(State).add_node("call", call, retry_policy=attempts).add_edge(START, "call").compile(saver)
    first: list[Any] = [] if is_retried else [{"log": []}, None]
    for given in first:
        with pytest.raises(ConnectionError):
            await graph.ainvoke(given, THREAD)

    with pytest.raises(ReplayMismatchError, match=r"with [xy].*with z") as raised:
        await graph.ainvoke({"log": []} if is_retried else None, THREAD)

    assert raised.value.kind == "call"
    assert calls.taken() == ["x", "y", "x y", "y x"]


async def test_a_finished_nested_run_does_not_run_again_after_an_interrupt_of_the_second(saver: Checkpointer) -> None:
    calls = Nodes()
    first, second = calls.chain("x").compile(), calls.chain("ask?").compile()

    async def call(state: State) -> State:
        one = await first.ainvoke({"log": []})
        two = await second.ainvoke({"log": one["log"]})
        return {"log": two["log"]}

    graph = calls.chain(("call", call)).compile(saver)
    assert questions_of(await graph.ainvoke({"log": []}, THREAD)) == ["ask?"]
    assert calls.taken() == ["x", "ask"]

    assert await graph.ainvoke(Command(resume="yes"), THREAD) == {"log": ["x", "ask=yes"]}
    assert calls.taken() == ["ask"]


async def test_one_graph_called_twice_by_a_node_interrupts_in_each_call(saver: Checkpointer) -> None:
    calls = Nodes()
    inner = calls.chain("x", "ask?").compile()

    async def call(state: State) -> State:
        one = await inner.ainvoke({"log": []})
        two = await inner.ainvoke({"log": []})
        return {"log": [*one["log"], *two["log"]]}

    graph = calls.chain(("call", call)).compile(saver)
    assert questions_of(await graph.ainvoke({"log": []}, THREAD)) == ["ask?"]
    assert questions_of(await graph.ainvoke(Command(resume="1"), THREAD)) == ["ask?"]
    result = await graph.ainvoke(Command(resume="2"), THREAD)

    assert result == {"log": ["x", "ask=1", "x", "ask=2"]}
    assert calls.taken() == ["x", "ask", "ask", "x", "ask", "ask"]


async def test_a_node_may_interrupt_before_and_after_its_nested_run(saver: Checkpointer) -> None:
    calls = Nodes()
    inner = calls.chain("ask?").compile()

    async def call(state: State) -> State:
        before = interrupt("before?")
        nested = await inner.ainvoke({"log": [before]})
        return {"log": [*nested["log"], interrupt("after?")]}

    graph = calls.chain(("call", call)).compile(saver)
    assert questions_of(await graph.ainvoke({"log": []}, THREAD)) == ["before?"]
    assert questions_of(await graph.ainvoke(Command(resume="b"), THREAD)) == ["ask?"]
    assert questions_of(await graph.ainvoke(Command(resume="n"), THREAD)) == ["after?"]
    assert await graph.ainvoke(Command(resume="a"), THREAD) == {"log": ["b", "ask=n", "a"]}
    assert calls.taken() == ["ask", "ask"]


async def test_each_iteration_of_a_loop_has_its_own_nested_run(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()
    inner = calls.chain("x").compile()
    seen: list[list[str]] = []

    async def call(state: State) -> State:
        result = await inner.ainvoke({"log": []})
        seen.append(result["log"])
        return {"log": ["turn"]}

    async def again(state: State) -> str:
        return "call" if len(state["log"]) < 3 else "__end__"

    builder = StateGraph(State).add_node("call", call).add_edge(START, "call")
    builder.add_conditional_edges("call", again, ["call", "__end__"])
    await builder.compile(saver).ainvoke({"log": []}, THREAD, durability=durability)

    assert seen == [["x"]] * 3


async def test_another_process_continues_inside_a_nested_run(saver: Checkpointer) -> None:
    calls = Nodes()

    def built() -> Any:
        return calls.chain("a", ("inner", calls.chain("x", "ask?", "y").compile()), "b").compile(saver)

    await built().ainvoke({"log": []}, THREAD)
    calls.taken()

    result = await built().ainvoke(Command(resume="yes"), THREAD)

    assert result == {"log": ["a", "a", "x", "ask=yes", "y", "b"]}
    assert calls.taken() == ["ask", "y", "b"]


async def test_a_finished_sibling_of_an_interrupted_nested_run_does_not_run_again(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()
    builder = StateGraph(State)
    builder.add_node("inner", calls.chain("x", "ask?").compile())
    builder.add_node("beside", calls.noting("beside"))
    builder.add_edge(START, "inner").add_edge(START, "beside")
    graph = builder.compile(saver)

    result = await graph.ainvoke({"log": []}, THREAD, durability=durability)
    assert result["log"] == ["beside"]
    calls.taken()

    result = await graph.ainvoke(Command(resume="yes"), THREAD, durability=durability)
    assert result == {"log": ["beside", "x", "ask=yes"]}
    assert calls.taken() == ["ask"]
