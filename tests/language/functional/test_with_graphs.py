"""Entrypoints, tasks and graphs call each other."""

import operator
from typing import Any, TypedDict

import pytest

from durable_graph import START, Checkpointer, Command, Durability, StateGraph, entrypoint, interrupt, task
from tests.graphs import THREAD, Nodes, State, interrupts_of, questions_of


class Numbers(TypedDict, total=False):
    a: int
    b: int
    result: int


def calculating(name: str, how: Any) -> Any:
    async def calculate(state: Numbers) -> Numbers:
        return {"result": how(state["a"], state["b"])}

    return StateGraph(Numbers).add_node(name, calculate).add_edge(START, name).compile()


@entrypoint()
async def add(inputs: list[int]) -> int:
    return inputs[0] + inputs[1]


@task
async def multiply_task(a: int, b: int) -> int:
    return a * b


@entrypoint()
async def multiply(inputs: list[int]) -> int:
    return await multiply_task(*inputs)


async def test_a_task_calls_entrypoints(saver: Checkpointer, durability: Durability) -> None:
    @task
    async def call(a: int, b: int) -> list[int]:
        return [await add.ainvoke([await add.ainvoke([a, b]), 10]), await multiply.ainvoke([a, b])]

    @entrypoint(checkpointer=saver)
    async def flow(inputs: list[int]) -> list[int]:
        return await call(*inputs)

    assert await flow.ainvoke([2, 3], THREAD, durability=durability) == [15, 6]


async def test_a_task_calls_graphs(saver: Checkpointer, durability: Durability) -> None:
    adding, multiplying = calculating("add", operator.add), calculating("multiply", operator.mul)

    @task
    async def call(a: int, b: int) -> list[int]:
        total = (await adding.ainvoke({"a": a, "b": b}))["result"]
        again = (await adding.ainvoke({"a": total, "b": 10}))["result"]
        return [again, (await multiplying.ainvoke({"a": a, "b": b}))["result"]]

    @entrypoint(checkpointer=saver)
    async def flow(inputs: list[int]) -> list[int]:
        return await call(*inputs)

    assert await flow.ainvoke([2, 3], THREAD, durability=durability) == [15, 6]


async def test_a_node_calls_entrypoints(saver: Checkpointer, durability: Durability) -> None:
    async def call(state: Numbers) -> Numbers:
        given = [state["a"], state["b"]]
        return {"result": await add.ainvoke([await add.ainvoke(given), await multiply.ainvoke(given)])}

    graph = StateGraph(Numbers).add_node("call", call).add_edge(START, "call").compile(saver)

    assert (await graph.ainvoke({"a": 2, "b": 3}, THREAD, durability=durability))["result"] == 11


