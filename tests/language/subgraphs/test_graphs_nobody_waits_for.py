"""Graphs that a node begins and does not wait for: they are over when the node is."""

import asyncio
from typing import Any

import pytest

from durable_graph import Checkpointer, Command, Durability, task
from tests.language.subgraphs.at_once import LONG, calling
from tests.language.trails import THREAD, Calls, Trail, questions


async def test_one_that_nobody_waits_for_is_finished_with_its_node(saver: Checkpointer, durability: Durability) -> None:
    calls = Calls()
    inner = calls.chain(*LONG).compile()
    begun: list[asyncio.Task[Any]] = []

    async def call() -> list[Any]:
        begun.append(asyncio.create_task(inner.ainvoke({"value": []})))
        await asyncio.sleep(0)
        return []

    assert await calling(call, saver).ainvoke({"value": []}, THREAD, durability=durability) == {"value": []}
    assert calls.taken() == list(LONG)
    assert await begun[0] == {"value": list(LONG)}


async def test_what_one_asks_that_nobody_waits_for_is_asked(saver: Checkpointer, durability: Durability) -> None:
    calls = Calls()
    inner = calls.chain("x", "ask?").compile()
    begun: list[asyncio.Task[Any]] = []

    async def call() -> list[Any]:
        begun.append(asyncio.create_task(inner.ainvoke({"value": []})))
        await asyncio.sleep(0)
        return []

    graph = calling(call, saver)

    assert questions(await graph.ainvoke({"value": []}, THREAD, durability=durability)) == ["ask?"]
    await graph.ainvoke(Command(resume="yes"), THREAD, durability=durability)
    assert await begun[-1] == {"value": ["x", "ask=yes"]}
    assert calls.taken() == ["x", "ask", "ask"]
    await asyncio.wait(begun)


async def test_whoever_begins_another_when_one_has_ended_is_waited_for(saver: Checkpointer) -> None:
    calls = Calls()
    first, second = calls.chain("a").compile(), calls.chain(*LONG).compile()
    begun: list[asyncio.Task[Any]] = []

    async def both() -> Any:
        await first.ainvoke({"value": []})
        return await second.ainvoke({"value": []})

    async def call() -> list[Any]:
        begun.append(asyncio.create_task(both()))
        await asyncio.sleep(0)
        return []

    await calling(call, saver).ainvoke({"value": []}, THREAD)

    assert calls.taken() == ["a", *LONG]
    assert await begun[0] == {"value": list(LONG)}


async def test_whoever_calls_a_task_when_a_graph_has_ended_is_waited_for(saver: Checkpointer) -> None:
    calls = Calls()
    inner = calls.chain("a").compile()
    begun: list[asyncio.Task[Any]] = []

    @task
    async def after(name: str) -> str:
        for _ in LONG:
            await asyncio.sleep(0)
        calls.note(name)
        return name

    async def both() -> str:
        await inner.ainvoke({"value": []})
        return await after("b")

    async def call() -> list[Any]:
        begun.append(asyncio.create_task(both()))
        await asyncio.sleep(0)
        return []

    await calling(call, saver).ainvoke({"value": []}, THREAD)

    assert calls.taken() == ["a", "b"]
    assert await begun[0] == "b"


@pytest.mark.parametrize("fails", [True, False])
async def test_a_stream_whose_run_has_not_begun_when_its_node_ends_is_cancelled(
    saver: Checkpointer, durability: Durability, fails: bool
) -> None:
    calls = Calls()
    inner = calls.chain(*LONG).compile()
    readers: list[asyncio.Task[Any]] = []

    async def read() -> None:
        async with inner.stream({"value": []}) as events:
            async for _ in events:
                pass

    async def call() -> list[Any]:
        readers.append(asyncio.create_task(read()))
        await asyncio.sleep(0)
        if fails:
            message = "no"
            raise ValueError(message)
        return []

    ended = calling(call, saver).ainvoke({"value": []}, THREAD, durability=durability)
    if fails:
        with pytest.raises(ValueError, match="no"):
            await ended
    else:
        assert await ended == {"value": []}

    await asyncio.wait(readers)
    assert readers[0].cancelled()
    assert calls.taken() == []


async def test_a_stream_that_was_not_read_to_its_end_ends_with_its_node(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Calls()
    is_waiting = asyncio.Event()

    async def waits(state: Trail) -> Trail:
        is_waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            calls.note("ended")
        return {}

    inner = calls.chain("x", ("waits", waits)).compile()
    kept: list[Any] = []

    async def call() -> list[Any]:
        kept.append(inner.astream({"value": []}))
        await anext(kept[0])
        await is_waiting.wait()
        return []

    assert await calling(call, saver).ainvoke({"value": []}, THREAD, durability=durability) == {"value": []}
    assert calls.taken() == ["x", "ended"]
    await kept[0].aclose()
