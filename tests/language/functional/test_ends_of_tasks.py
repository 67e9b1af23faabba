"""Tasks end with their caller, in whichever way it ends."""

import asyncio
import gc
from typing import Any

import pytest

from durable_graph import Checkpointer, Durability, entrypoint, interrupt, task
from tests.graphs import THREAD, Nodes


async def test_cancelling_a_run_with_an_open_interrupt_leaves_no_task_running(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()
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


async def test_the_cleanup_of_a_task_is_awaited_even_if_its_run_is_cancelled_twice(saver: Checkpointer) -> None:
    calls = Nodes()
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


@pytest.mark.filterwarnings("error")
async def test_the_error_of_a_task_is_noted_on_the_error_of_its_caller(saver: Checkpointer) -> None:
    unheard: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))

    @task
    async def breaks() -> None:
        raise LookupError("no stock")

    @task
    async def asks() -> Any:
        return interrupt("ask?")

    @entrypoint(checkpointer=saver)
    async def program(_: object) -> None:
        await asyncio.wait([asyncio.ensure_future(begun) for begun in (breaks(), asks())])
        raise ValueError("no money")

    with pytest.raises(ValueError, match="no money") as raised:
        await program.ainvoke("go", THREAD)

    notes = raised.value.__notes__
    assert any("task 'breaks', call 1 of 'program', failed as well: LookupError('no stock')" in note for note in notes)
    gc.collect()
    assert unheard == []
