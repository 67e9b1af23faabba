"""Runs of graphs: nodes, edges, routers, sends, joins, and results."""

import asyncio
import operator
import threading
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, Literal, TypedDict

import msgspec
import pytest

from durable_graph import (
    END,
    START,
    Checkpointer,
    Durability,
    GraphRecursionError,
    MemorySaver,
    Runtime,
    Send,
    StateGraph,
    UnstorableValueError,
)


class State(TypedDict, total=False):
    topic: str
    log: Annotated[list[str], operator.add]


def chain(*names: str) -> StateGraph[State]:
    builder = StateGraph(State)
    for name in names:
        builder.add_node(name, _logging(name))
    builder.add_edge(START, names[0])
    for source, target in pairwise(names):
        builder.add_edge(source, target)
    return builder


def _logging(name: str) -> Any:
    async def node(state: State) -> State:
        return {"log": [name]}

    return node


async def test_a_chain_runs_in_order_and_returns_the_state(saver: Checkpointer, durability: Durability) -> None:
    graph = chain("a", "b", "c").compile(saver)

    result = await graph.ainvoke({"topic": "tea"}, thread_id="t", durability=durability)

    assert result == {"topic": "tea", "log": ["a", "b", "c"]}
    assert (await graph.aget_state(thread_id="t")).values == result
    assert (await graph.aget_state(thread_id="t")).next == ()


async def test_a_graph_without_checkpointer_does_not_encode_its_values() -> None:
    builder = StateGraph(State)
    unstorable = object()
    builder.add_node("a", _returning({"log": [unstorable]}))
    builder.add_edge(START, "a")

    result = await builder.compile(debug=False).ainvoke({})

    assert result["log"] == [unstorable]


async def test_a_graph_with_debug_and_no_checkpointer_refuses_values_that_cannot_be_stored() -> None:
    builder = StateGraph(State)
    builder.add_node("a", _returning({"log": [5]}))
    builder.add_edge(START, "a")

    with pytest.raises(UnstorableValueError, match=r"'log'.*str is declared"):
        await builder.compile(debug=True).ainvoke({})
    with pytest.raises(UnstorableValueError, match=r"'log'.*str is declared"):
        await builder.compile(debug=True).ainvoke({"log": [5]})


async def test_a_nested_graph_with_debug_refuses_values_that_cannot_be_stored() -> None:
    inner = StateGraph(State).add_node("a", _returning({"log": [5]})).add_edge(START, "a").compile(debug=True)

    async def call(state: State) -> State:
        await inner.ainvoke({})
        return {}

    graph = StateGraph(State).add_node("call", call).add_edge(START, "call").compile(debug=False)

    with pytest.raises(UnstorableValueError, match=r"'log'.*str is declared"):
        await graph.ainvoke({})


async def test_a_second_input_continues_with_the_thread(saver: Checkpointer, durability: Durability) -> None:
    graph = chain("a").compile(saver)

    await graph.ainvoke({"log": ["one"]}, thread_id="t", durability=durability)
    result = await graph.ainvoke({"log": ["two"]}, thread_id="t", durability=durability)

    assert result["log"] == ["one", "a", "two", "a"]


async def test_concurrent_threads_have_separate_states(saver: Checkpointer) -> None:
    graph = chain("a").compile(saver)

    results = await asyncio.gather(*(graph.ainvoke({"log": [f"{n}"]}, thread_id=f"t-{n}") for n in range(20)))

    assert [result["log"] for result in results] == [[f"{n}", "a"] for n in range(20)]


async def test_nodes_of_one_superstep_run_concurrently_and_their_writes_apply_in_order_of_their_names(
    saver: Checkpointer,
) -> None:
    everyone_is_there = asyncio.Barrier(3)
    builder = StateGraph(State)

    async def node(state: State, runtime: Runtime) -> State:
        await everyone_is_there.wait()
        if runtime.execution_info.node == "a":
            await asyncio.sleep(0)
        return {"log": [runtime.execution_info.node]}

    for name in "cab":
        builder.add_node(name, node)
        builder.add_edge(START, name)

    result = await asyncio.wait_for(builder.compile(saver).ainvoke({}, thread_id="t"), 10)

    assert result["log"] == ["a", "b", "c"]


