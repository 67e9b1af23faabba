"""An occurrence is fired once, in one transaction with its run."""

import asyncio

import msgspec

from durable_graph.checkpointing.schedule_store import NEVER, Cause, Fate
from durable_graph.testing.conformance.run_store_under_test import HOUR, RunStoreUnderTest, accept, runs_of
from durable_graph.testing.conformance.schedules_under_test import (
    PAST,
    create,
    fire,
    fired,
    firing_of,
    number_of_runs,
    schedule_at,
    schedules_of,
)


class FiringClauses(RunStoreUnderTest):
    """A firing compares the revision of the row from which it was computed."""

    async def test_an_occurrence_starts_its_run_and_moves_the_schedule_on(self) -> None:
        async with await self.open() as saver:
            row = await create(saver)
            before = (await schedules_of(saver).find(row.id)).now
            found = await fired(saver, row)
            after = await schedule_at(saver, row)
            assert after.updated_at >= before
            moved = msgspec.structs.replace(row, revision=2, next=PAST + HOUR, due=PAST + HOUR, last=PAST, fired=1)
            assert msgspec.structs.replace(after, updated_at=row.updated_at, runs="") == moved
            run = await runs_of(saver).find_run(found.thread, found.seq)
            assert run is not None
            assert (run.thread, run.graph) == (f"nightly-{PAST}", "graph")

    async def test_an_occurrence_is_fired_once(self) -> None:
        async with await self.open() as saver:
            row = await create(saver)
            firing = firing_of(row)
            fates = [(await schedules_of(saver).fire(firing)).fate for _ in range(3)]
            assert fates == [Fate.FIRED, Fate.STALE, Fate.STALE]
            assert await number_of_runs(saver) == 1
            assert (await schedule_at(saver, row)).fired == 1

    async def test_simultaneous_firings_start_one_run(self) -> None:
        async with await self.open() as saver, await self.open_another(saver) as other:
            row = await create(saver, overlap="parallel")
            stores = [schedules_of(saver), schedules_of(other)] * 3
            # As each of several clocks computes it, with another thread for each.
            firings = [firing_of(row, thread=f"thread {number}") for number in range(len(stores))]
            found = await asyncio.gather(*(store.fire(each) for store, each in zip(stores, firings, strict=True)))
            assert sorted(each.fate.name for each in found) == ["FIRED", *["STALE"] * 5]
            assert await number_of_runs(saver) == 1

    async def test_a_firing_after_a_change_does_nothing(self) -> None:
        async with await self.open() as saver:
            row = await create(saver)
            firing = firing_of(row)
            paused = msgspec.structs.replace(row, revision=2, is_paused=True, due=NEVER)
            assert await schedules_of(saver).replace(paused)
            assert (await schedules_of(saver).fire(firing)).fate is Fate.STALE
            assert await number_of_runs(saver) == 0
            assert await schedule_at(saver, row) == paused

    async def test_a_firing_of_a_deleted_schedule_does_nothing(self) -> None:
        async with await self.open() as saver:
            row = await create(saver)
            firing = firing_of(row)
            await schedules_of(saver).delete(row.id)
            assert (await schedules_of(saver).fire(firing)).fate is Fate.STALE
            assert await number_of_runs(saver) == 0

    async def test_missed_occurrences_are_counted(self) -> None:
        async with await self.open() as saver:
            row = await create(saver)
            await fired(saver, row, skipped=3)
            passed = await fire(saver, row, run=None, at=0, skipped=4)
            after = await schedule_at(saver, row)
            assert passed.fate is Fate.PASSED
            assert (after.fired, after.skipped, after.last, after.next) == (1, 7, PAST, PAST + 2 * HOUR)

    async def test_an_occurrence_that_cannot_be_fired_is_counted_with_its_reason(self) -> None:
        async with await self.open() as saver:
            row = await create(saver, overlap="parallel")
            await fire(saver, row, run=None, error="the reason")
            after = await schedule_at(saver, row)
            assert (after.fired, after.skipped, after.error, after.last) == (0, 1, "the reason", 0)
            await fired(saver, row)
            assert (await schedule_at(saver, row)).error is None

    async def test_a_thread_of_another_graph_refuses_the_run(self) -> None:
        async with await self.open() as saver:
            await accept(saver, "thread", graph="other")
            row = await create(saver, thread="thread")
            found = await fire(saver, row)
            after = await schedule_at(saver, row)
            assert (found.fate, found.stored_graph) == (Fate.PASSED, "other")
            assert (after.fired, after.skipped, after.next) == (0, 1, PAST + HOUR)
            assert after.error == "thread 'thread' belongs to the graph 'other', and not to 'graph'"
            assert await number_of_runs(saver) == 1

    async def test_a_trigger_leaves_the_next_occurrence(self) -> None:
        async with await self.open() as saver:
            for paused in (False, True):
                row = await create(saver, f"paused {paused}", is_paused=paused, due=NEVER if paused else PAST)
                for number in range(2):
                    # The earlier run has not ended.
                    await fired(saver, row, Cause.TRIGGER, thread=f"{paused} {number}", at=5)
                after = await schedule_at(saver, row)
                assert (after.next, after.due, after.last, after.fired) == (row.next, row.due, 5, 2)

    async def test_a_paused_schedule_stays_without_a_due_time(self) -> None:
        async with await self.open() as saver:
            row = await create(saver, is_paused=True, due=NEVER)
            await fire(saver, row)
            assert (await schedule_at(saver, row)).due == NEVER
