"""Clauses of the directory of threads about the status of a thread."""

import msgspec

from durable_graph.checkpointing import Checkpointer
from durable_graph.records import Status
from durable_graph.run_records import NEVER, RunState, RunUpdate, WaitsOn
from durable_graph.testing.conformance.directory_threads import DirectoryUnderTest
from durable_graph.testing.conformance.directory_under_test import create, entry_at, ids
from durable_graph.testing.conformance.run_store_under_test import (
    HOUR,
    accept,
    claim_one,
    claims,
    commit_with,
    end_of,
    runs_of,
    save_with,
    unit_with,
    writer_of,
)
from durable_graph.testing.conformance.saver_under_test import commit

_STATUSES: dict[Status, tuple[str, str | None]] = {
    "running": ("busy", None),
    "interrupted": ("interrupted", None),
    "failed": ("error", "reason"),
    "done": ("idle", None),
    "cancelled": ("idle", None),
}


class StatusClauses(DirectoryUnderTest):
    """Clauses of the status, in `find`, `search` and `count`."""

    async def test_a_thread_without_runs_has_the_status_of_its_row(self) -> None:
        async with self.saver() as saver:
            for status in _STATUSES:
                await create(saver, status)
                writer = await writer_of(saver, status)
                await commit(saver, writer)
                batch = msgspec.structs.replace(
                    writer.batch(status=status), error="reason" if status == "failed" else None
                )
                await saver.save_writes(batch)
            for status, expected in _STATUSES.items():
                entry = await entry_at(saver, status)
                assert (entry.status, entry.error) == expected, status
            await self._is_searched(saver)

    async def test_a_thread_with_a_run_that_is_executed_or_will_be_is_busy(self) -> None:
        async with self.saver() as saver:
            await accept(saver, "running")
            await claim_one(saver)
            await accept(saver, "ready")
            await accept(saver, "later", delay=HOUR)
            seq = await accept(saver, "second")
            await accept(saver, "second")
            await runs_of(saver).cancel_run("second", seq, "reason")
            for thread in ("running", "ready", "later", "second"):
                assert (await entry_at(saver, thread)).status == "busy", thread
            await self._is_searched(saver)

    async def test_a_thread_with_a_run_that_waits_is_interrupted_if_only_a_caller_can_continue_it(self) -> None:
        async with self.saver() as saver:
            for thread, waits_on, due, expected in (
                ("sleep", WaitsOn(), HOUR, "busy"),
                ("message", WaitsOn(("topic",)), NEVER, "busy"),
                ("message or time", WaitsOn(("topic",)), HOUR, "busy"),
                ("answer", WaitsOn((), ("id",)), NEVER, "interrupted"),
                ("answer or time", WaitsOn((), ("id",)), HOUR, "interrupted"),
                ("answer or message", WaitsOn(('"interrupts":[',), ("id",)), NEVER, "interrupted"),
                ("odd topic", WaitsOn(('"interrupts":["',)), NEVER, "busy"),
                ("breakpoint", WaitsOn(), NEVER, "interrupted"),
                ("breakpoint of a commit", None, NEVER, "interrupted"),
            ):
                for time_limit in (0, 10 * HOUR):
                    name = f"{thread} {time_limit}"
                    await self._wait(saver, name, waits_on, due, time_limit)
                    assert (await entry_at(saver, name)).status == expected, name
            await self._is_searched(saver)

    async def test_the_first_unfinished_run_decides(self) -> None:
        async with self.saver() as saver:
            await self._wait(saver, "thread", WaitsOn((), ("id",)), NEVER, 0)
            later = await accept(saver)
            assert (await entry_at(saver)).status == "interrupted"
            assert await ids(saver, status="interrupted") == ["thread"]
            await runs_of(saver).cancel_run("thread", later, "reason")
            assert (await entry_at(saver)).status == "interrupted"
            await self._is_searched(saver)

    async def test_a_thread_is_in_error_after_its_last_run_failed(self) -> None:
        async with self.saver() as saver:
            # The run failed before its first commit.
            await create(saver, "created")
            seq = await accept(saver, "created")
            claim = await claim_one(saver)
            await runs_of(saver).settle(end_of(claim, 1, RunState.FAILED, error="no code"))
            await accept(saver, "begun")
            claim = await claim_one(saver)
            writer = await writer_of(saver, "begun")
            await commit_with(saver, writer, RunUpdate(claim.seq, RunState.RUNNING, checkpoint=1, first_checkpoint=1))
            batch = msgspec.structs.replace(
                writer.batch(status="failed"),
                run=RunUpdate(claim.seq, RunState.FAILED, error="failure"),
                error="failure",
            )
            await saver.save_writes(batch)
            for thread, error in (("created", "no code"), ("begun", "failure")):
                entry = await entry_at(saver, thread)
                assert (entry.status, entry.error) == ("error", error)
            await self._is_searched(saver)
            # A later run is newer than the failure.
            await runs_of(saver).retry_run("created", seq)
            assert (await entry_at(saver, "created")).status == "busy"
            assert await ids(saver, status="error") == ["begun"]

    async def test_a_thread_is_in_error_after_its_last_run_was_quarantined(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            await claims(saver)
            runs = runs_of(saver)
            runs.skew += 2 * HOUR
            runs.lease_skew += 2 * HOUR
            await runs.sweep(1)
            entry = await entry_at(saver)
            assert entry.status == "error"
            assert entry.error is not None
            assert "retry the run" in entry.error
            await self._is_searched(saver)
            await runs.retry_run("thread", seq)
            assert (await entry_at(saver)).status == "busy"

    async def test_a_commit_after_the_failure_of_a_run_ends_the_error(self) -> None:
        async with self.saver() as saver:
            await create(saver)
            await accept(saver)
            claim = await claim_one(saver)
            await runs_of(saver).settle(end_of(claim, 1, RunState.FAILED, error="no code"))
            run = await runs_of(saver).find_run("thread", claim.seq)
            assert run is not None
            writer = await writer_of(saver)
            await saver.commit(writer.unit(status="done", at=run.ended_at + 1))
            assert (await entry_at(saver)).status == "idle"
            await self._is_searched(saver)

    async def test_a_thread_whose_runs_have_ended_has_the_status_of_its_row(self) -> None:
        async with self.saver() as saver:
            ended: dict[Status, RunState] = {"done": RunState.DONE, "cancelled": RunState.CANCELLED}
            for status, state in ended.items():
                await accept(saver, status)
                claim = await claim_one(saver)
                writer = await writer_of(saver, status)
                first = RunUpdate(claim.seq, RunState.RUNNING, checkpoint=1, first_checkpoint=1)
                await commit_with(saver, writer, first)
                await save_with(saver, writer, RunUpdate(claim.seq, state), status)
                assert (await entry_at(saver, status)).status == "idle"
            await self._is_searched(saver)

    async def _wait(
        self, saver: Checkpointer, thread: str, waits_on: WaitsOn | None, due: int, time_limit: int
    ) -> None:
        await accept(saver, thread, time_limit=time_limit)
        claim = await claim_one(saver)
        encoded = None if waits_on is None else msgspec.json.encode(waits_on).decode()
        at = due if due == NEVER else claim.now + due
        update = RunUpdate(claim.seq, RunState.WAITING, 1, 1, due=at, inbox=claim.inbox, waits_on=encoded)
        unit = unit_with(await writer_of(saver, thread), update, status="interrupted")
        await saver.commit(unit)
        row = await runs_of(saver).find_run(thread, claim.seq)
        assert row is not None
        assert row.state is RunState.WAITING

    async def _is_searched(self, saver: Checkpointer) -> None:
        """Assert that a search by status, and the order by status, agree with the status of each thread."""
        threads = await ids(saver)
        statuses = {thread: (await entry_at(saver, thread)).status for thread in threads}
        for status in ("idle", "busy", "interrupted", "error"):
            assert await ids(saver, status=status) == [each for each in threads if statuses[each] == status], status
        assert await ids(saver, sort_by="status") == sorted(threads, key=lambda each: (statuses[each], each))