async def test_plain_functions_run_in_worker_threads(saver: Checkpointer) -> None:
    together = threading.Barrier(2, timeout=10)
    main = threading.get_ident()
    builder = StateGraph(State)

    def node(state: State) -> State:
        together.wait()
        assert threading.get_ident() != main
        return {"log": ["ran"]}

    builder.add_node("a", node)
    builder.add_node("b", node)
    builder.add_edge(START, "a")
    builder.add_edge(START, "b")

    assert (await builder.compile(saver).ainvoke({}, thread_id="t"))["log"] == ["ran", "ran"]


async def test_a_coroutine_that_a_plain_function_returns_is_awaited(saver: Checkpointer) -> None:
    async def inner(state: State) -> State:
        return {"log": ["inner"]}

    builder = StateGraph(State)
    builder.add_node("a", lambda state: inner(state))  # noqa: PLW0108  # what is tested
    builder.add_edge(START, "a")

    assert (await builder.compile(saver).ainvoke({}, thread_id="t"))["log"] == ["inner"]


async def test_max_concurrency_limits_the_nodes_that_run_concurrently(saver: Checkpointer) -> None:
    running = most = 0
    builder = StateGraph(State)

    async def node(state: State) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(5):
            await asyncio.sleep(0)
        running -= 1

    for place in range(8):
        builder.add_node(f"n{place}", node)
        builder.add_edge(START, f"n{place}")

    await builder.compile(saver).ainvoke({}, thread_id="t", max_concurrency=3)

    assert most == 3


# Routers and sends


async def test_a_router_receives_the_writes_of_its_node_and_chooses(saver: Checkpointer) -> None:
    seen: list[Any] = []

    def route(state: State) -> Literal["b", "c"]:
        seen.append(list(state["log"]))
        return "c"

    builder = StateGraph(State)
    for name in "abc":
        builder.add_node(name, _logging(name))
    builder.add_edge(START, "a")
    builder.add_conditional_edges("a", route)

    result = await builder.compile(saver).ainvoke({"log": ["in"]}, thread_id="t")

    assert seen == [["in", "a"]]
    assert result["log"] == ["in", "a", "c"]


async def test_an_async_router_with_a_path_map_may_choose_several_nodes_and_end(saver: Checkpointer) -> None:
    async def route(state: State) -> list[str]:
        await asyncio.sleep(0)
        return ["left", "right", "stop"]

    builder = StateGraph(State)
    for name in "abc":
        builder.add_node(name, _logging(name))
    builder.add_edge(START, "a")
    builder.add_conditional_edges("a", route, {"left": "b", "right": "c", "stop": END})

    assert (await builder.compile(saver).ainvoke({}, thread_id="t"))["log"] == ["a", "b", "c"]


async def test_a_router_at_start_chooses_the_first_node(saver: Checkpointer) -> None:
    builder = StateGraph(State)
    for name in "ab":
        builder.add_node(name, _logging(name))
    builder.add_conditional_edges(START, lambda state: state["topic"], {"tea": "a", "coffee": "b"})

    graph = builder.compile(saver)

    assert (await graph.ainvoke({"topic": "tea"}, thread_id="1", recursion_limit=1))["log"] == ["a"]
    assert (await graph.ainvoke({"topic": "coffee"}, thread_id="2", recursion_limit=1))["log"] == ["b"]


async def test_sends_are_tasks_of_their_own_with_their_own_input(saver: Checkpointer, durability: Durability) -> None:
    builder = StateGraph(State)
    ids: set[str] = set()

    async def work(item: Any, runtime: Runtime) -> State:
        ids.add(runtime.execution_info.task_id)
        return {"log": [f"{item['n']}"]}

    builder.add_node("split", _returning(None))
    builder.add_node("work", work)
    builder.add_node("merge", _logging("merge"))
    builder.add_edge(START, "split")
    builder.add_conditional_edges("split", lambda _: [Send("work", {"n": n}) for n in range(12)], ["work"])
    builder.add_edge("work", "merge")

    result = await builder.compile(saver).ainvoke({}, thread_id="t", durability=durability)

    assert result["log"] == [*(str(n) for n in range(12)), "merge"]
    assert len(ids) == 12


