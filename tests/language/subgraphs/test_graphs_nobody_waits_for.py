"""Child runs that a node starts and does not await end with the node."""

import asyncio
from typing import Any

import pytest

from durable_graph import Checkpointer, Command, Durability, task
from tests.graphs import LONG_CHAIN, THREAD, Nodes, State, graph_calling, questions_of


async def test_unawaited_child_run_ends_with_its_node(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()
    inner = calls.chain(*LONG_CHAIN).compile()
    begun: list[asyncio.Task[Any]] = []

    async def call() -> list[Any]:
        begun.append(asyncio.create_task(inner.ainvoke({"log": []})))
        await asyncio.sleep(0)
        return []

    assert await graph_calling(call, saver).ainvoke({"log": []}, THREAD, durability=durability) == {"log": []}
    assert calls.taken() == list(LONG_CHAIN)
    assert await begun[0] == {"log": list(LONG_CHAIN)}


async def test_interrupts_of_an_unawaited_child_run_are_reported(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()
    inner = calls.chain("x", "ask?").compile()
    begun: list[asyncio.Task[Any]] = []

    async def call() -> list[Any]:
        begun.append(asyncio.create_task(inner.ainvoke({"log": []})))
        await asyncio.sleep(0)
        return []

    graph = graph_calling(call, saver)

    assert questions_of(await graph.ainvoke({"log": []}, THREAD, durability=durability)) == ["ask?"]
    await graph.ainvoke(Command(resume="yes"), THREAD, durability=durability)
    assert await begun[-1] == {"log": ["x", "ask=yes"]}
    assert calls.taken() == ["x", "ask", "ask"]
    await asyncio.wait(begun)


async def test_a_second_child_run_of_an_unawaited_asyncio_task_ends_with_its_node(saver: Checkpointer) -> None:
    calls = Nodes()
    first, second = calls.chain("a").compile(), calls.chain(*LONG_CHAIN).compile()
    begun: list[asyncio.Task[Any]] = []

    async def both() -> Any:
        await first.ainvoke({"log": []})
        return await second.ainvoke({"log": []})

    async def call() -> list[Any]:
        begun.append(asyncio.create_task(both()))
        await asyncio.sleep(0)
        return []

    await graph_calling(call, saver).ainvoke({"log": []}, THREAD)

    assert calls.taken() == ["a", *LONG_CHAIN]
    assert await begun[0] == {"log": list(LONG_CHAIN)}


async def test_a_task_called_after_a_child_run_in_an_unawaited_asyncio_task_ends_with_its_node(
    saver: Checkpointer,
) -> None:
    calls = Nodes()
    inner = calls.chain("a").compile()
    begun: list[asyncio.Task[Any]] = []

    @task
    async def after(name: str) -> str:
        for _ in LONG_CHAIN:
            await asyncio.sleep(0)
        calls.note(name)
        return name

    async def both() -> str:
        await inner.ainvoke({"log": []})
        return await after("b")

    async def call() -> list[Any]:
        begun.append(asyncio.create_task(both()))
        await asyncio.sleep(0)
        return []

    await graph_calling(call, saver).ainvoke({"log": []}, THREAD)

    assert calls.taken() == ["a", "b"]
    assert await begun[0] == "b"


@pytest.mark.parametrize("fails", [True, False])
async def test_a_stream_whose_run_has_not_started_when_its_node_ends_is_cancelled(
    saver: Checkpointer, durability: Durability, fails: bool
) -> None:
    calls = Nodes()
    inner = calls.chain(*LONG_CHAIN).compile()
    readers: list[asyncio.Task[Any]] = []

    async def read() -> None:
        async with inner.stream({"log": []}) as events:
            async for _ in events:
                pass

    async def call() -> list[Any]:
        readers.append(asyncio.create_task(read()))
        await asyncio.sleep(0)
        if fails:
            message = "no"
            raise ValueError(message)
        return []

    ended = graph_calling(call, saver).ainvoke({"log": []}, THREAD, durability=durability)
    if fails:
        with pytest.raises(ValueError, match="no"):
            await ended
    else:
        assert await ended == {"log": []}

    await asyncio.wait(readers)
    assert readers[0].cancelled()
    assert calls.taken() == []


async def test_a_partly_read_stream_ends_with_its_node(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()
    is_waiting = asyncio.Event()

    async def waits(state: State) -> State:
        is_waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            calls.note("ended")
        return {}

    inner = calls.chain("x", ("waits", waits)).compile()
    kept: list[Any] = []

    async def call() -> list[Any]:
        kept.append(inner.astream({"log": []}))
        await anext(kept[0])
        await is_waiting.wait()
        return []

    assert await graph_calling(call, saver).ainvoke({"log": []}, THREAD, durability=durability) == {"log": []}
    assert calls.taken() == ["x", "ended"]
    await kept[0].aclose()