async def test_an_entrypoint_calls_a_graph_that_interrupts(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()
    inner = calls.chain("x", "ask?", "y").compile()

    @task
    async def before() -> str:
        calls.note("before")
        return "before"

    @entrypoint(checkpointer=saver)
    async def flow(_: int) -> list[str]:
        result: list[str] = (await inner.ainvoke({"log": [await before()]}))["log"]
        return result

    assert questions_of(await flow.ainvoke(1, THREAD, durability=durability)) == ["ask?"]
    result = await flow.ainvoke(Command(resume="yes"), THREAD, durability=durability)
    assert result == ["before", "x", "ask=yes", "y"]
    assert calls.taken() == ["before", "x", "ask", "ask", "y"]


async def test_a_graph_with_memory_keeps_its_state_inside_an_entrypoint(saver: Checkpointer) -> None:
    inner = Nodes().chain("x").compile(checkpointer=True)

    @entrypoint(checkpointer=saver)
    async def flow(mark: str) -> list[str]:
        result: list[str] = (await inner.ainvoke({"log": [mark]}))["log"]
        return result

    assert await flow.ainvoke("1", THREAD) == ["1", "x"]
    assert await flow.ainvoke("2", THREAD) == ["1", "x", "2", "x"]


async def test_tasks_that_name_the_same_memory_share_its_state(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()
    inner = calls.chain("x", "ask?").compile(checkpointer=True)

    @task
    async def tell(what: str) -> list[str]:
        result: list[str] = (await inner.ainvoke({"log": [what]}, memory="talk"))["log"]
        return result

    @entrypoint(checkpointer=saver)
    async def flow(turn: int) -> list[str]:
        await tell(f"{turn} a")
        return await tell(f"{turn} b")

    await flow.ainvoke(1, THREAD, durability=durability)
    await flow.ainvoke(Command(resume="1"), THREAD, durability=durability)
    result = await flow.ainvoke(Command(resume="2"), THREAD, durability=durability)

    assert result == ["1 a", "x", "ask=1", "1 b", "x", "ask=2"]
    assert calls.taken() == ["x", "ask", "ask", "x", "ask", "ask"]


async def test_a_nested_entrypoint_has_no_previous_value_from_an_earlier_invocation(saver: Checkpointer) -> None:
    seen: list[Any] = []

    @entrypoint()
    async def inner(given: int, *, previous: Any) -> int:
        seen.append(previous)
        return given

    @entrypoint(checkpointer=saver)
    async def flow(given: int) -> int:
        result: int = await inner.ainvoke(given)
        return result

    for turn in range(2):
        assert await flow.ainvoke(turn, THREAD) == turn
    assert seen == [None, None]


async def test_a_nested_entrypoint_with_memory_has_its_previous_value(saver: Checkpointer) -> None:
    seen: list[Any] = []

    @entrypoint(checkpointer=True)
    async def inner(given: int, *, previous: Any) -> int:
        seen.append(previous)
        return given

    @entrypoint(checkpointer=saver)
    async def flow(given: int) -> int:
        result: int = await inner.ainvoke(given)
        return result

    for turn in range(2):
        await flow.ainvoke(turn, THREAD)
    assert seen == [None, 0]


async def test_tasks_of_a_node_are_recorded(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()
    is_failing = True

    @task
    async def work(number: int) -> int:
        calls.note(f"{number}")
        return number

    async def node(state: State) -> State:
        calls.note("node")
        results = [await work(number) for number in range(3)]
        if is_failing:
            raise ConnectionError
        return {"log": [f"{sum(results)}"]}

    graph = calls.chain(("node", node)).compile(saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({"log": []}, THREAD, durability=durability)
    assert calls.taken() == ["node", "0", "1", "2"]
    is_failing = False

    assert await graph.ainvoke(None, THREAD, durability=durability) == {"log": ["3"]}
    assert calls.taken() == ["node"]


async def test_tasks_of_a_node_before_an_interrupt_run_once(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()

    @task
    async def pay(amount: int) -> str:
        calls.note(f"paid {amount}")
        return f"receipt {amount}"

    async def node(state: State) -> State:
        receipt = await pay(5)
        return {"log": [receipt, interrupt("thanks?")]}

    graph = calls.chain(("node", node)).compile(saver)
    assert questions_of(await graph.ainvoke({"log": []}, THREAD, durability=durability)) == ["thanks?"]
    result = await graph.ainvoke(Command(resume="yes"), THREAD, durability=durability)

    assert result == {"log": ["receipt 5", "yes"]}
    assert calls.taken() == ["paid 5"]


async def test_tasks_of_parallel_nodes_keep_their_own_results(saver: Checkpointer) -> None:
    @task
    async def work(name: str) -> str:
        return f"work of {name}"

    def works(name: str) -> Any:
        async def node(state: State) -> State:
            result = await work(name)
            interrupt(f"{name}?")
            return {"log": [result]}

        return node

    builder = StateGraph(State)
    for name in ("a", "b"):
        builder.add_node(name, works(name)).add_edge(START, name)
    graph = builder.compile(saver)
    interrupts = interrupts_of(await graph.ainvoke({"log": []}, THREAD))

    result = await graph.ainvoke(Command(resume={each.id: "go" for each in interrupts}), THREAD)

    assert result == {"log": ["work of a", "work of b"]}


async def test_a_node_in_a_loop_calls_its_tasks_in_each_iteration(saver: Checkpointer) -> None:
    calls = Nodes()

    @task
    async def work(number: int) -> str:
        calls.note(f"{number}")
        return f"{number}"

    async def node(state: State) -> State:
        return {"log": [await work(len(state["log"]))]}

    async def again(state: State) -> str:
        return "node" if len(state["log"]) < 3 else "__end__"

    builder = StateGraph(State).add_node("node", node).add_edge(START, "node")
    builder.add_conditional_edges("node", again, ["node", "__end__"])

    assert await builder.compile(saver).ainvoke({"log": []}, THREAD) == {"log": ["0", "1", "2"]}
    assert calls.taken() == ["0", "1", "2"]


async def test_a_task_in_a_nested_graphs_node_returns_its_value() -> None:
    class State(TypedDict, total=False):
        out: int
        zero: int

    @task
    async def double(number: int) -> int:
        return number * 2

    async def node(state: State) -> State:
        return {"out": await double(21), "zero": await double(0)}

    inner = StateGraph(State).add_node("node", node).add_edge(START, "node").compile()
    graph = StateGraph(State).add_node("inner", inner).add_edge(START, "inner").compile()

    assert await graph.ainvoke({}) == {"out": 42, "zero": 0}


async def test_tasks_of_a_router_are_recorded(saver: Checkpointer) -> None:
    calls = Nodes()
    is_failing = True

    @task
    async def classify(mark: str) -> str:
        calls.note("classify")
        return f"to_{mark}"

    async def route(state: State) -> str:
        chosen = await classify(state["log"][-1])
        if is_failing:
            raise ConnectionError
        return chosen

    builder = calls.chain("a")
    builder.add_node("to_a", calls.noting("to_a"))
    builder.add_conditional_edges("a", route, ["to_a"])
    graph = builder.compile(saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({"log": []}, THREAD)
    is_failing = False

    assert await graph.ainvoke(None, THREAD) == {"log": ["a", "to_a"]}
    assert calls.taken() == ["a", "classify", "to_a"]


async def test_a_finished_nested_entrypoint_and_its_tasks_do_not_run_again(saver: Checkpointer) -> None:
    """P8."""
    calls = Nodes()
    failures = iter([True, False])

    @task
    async def leaf(number: int) -> int:
        calls.note(f"leaf {number}")
        return number

    @entrypoint()
    async def inner(numbers: list[int]) -> int:
        calls.note("inner")
        return sum([await leaf(number) for number in numbers])

    @entrypoint(checkpointer=saver)
    async def flow(numbers: list[int]) -> int:
        total: int = await inner.ainvoke(numbers)
        if next(failures):
            raise ConnectionError
        return total

    with pytest.raises(ConnectionError):
        await flow.ainvoke([1, 2], THREAD)
    assert await flow.ainvoke(None, THREAD) == 3
    assert calls.taken() == ["inner", "leaf 1", "leaf 2"]
