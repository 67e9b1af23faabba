"""`max_concurrency` limits running code and does not count callers that wait for their own calls."""

import asyncio
from typing import Any

import pytest

from durable_graph import START, Checkpointer, Durability, StateGraph, entrypoint, task
from tests.graphs import THREAD, Nodes, State


class Gauge:
    """The number of concurrent calls of `work`, now and at most."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0

    async def work(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(5):
            await asyncio.sleep(0)
        self.now -= 1


async def test_an_entrypoint_and_its_tasks_run_one_at_a_time(saver: Checkpointer, durability: Durability) -> None:
    """P9."""
    gauge = Gauge()

    @task
    async def work(number: int) -> int:
        await gauge.work()
        return number

    @entrypoint(checkpointer=saver)
    async def flow(numbers: list[int]) -> list[int]:
        return list(await asyncio.gather(*(work(number) for number in numbers)))

    async with asyncio.timeout(20):
        result = await flow.ainvoke([1, 2, 3], {**THREAD, "max_concurrency": 1}, durability=durability)

    assert result == [1, 2, 3]
    assert gauge.most == 1


async def test_tasks_of_tasks_do_not_deadlock_with_max_concurrency_1(saver: Checkpointer) -> None:
    """P9."""

    @task
    async def leaf(number: int) -> int:
        return number

    @task
    async def branch(number: int) -> int:
        return sum(await asyncio.gather(*(leaf(each) for each in range(number))))

    @entrypoint(checkpointer=saver)
    async def flow(numbers: list[int]) -> list[int]:
        return list(await asyncio.gather(*(branch(number) for number in numbers)))

    async with asyncio.timeout(20):
        assert await flow.ainvoke([2, 3], {**THREAD, "max_concurrency": 1}) == [1, 3]


@pytest.mark.parametrize("width", [1, 2])
async def test_nodes_and_their_tasks_share_max_concurrency(saver: Checkpointer, width: int) -> None:
    """P9."""
    gauge = Gauge()

    @task
    async def work() -> None:
        await gauge.work()

    async def node(state: State) -> State:
        await asyncio.gather(work(), work())
        return {"log": ["n"]}

    builder = StateGraph(State)
    for name in ("a", "b", "c"):
        builder.add_node(name, node).add_edge(START, name)

    async with asyncio.timeout(20):
        result = await builder.compile(saver).ainvoke({"log": []}, {**THREAD, "max_concurrency": width})

    assert result == {"log": ["n"] * 3}
    assert gauge.most <= width


async def test_nested_graphs_do_not_deadlock_with_max_concurrency_1(saver: Checkpointer) -> None:
    """P9."""
    calls = Nodes()
    inner = calls.chain("x", "y").compile()

    async def call(state: State) -> State:
        results = await asyncio.gather(*(inner.ainvoke({"log": []}) for _ in range(2)))
        return {"log": [mark for each in results for mark in each["log"]]}

    graph = calls.chain(("call", call), ("inner", inner)).compile(saver)

    async with asyncio.timeout(20):
        result = await graph.ainvoke({"log": []}, {**THREAD, "max_concurrency": 1})

    assert result["log"][:4] == ["x", "y", "x", "y"]


async def test_nested_entrypoints_do_not_deadlock_with_max_concurrency_1() -> None:
    """P9."""

    @task
    async def work(number: int) -> int:
        return number

    @entrypoint()
    async def inner(number: int) -> int:
        return await work(number)

    @entrypoint()
    async def flow(number: int) -> int:
        result: int = await inner.ainvoke(number)
        return result

    async with asyncio.timeout(20):
        result: Any = await flow.ainvoke(7, {"max_concurrency": 1})

    assert result == 7
