"""Tasks end with what called them, whatever ends that."""

import asyncio
from typing import Any

import pytest

from durable_graph import Checkpointer, entrypoint, interrupt, task
from durable_graph._runtime.run import Durability
from tests.language.trails import THREAD, Calls


async def test_a_run_that_is_cancelled_while_a_question_waits_leaves_none_at_work(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Calls()
    is_working, has_asked = asyncio.Event(), asyncio.Event()

    @task
    async def works() -> None:
        is_working.set()
        try:
            await asyncio.Event().wait()
        finally:
            calls.note("ended")

    @task
    async def asks() -> Any:
        await is_working.wait()
        return interrupt("ask?")

    @entrypoint(checkpointer=saver)
    async def program(_: object) -> None:
        try:
            await asyncio.gather(asks(), works())
        finally:
            has_asked.set()

    run = asyncio.create_task(program.ainvoke("go", THREAD, durability=durability))
    await has_asked.wait()
    run.cancel()

    with pytest.raises(asyncio.CancelledError):
        await run
    assert calls.taken() == ["ended"]


async def test_one_that_cleans_up_is_waited_for_however_often_its_run_is_cancelled(saver: Checkpointer) -> None:
    calls = Calls()
    is_working, is_cleaning = asyncio.Event(), asyncio.Event()

    @task
    async def works() -> None:
        is_working.set()
        try:
            await asyncio.Event().wait()
        finally:
            is_cleaning.set()
            for _ in range(20):
                await asyncio.sleep(0)
            calls.note("cleaned")

    begun: list[Any] = []

    @entrypoint(checkpointer=saver)
    async def program(_: object) -> None:
        begun.append(works())
        await asyncio.Event().wait()

    run = asyncio.create_task(program.ainvoke("go", THREAD))
    await is_working.wait()
    run.cancel()
    await is_cleaning.wait()
    run.cancel()

    with pytest.raises(asyncio.CancelledError):
        await run
    assert calls.taken() == ["cleaned"]