async def test_a_loop_runs_until_its_router_ends_it(saver: Checkpointer, durability: Durability) -> None:
    class Counting(TypedDict):
        count: Annotated[int, operator.add]

    async def step(state: Counting) -> Counting:
        return {"count": 1}

    builder = StateGraph(Counting)
    builder.add_node("step", step)
    builder.add_edge(START, "step")
    builder.add_conditional_edges("step", lambda state: END if state["count"] >= 70 else "step")

    graph = builder.compile(saver)

    assert await graph.ainvoke({"count": 0}, thread_id="t", durability=durability) == {"count": 70}


async def test_a_join_waits_for_branches_of_different_length(saver: Checkpointer, durability: Durability) -> None:
    builder = StateGraph(State)
    for name in ("a", "b1", "b2", "c"):
        builder.add_node(name, _logging(name))
    builder.add_edge(START, "a")
    builder.add_edge(START, "b1")
    builder.add_edge("b1", "b2")
    builder.add_edge(["a", "b2"], "c")

    result = await builder.compile(saver).ainvoke({}, thread_id="t", durability=durability)

    assert result["log"] == ["a", "b1", "b2", "c"]


# Limits


async def test_a_recursion_limit_of_n_allows_n_supersteps(saver: Checkpointer) -> None:
    graph = chain("a", "b", "c").compile(saver)

    assert (await graph.ainvoke({}, thread_id="enough", recursion_limit=3))["log"] == ["a", "b", "c"]
    with pytest.raises(GraphRecursionError, match="limit of 2 supersteps with c still to run") as raised:
        await graph.ainvoke({}, thread_id="short", recursion_limit=2)

    assert (raised.value.limit, raised.value.pending) == (2, ("c",))
    assert (await graph.ainvoke(None, thread_id="short", recursion_limit=1))["log"] == ["a", "b", "c"]


# Kinds of state


@dataclass
class Person:
    name: str = "nobody"
    visits: Annotated[list[str], operator.add] = field(default_factory=list)


class Point(msgspec.Struct):
    x: int = 0
    y: int | None = None


async def test_a_node_receives_a_dataclass_state_as_an_instance(saver: Checkpointer) -> None:
    async def visit(person: Person) -> dict[str, Any]:
        assert isinstance(person, Person)
        return {"visits": [person.name]}

    builder = StateGraph(Person)
    builder.add_node("visit", visit)
    builder.add_edge(START, "visit")

    assert await builder.compile(saver).ainvoke(Person("Ann"), thread_id="t") == {"name": "Ann", "visits": ["Ann"]}


async def test_a_node_may_return_an_instance_of_a_struct_state(saver: Checkpointer) -> None:
    async def move(point: Point) -> Point:
        return Point(point.x + 1, 5)

    builder = StateGraph(Point)
    builder.add_node("move", move)
    builder.add_edge(START, "move")

    assert await builder.compile(saver).ainvoke({"x": 1}, thread_id="t") == {"x": 2, "y": 5}


async def test_a_node_receives_a_pydantic_state_as_a_model() -> None:
    pydantic = pytest.importorskip("pydantic", reason="pydantic is the user's own choice")

    class Order(pydantic.BaseModel):  # type: ignore[misc, name-defined]  # it is imported where it is needed
        amount: int
        note: str = "none"

    async def double(order: Order) -> dict[str, int]:
        return {"amount": order.amount * 2}

    builder = StateGraph(Order)
    builder.add_node("double", double)
    builder.add_edge(START, "double")

    assert await builder.compile(MemorySaver()).ainvoke({"amount": 21}, thread_id="t") == {"amount": 42}


async def test_a_node_receives_its_runtime_and_its_config(saver: Checkpointer) -> None:
    received: list[Any] = []

    async def node(state: State, config: dict[str, Any], runtime: Runtime) -> None:
        received.append((config["configurable"], runtime.execution_info))

    builder = StateGraph(State)
    builder.add_node("a", node)
    builder.add_edge(START, "a")

    await builder.compile(saver).ainvoke({}, {"configurable": {"thread_id": "t", "user": "ann"}})

    configurable, info = received[0]
    first = "0000000000000001"
    assert configurable == {"thread_id": "t", "user": "ann", "checkpoint_ns": "", "checkpoint_id": first}
    assert (info.thread_id, info.node, info.step, info.node_attempt) == ("t", "a", 1, 1)
    assert len(info.task_id) == 32


def _returning(result: Any) -> Any:
    async def node(state: State) -> Any:
        return result

    return node
