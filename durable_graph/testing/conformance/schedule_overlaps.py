"""What becomes of an occurrence while an earlier run of its schedule has not ended."""

from durable_graph.checkpointing.schedule_rules import runs_in
from durable_graph.checkpointing.schedule_store import Cause, Fate
from durable_graph.run_records import RunState
from durable_graph.testing.conformance.run_store_under_test import (
    HOUR,
    RunStoreUnderTest,
    claim_one,
    run_at,
    runs_of,
    state_at,
)
from durable_graph.testing.conformance.schedules_under_test import (
    PAST,
    create,
    end_run,
    fire,
    fired,
    number_of_runs,
    schedule_at,
)


class OverlapClauses(RunStoreUnderTest):
    """The state of earlier runs is read in the transaction that fires."""

    async def test_an_occurrence_is_skipped(self) -> None:
        async with await self.open() as saver:
            row = await create(saver)
            await fired(saver, row)
            assert (await fire(saver, row)).fate is Fate.SKIPPED
            after = await schedule_at(saver, row)
            assert (after.fired, after.skipped, after.next, after.held) == (1, 1, PAST + 2 * HOUR, 0)
            assert await number_of_runs(saver) == 1
            await end_run(saver)
            await fired(saver, row)

    async def test_one_occurrence_waits_and_others_are_skipped(self) -> None:
        async with await self.open() as saver:
            row = await create(saver, overlap="queue_one")
            await fired(saver, row)
            assert [(await fire(saver, row)).fate for _ in range(3)] == [Fate.HELD, Fate.SKIPPED, Fate.SKIPPED]
            after = await schedule_at(saver, row)
            assert (after.fired, after.skipped, after.held, after.next) == (1, 2, PAST + HOUR, PAST + 4 * HOUR)
            # The clock looks again at the time `poll`.
            assert after.due == PAST

    async def test_all_occurrences_wait(self) -> None:
        async with await self.open() as saver:
            row = await create(saver, overlap="queue")
            await fired(saver, row)
            assert [(await fire(saver, row)).fate for _ in range(3)] == [Fate.HELD] * 3
            after = await schedule_at(saver, row)
            assert (after.fired, after.skipped, after.held, after.next) == (1, 0, PAST + HOUR, PAST + 4 * HOUR)

    async def test_a_waiting_occurrence_is_fired_once_the_run_has_ended(self) -> None:
        async with await self.open() as saver:
            row = await create(saver, overlap="queue")
            await fired(saver, row)
            await fire(saver, row)
            await fire(saver, row)
            assert (await fire(saver, row, Cause.HELD)).fate is Fate.HELD
            assert (await schedule_at(saver, row)).held == PAST + HOUR
            await end_run(saver)
            # An occurrence that is due now waits behind the one that waits already.
            assert (await fire(saver, row)).fate is Fate.HELD
            await fired(saver, row, Cause.HELD, held=PAST + 2 * HOUR)
            after = await schedule_at(saver, row)
            assert (after.fired, after.held, after.last) == (2, PAST + 2 * HOUR, PAST + HOUR)
            assert after.next == PAST + 4 * HOUR
            await end_run(saver)
            await fired(saver, row, Cause.HELD)
            after = await schedule_at(saver, row)
            assert (after.held, after.due) == (0, PAST + 4 * HOUR)

    async def test_an_occurrence_cancels_the_earlier_run(self) -> None:
        async with await self.open() as saver:
            row = await create(saver, overlap="cancel")
            ready = await fired(saver, row)
            running = await fired(saver, row)
            assert await state_at(saver, ready.seq, ready.thread) is RunState.CANCELLED
            await claim_one(saver)
            await fired(saver, row)
            held = await run_at(saver, running.seq, running.thread)
            # Its worker is asked to cancel it.
            assert (held.state, held.request) == (RunState.RUNNING, 1)
            assert (await schedule_at(saver, row)).fired == 3

    async def test_an_occurrence_on_the_thread_of_the_earlier_run_cancels_it(self) -> None:
        async with await self.open() as saver:
            row = await create(saver, overlap="cancel", thread="thread")
            first = await fired(saver, row)
            second = await fired(saver, row)
            states = [await state_at(saver, each.seq) for each in (first, second)]
            assert states == [RunState.CANCELLED, RunState.READY]

    async def test_occurrences_run_beside_each_other(self) -> None:
        async with await self.open() as saver:
            row = await create(saver, overlap="parallel")
            for _ in range(3):
                await fired(saver, row)
            assert await number_of_runs(saver) == 3
            assert (await schedule_at(saver, row)).skipped == 0

    async def test_a_triggered_run_counts_as_an_earlier_run(self) -> None:
        async with await self.open() as saver:
            row = await create(saver)
            first = await fired(saver, row)
            second = await fired(saver, row, Cause.TRIGGER, thread="triggered")
            found = runs_in(await schedule_at(saver, row))
            assert found == [(first.thread, first.seq), (second.thread, second.seq)]
            await runs_of(saver).cancel_run(first.thread, first.seq, "reason")
            assert (await fire(saver, row)).fate is Fate.SKIPPED
            assert runs_in(await schedule_at(saver, row)) == found
