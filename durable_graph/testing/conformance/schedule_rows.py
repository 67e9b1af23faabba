"""Schedules are stored, found, listed, replaced and deleted."""

import asyncio

import msgspec

from durable_graph.checkpointing.schedule_store import LAST, NEVER
from durable_graph.testing.conformance.run_store_under_test import HOUR, RunStoreUnderTest
from durable_graph.testing.conformance.schedules_under_test import (
    PAST,
    create,
    new_schedule,
    schedule_at,
    schedules_of,
)


class ScheduleRowClauses(RunStoreUnderTest):
    """A schedule is a row with a unique name."""

    async def test_a_schedule_is_found_by_its_name_and_by_its_id(self) -> None:
        async with await self.open() as saver:
            row = await create(
                saver,
                "nightly ä",
                thread="thread",
                error="error",
                is_paused=True,
                overlap="queue_one",
                catch_up=5,
                jitter=6,
                until=7 * HOUR,
                held=8,
                last=9,
                fired=10,
                skipped=11,
                runs='[["t",1]]',
                metadata='{"a":1}',
                digest=b"\0\xff",
                start=b"\0\xff\n",
            )
            plain = await create(saver, "plain")
            schedules = schedules_of(saver)
            assert [(await schedules.find(each)).row for each in (row.name, row.id)] == [row, row]
            assert (await schedules.find("plain")).row == plain
            assert [(await schedules.find(each)).row for each in ("nightly", 17)] == [None, None]
            async with await self.open_another(saver) as other:
                assert (await schedules_of(other).find(row.name)).row == row

    async def test_the_time_of_a_look_is_that_of_the_runs(self) -> None:
        async with await self.open() as saver:
            row = await create(saver)
            before = (await schedules_of(saver).find(row.id)).now
            self.move_clock(saver, HOUR)
            schedules = schedules_of(saver)
            times = [
                (await schedules.find(row.id)).now,
                (await schedules.list_schedules()).now,
                (await schedules.due(["graph"], limit=1)).now,
            ]
            assert all(HOUR <= each - before < 2 * HOUR for each in times)

    async def test_a_second_schedule_of_a_name_is_not_stored(self) -> None:
        async with await self.open() as saver:
            row = await create(saver)
            schedules = schedules_of(saver)
            assert await schedules.create(new_schedule(row.name, cron="1 * * * *")) == row
            assert await schedules.create(row) == row
            assert (await schedules.list_schedules()).rows == [row]

    async def test_simultaneous_creations_store_one_schedule(self) -> None:
        async with await self.open() as saver, await self.open_another(saver) as other:
            await schedules_of(saver).find("nightly")
            rows = [new_schedule() for _ in range(4)]
            stores = [schedules_of(saver), schedules_of(other)] * 2
            made = await asyncio.gather(*(store.create(row) for store, row in zip(stores, rows, strict=True)))
            assert len({each.id for each in made}) == 1
            assert (await schedules_of(saver).list_schedules()).rows == [made[0]]

    async def test_schedules_are_listed_by_name_in_pages(self) -> None:
        async with await self.open() as saver:
            made = {name: await create(saver, name) for name in ("b", "ä", "B", "a", "ab")}
            schedules = schedules_of(saver)
            first = await schedules.list_schedules(limit=3)
            second = await schedules.list_schedules(limit=3, after=first.rows[-1].name)
            assert first.rows + second.rows == [made[name] for name in ("B", "a", "ab", "b", "ä")]

    async def test_a_replacement_compares_the_revision(self) -> None:
        async with await self.open() as saver:
            row = await create(saver)
            schedules = schedules_of(saver)
            after = msgspec.structs.replace(
                row, revision=2, cron="1 * * * *", is_paused=True, due=NEVER, catch_up=LAST, fired=4
            )
            assert await schedules.replace(after)
            assert await schedule_at(saver, row) == after
            for other in (
                msgspec.structs.replace(row, revision=2, zone="Europe/Berlin"),
                msgspec.structs.replace(after, revision=4),
            ):
                assert not await schedules.replace(other)
            assert await schedule_at(saver, row) == after

    async def test_a_repeated_replacement_has_the_same_result(self) -> None:
        async with await self.open() as saver:
            row = await create(saver)
            after = msgspec.structs.replace(row, revision=2, cron="1 * * * *")
            assert [await schedules_of(saver).replace(after) for _ in range(2)] == [True, True]
            assert await schedule_at(saver, row) == after

    async def test_a_deleted_schedule_is_gone_and_its_name_is_free(self) -> None:
        async with await self.open() as saver:
            row, schedules = await create(saver), schedules_of(saver)
            assert [await schedules.delete(row.id) for _ in range(2)] == [True, False]
            assert (await schedules.find(row.name)).row is None
            assert not await schedules.replace(msgspec.structs.replace(row, revision=2))
            again = await create(saver)
            assert (await schedules.find(again.name)).row == again

    async def test_due_schedules_are_found_by_graph_the_first_one_first(self) -> None:
        async with await self.open() as saver:
            late = await create(saver, "late", due=PAST + 2)
            first = await create(saver, "first", due=PAST)
            await create(saver, "other", graph="other", due=PAST + 1)
            await create(saver, "paused", is_paused=True, due=NEVER)
            schedules = schedules_of(saver)
            assert (await schedules.due(["graph", "nothing"], limit=10)).rows == [first, late]
            assert (await schedules.due(["graph"], limit=1)).rows == [first]
            assert (await schedules.due(["nothing"], limit=10)).rows == []

    async def test_the_wait_is_that_for_the_first_schedule(self) -> None:
        async with await self.open() as saver:
            schedules = schedules_of(saver)
            assert (await schedules.due(["graph"], limit=10)).wait is None
            now = (await schedules.find("nothing")).now
            for hours in (3, 2):
                await create(saver, f"in {hours}", due=now + hours * HOUR)
            await create(saver, "other", graph="other", due=now + HOUR)
            await create(saver, "never", due=NEVER)
            found = await schedules.due(["graph"], limit=10)
            assert found.rows == []
            assert found.wait is not None
            assert HOUR < found.wait <= 2 * HOUR
            self.move_clock(saver, 2 * HOUR)
            assert [row.name for row in (await schedules.due(["graph"], limit=10)).rows] == ["in 2"]
