"""The clauses that every notifier has to satisfy, for a backend's own tests.

    class TestNotifierOfMySaver(NotifierConformance):
        async def open(self) -> Checkpointer:
            return MySaver(...)

        async def open_another(self, saver: Checkpointer) -> Checkpointer:
            return MySaver(...)

A notifier that does nothing is allowed, but does not satisfy these clauses.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.notices import EventsAdded, Notice, RunChanged, RunReady, Wanted, WorkerAsked
from durable_graph.checkpointing.notifier import Notifier, Notifies
from durable_graph.run_records import RunState
from durable_graph.testing.conformance.run_store_under_test import (
    QUEUE,
    RunStoreUnderTest,
    accept,
    claim_one,
    end_of,
    runs_of,
    send,
)

_PATIENCE = 20.0
"""Seconds until a notice counts as lost."""

KEY = key_of("thread")


class Heard:
    """The notices that a listener has received."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self._is_new = asyncio.Event()

    def hear(self, notice: Notice) -> None:
        """The listener's callback."""
        self.notices.append(notice)
        self._is_new.set()

    async def until(self, notice: Notice) -> None:
        """Wait for the notice, and assert that it arrives."""
        try:
            async with asyncio.timeout(_PATIENCE):
                while notice not in self.notices:
                    self._is_new.clear()
                    await self._is_new.wait()
        except TimeoutError:
            message = f"{notice} has not arrived, but only {self.notices}"
            raise AssertionError(message) from None


def notifier_of(saver: Checkpointer) -> Notifier:
    """The saver's notifier."""
    assert isinstance(saver, Notifies), f"{saver} has no notifier"
    return saver.notifier


@contextmanager
def listening(saver: Checkpointer, *notices: Notice) -> Iterator[Heard]:
    """A listener that wants these notices."""
    wanted = Wanted(
        queues=[each.queue for each in notices if isinstance(each, RunReady)],
        runs=[(each.thread_key, each.seq) for each in notices if isinstance(each, RunChanged)],
        workers=[each.worker for each in notices if isinstance(each, WorkerAsked)],
        threads=[each.thread_key for each in notices if isinstance(each, EventsAdded)],
    )
    heard = Heard()
    listener = notifier_of(saver).listen(heard.hear, lambda: wanted)
    try:
        yield heard
    finally:
        listener.close()


class NotifierConformance(RunStoreUnderTest):
    """All clauses. A subclass implements `open` and `open_another`."""

    async def test_a_notice_reaches_every_listener_of_its_saver(self) -> None:
        notices: list[Notice] = [RunReady(QUEUE), RunChanged(KEY, 1), WorkerAsked(1), EventsAdded(KEY)]
        async with self.saver() as saver:
            await accept(saver)
            with listening(saver, *notices) as one, listening(saver, *notices) as other:
                notifier_of(saver).notify(*notices)
                for heard in (one, other):
                    for notice in notices:
                        await heard.until(notice)

    async def test_an_accepted_run_is_noticed_by_another_saver(self) -> None:
        async with self.saver() as saver, await self.open_another(saver) as other:
            with listening(other, RunReady(QUEUE)) as heard:
                await accept(saver)
                notifier_of(saver).notify(RunReady(QUEUE))
                await heard.until(RunReady(QUEUE))

    async def test_an_earlier_due_time_is_noticed_by_another_saver(self) -> None:
        async with self.saver() as saver, await self.open_another(saver) as other:
            await accept(saver, "late", delay=2_000_000_000)
            with listening(other, RunReady(QUEUE)) as heard:
                await heard_of_the_start(saver, heard)
                heard.notices.clear()
                await accept(saver, delay=1_000_000_000)
                notifier_of(saver).notify(RunReady(QUEUE))
                await heard.until(RunReady(QUEUE))

    async def test_the_end_of_a_run_is_noticed_by_another_saver(self) -> None:
        async with self.saver() as saver, await self.open_another(saver) as other:
            seq = await accept(saver)
            claim = await claim_one(saver)
            with listening(other, RunChanged(KEY, seq)) as heard:
                await runs_of(saver).settle(end_of(claim, 1, RunState.FAILED, error="why"))
                notifier_of(saver).notify(RunChanged(KEY, seq))
                await heard.until(RunChanged(KEY, seq))

    async def test_a_request_to_a_worker_is_noticed_by_another_saver(self) -> None:
        async with self.saver() as saver, await self.open_another(saver) as other:
            seq = await accept(saver)
            await claim_one(saver, worker=7)
            with listening(other, WorkerAsked(7)) as heard:
                assert await runs_of(saver).cancel_run("thread", seq, "reason") == RunState.RUNNING
                notifier_of(saver).notify(WorkerAsked(7))
                await heard.until(WorkerAsked(7))

    async def test_new_events_of_a_thread_are_noticed_by_another_saver(self) -> None:
        async with self.saver() as saver, await self.open_another(saver) as other:
            await accept(saver)
            with listening(other, EventsAdded(KEY)) as heard:
                await send(saver)
                notifier_of(saver).notify(EventsAdded(KEY))
                await heard.until(EventsAdded(KEY))

    async def test_many_notices_at_once_all_arrive(self) -> None:
        async with self.saver() as saver, await self.open_another(saver) as other:
            threads = [f"thread {number}" for number in range(600)]
            notices = [EventsAdded(key_of(thread)) for thread in threads]
            await accept(saver)
            with listening(other, *notices) as heard:
                await send(saver)
                notifier_of(saver).notify(*notices)
                for notice in notices:
                    await heard.until(notice)

    async def test_a_closed_listener_gets_no_notices(self) -> None:
        async with self.saver() as saver:
            await accept(saver)
            with listening(saver, WorkerAsked(1)) as open_one:
                with listening(saver, WorkerAsked(1)) as closed:
                    pass
                notifier_of(saver).notify(WorkerAsked(1))
                await open_one.until(WorkerAsked(1))
                assert closed.notices == []

    async def test_a_listener_gets_notices_after_all_before_it_were_closed(self) -> None:
        async with self.saver() as saver, await self.open_another(saver) as other:
            await accept(saver, "first")
            for number in range(2):
                with listening(other, RunReady(QUEUE)) as heard:
                    await accept(saver, f"thread {number}")
                    notifier_of(saver).notify(RunReady(QUEUE))
                    await heard.until(RunReady(QUEUE))

    async def test_notices_without_listeners_and_of_a_closed_saver_raise_nothing(self) -> None:
        async with self.saver() as saver:
            notifier_of(saver).notify()
            notifier_of(saver).notify(RunReady(QUEUE), RunChanged(KEY, 1), WorkerAsked(1), EventsAdded(KEY))
        notifier_of(saver).notify(RunReady(QUEUE))
        with listening(saver, RunReady(QUEUE)):
            notifier_of(saver).notify(RunReady(QUEUE))

    async def test_a_saver_that_is_closed_with_listeners_and_opened_again_has_a_notifier(self) -> None:
        async with self.saver() as saver, await self.open_another(saver) as other:
            with listening(other, RunReady(QUEUE)):
                await accept(saver, "first")
                await other.aclose()
            async with other:
                with listening(other, RunReady(QUEUE)) as heard:
                    await accept(saver)
                    notifier_of(saver).notify(RunReady(QUEUE))
                    await heard.until(RunReady(QUEUE))


async def heard_of_the_start(saver: Checkpointer, heard: Heard) -> None:
    """Wait until the listener receives the notices of other savers."""
    notifier_of(saver).notify(RunReady(QUEUE))
    await heard.until(RunReady(QUEUE))
