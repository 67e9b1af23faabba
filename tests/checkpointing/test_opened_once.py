"""A store that is opened by its first use, and the callers that wait for it."""

import asyncio
import gc
import os
import threading
from typing import Any

import pytest

from durable_graph.checkpointing import opened_once
from durable_graph.checkpointing.opened_once import OpenedOnce
from durable_graph.errors import CheckpointerMisuseError
from tests.errors.kinds import of_kind


class Door:
    """A resource whose opening waits for `may_go_on` and raises the given failures in turn; it counts its closes."""

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


async def test_a_failure_to_open_that_nobody_awaited_is_not_raised_to_later_callers() -> None:
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


async def test_a_failure_to_open_is_raised_to_all_waiting_callers_and_the_next_call_tries_again() -> None:
    door = Door(OSError("away"))
    store = OpenedOnce("door", door.open, door.close)
    door.may_go_on.set()

    answers = await asyncio.gather(*(store.get() for _ in range(3)), return_exceptions=True)

    assert [type(answer) for answer in answers] == [OSError] * 3
    assert await store.get() == "open"


async def test_closing_a_store_while_it_fails_to_open_succeeds() -> None:
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


class Log:
    """A store that opens and closes at once, or waits in closing, and logs each event with its loop."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.loops: list[asyncio.AbstractEventLoop] = []
        self.may_close = True

    async def open(self) -> int:
        self.loops.append(asyncio.get_running_loop())
        self.events.append(f"open {len(self.loops)}")
        return len(self.loops)

    async def close(self, opened: int) -> None:
        if not self.may_close:
            await asyncio.Event().wait()
        where = "its loop" if self.loops[opened - 1] is asyncio.get_running_loop() else "another loop"
        self.events.append(f"close {opened} in {where}")

    def store(self) -> OpenedOnce[int]:
        return OpenedOnce("store", self.open, self.close)


def test_the_shutdown_of_a_loop_closes_a_store_that_was_left_open() -> None:
    log = Log()
    store = log.store()

    assert [asyncio.run(store.get()) for _ in range(2)] == [1, 2]

    assert log.events == ["open 1", "close 1 in its loop", "open 2", "close 2 in its loop"]


def test_the_shutdown_of_a_loop_in_a_forked_child_does_not_close_the_store_of_its_parent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = Log()
    store = log.store()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(store.get())

    # A real child that shuts down the loop of its parent consumes the parent's wake-ups: asyncio shares them.
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()

    assert log.events == ["open 1"]


def test_a_store_left_open_by_a_loop_closed_by_hand_is_closed_before_it_is_opened_again() -> None:
    log = Log()
    store = log.store()
    first = asyncio.new_event_loop()
    first.run_until_complete(store.get())
    first.close()

    asyncio.run(store.get())

    assert log.events == ["open 1", "close 1 in another loop", "open 2", "close 2 in its loop"]


def test_aclose_closes_a_store_left_open_by_a_loop_closed_by_hand() -> None:
    log = Log()
    store = log.store()
    first = asyncio.new_event_loop()
    first.run_until_complete(store.get())
    first.close()

    asyncio.run(store.aclose())
    asyncio.run(store.aclose())

    assert log.events == ["open 1", "close 1 in another loop"]


def test_an_unfinished_close_is_finished_by_the_next_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opened_once, "_LONGEST_GOODBYE", 0.01)
    log = Log()
    store = log.store()

    async def begin_to_close() -> None:
        await store.get()
        closing.append(asyncio.create_task(store.aclose()))
        await asyncio.sleep(0)

    closing: list[asyncio.Task[None]] = []
    log.may_close = False
    asyncio.run(begin_to_close())
    log.may_close = True
    with pytest.raises(CheckpointerMisuseError, check=of_kind("closed")):
        asyncio.run(store.get())
    asyncio.run(store.enter())

    assert log.events == ["open 1", "close 1 in another loop", "open 2", "close 2 in its loop"]


async def test_a_store_that_is_dropped_without_closing_is_closed() -> None:
    log = Log()
    store = log.store()
    await store.get()

    del store
    gc.collect()
    for _ in range(5):
        await asyncio.sleep(0)

    assert log.events == ["open 1", "close 1 in its loop"]


async def test_entering_a_closed_store_opens_it_again_and_any_other_call_does_not() -> None:
    log = Log()
    store = log.store()
    await store.get()
    await store.aclose()

    with pytest.raises(CheckpointerMisuseError, check=of_kind("closed")):
        await store.get()
    assert await store.enter() == 2
    assert await store.get() == 2
    await store.aclose()

    assert log.events == ["open 1", "close 1 in its loop", "open 2", "close 2 in its loop"]


def test_only_one_of_two_concurrent_loops_owns_the_store() -> None:
    for _ in range(50):
        log = Log()
        store = log.store()
        asyncio.run(store.get())
        meet, leave = threading.Barrier(2), threading.Barrier(2)
        answers: list[object] = []

        async def use(
            store: OpenedOnce[int] = store,
            meet: threading.Barrier = meet,
            leave: threading.Barrier = leave,
            answers: list[object] = answers,
        ) -> None:
            meet.wait()
            answers.extend(await asyncio.gather(store.get(), return_exceptions=True))
            leave.wait()

        threads = [threading.Thread(target=lambda use=use: asyncio.run(use())) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(getattr(answer, "kind", "opened") for answer in answers) == ["loop", "opened"]
