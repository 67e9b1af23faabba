"""A store that is opened by its first use, and those who wait for it."""

import asyncio
import gc
from typing import Any

import pytest

from durable_graph.checkpointing.opened_once import OpenedOnce


class Door:
    """What is opened: it says how often it was tried, and waits until it may go on."""

    def __init__(self, *failures: Exception | None) -> None:
        self.failures = list(failures)
        self.knocked = asyncio.Event()
        self.may_go_on = asyncio.Event()
        self.closed = 0

    async def open(self) -> str:
        self.knocked.set()
        await self.may_go_on.wait()
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        return "open"

    async def close(self, opened: str) -> None:
        assert opened == "open"
        self.closed += 1


async def test_a_failure_that_nobody_waited_for_is_not_told_to_who_comes_later() -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: reported.append(what))
    door = Door(OSError("away"))
    store = OpenedOnce("door", door.open, door.close)
    impatient = asyncio.create_task(store.get())
    await door.knocked.wait()
    impatient.cancel()
    await asyncio.wait([impatient])

    door.may_go_on.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert door.failures == []

    assert await store.get() == "open"
    gc.collect()
    assert reported == []
    await store.aclose()
    assert door.closed == 1


async def test_all_who_wait_are_told_of_a_failure_and_the_next_one_tries_again() -> None:
    door = Door(OSError("away"))
    store = OpenedOnce("door", door.open, door.close)
    door.may_go_on.set()

    answers = await asyncio.gather(*(store.get() for _ in range(3)), return_exceptions=True)

    assert [type(answer) for answer in answers] == [OSError] * 3
    assert await store.get() == "open"


async def test_what_fails_to_open_while_it_is_closed_is_closed() -> None:
    door = Door(OSError("away"))
    store = OpenedOnce("door", door.open, door.close)
    waiting = asyncio.create_task(store.get())
    await door.knocked.wait()
    closing = asyncio.create_task(store.aclose())
    await asyncio.sleep(0)
    door.may_go_on.set()

    await closing

    with pytest.raises(OSError, match="away"):
        await waiting
    assert door.closed == 0
