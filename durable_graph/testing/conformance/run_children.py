"""Clauses of runs that other runs started, and of runs that continue as new."""

from msgspec.structs import replace

from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.run_parents import CANCEL, child_topic
from durable_graph.run_records import NEVER, Message, RunState, RunUpdate
from durable_graph.testing.conformance.run_store_under_test import (
    HOUR,
    SECOND,
    RunStoreUnderTest,
    accept,
    claim_one,
    claims,
    commit_with,
    end_of,
    run_at,
    runs_of,
    save_with,
    state_at,
    wait,
    writer_of,
)

CHILD = "child"


class ChildClauses(RunStoreUnderTest):
    """Clauses of `NewRun.parent_key`."""

    async def test_a_commit_that_ends_a_child_sends_its_end_and_wakes_its_parent(self) -> None:
        async with self.saver() as saver:
            parent, child = await _family(saver)
            claim = await claim_one(saver)
            assert (claim.seq, claim.parent_key) == (child, key_of("thread"))
            await commit_with(saver, await writer_of(saver, CHILD), _done(child), status="done")
            assert await state_at(saver, child, CHILD) == RunState.DONE
            assert [message.value for message in await _ends(saver, child)] == [b""]
            run = await run_at(saver, parent)
            assert (run.state, run.inbox) == (RunState.READY, 1)
            assert run.due < NEVER

    async def test_every_end_of_a_child_is_sent_to_its_parent(self) -> None:
        async with self.saver() as saver:
            runs = runs_of(saver)
            parent, _ = await wait(saver)
            given = {"parent_key": key_of("thread"), "parent_seq": parent, "on_parent": CANCEL}
            children = {name: await accept(saver, name, **given) for name in ("saved", "settled")}
            found = {claim.thread: claim for claim in await claims(saver)}
            await commit_with(
                saver,
                await writer_of(saver, "saved"),
                RunUpdate(children["saved"], RunState.RUNNING, first_checkpoint=1, checkpoint=1),
            )
            failed = RunUpdate(children["saved"], RunState.FAILED, error="no", has_parent=True)
            await save_with(saver, await writer_of(saver, "saved"), failed, "failed")
            assert await runs.settle(end_of(found["settled"], 1, RunState.FAILED, error="no"))
            children["cancelled"] = await accept(saver, "cancelled", **given)
            await runs.cancel_run("cancelled", children["cancelled"], "no")
            children["replaced"] = await accept(saver, "replaced", **given)
            await accept(saver, "replaced", if_busy="interrupt", delay=NEVER >> 2)
            children["deleted"] = await accept(saver, "deleted", **given)
            await saver.delete_thread("deleted")
            children["overdue"] = await accept(saver, "overdue", time_limit=SECOND, **given)
            self.move_clock(saver, HOUR)
            assert await runs.fail_overdue() == [("overdue", children["overdue"])]
            for name, seq in children.items():
                assert len(await _ends(saver, seq, name)) == 1, name
            assert await state_at(saver, parent) == RunState.READY

    async def test_the_end_of_a_child_is_sent_once(self) -> None:
        async with self.saver() as saver:
            _, child = await _family(saver)
            claim = await claim_one(saver)
            runs = runs_of(saver)
            for _ in range(2):
                assert await runs.settle(end_of(claim, 1, RunState.FAILED, error="no"))
                await runs.cancel_run(CHILD, child, "no")
            assert len(await _ends(saver, child)) == 1
            # Another end of a run that was retried is another message.
            self.move_clock(saver, SECOND)
            await runs.retry_run(CHILD, child)
            await runs.cancel_run(CHILD, child, "no")
            assert len(await _ends(saver, child)) == 2

    async def test_a_parent_that_is_done_receives_no_end_and_one_that_failed_does(self) -> None:
        async with self.saver() as saver:
            runs = runs_of(saver)
            for state, messages in ((RunState.DONE, 0), (RunState.FAILED, 1)):
                name = state.name
                parent = await accept(saver, name)
                claim = await claim_one(saver)
                assert await runs.settle(end_of(claim, 1, state, error="no" if messages else None))
                child = await accept(saver, f"child of {name}", parent_key=key_of(name), parent_seq=parent)
                await runs.cancel_run(f"child of {name}", child, "no")
                assert len(await _ends(saver, child, f"child of {name}", name)) == messages

    async def test_a_quarantined_child_has_not_ended_for_its_parent(self) -> None:
        async with self.saver() as saver:
            parent, child = await _family(saver)
            _, swept = await self.crash(saver, most=1)
            assert swept.quarantined == 1
            assert await _ends(saver, child) == []
            assert await state_at(saver, parent) == RunState.WAITING

    async def test_a_run_without_a_parent_sends_no_end(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver, CHILD)
            claim = await claim_one(saver)
            assert claim.parent_key == 0
            assert await runs_of(saver).settle(end_of(claim, 1, RunState.FAILED, error="no"))
            assert await runs_of(saver).find_children(0, 0) == []
            assert await _ends(saver, seq) == []

    async def test_the_children_of_a_run_are_found_until_they_end(self) -> None:
        async with self.saver() as saver:
            runs = runs_of(saver)
            parent, child = await _family(saver)
            other = await accept(saver, "other", parent_key=key_of("thread"), parent_seq=parent + 1)
            found = await runs.find_children("thread", parent)
            row = await run_at(saver, child, CHILD)
            assert found == [row]
            assert (row.parent_key, row.parent_seq, row.on_parent) == (key_of("thread"), parent, CANCEL)
            assert [each.seq for each in await runs.find_children(key_of("thread"), parent + 1)] == [other]
            await runs.cancel_run(CHILD, child, "no")
            assert await runs.find_children("thread", parent) == []

    async def test_children_whose_parent_was_cancelled_are_found_until_they_are_cancelled(self) -> None:
        async with self.saver() as saver:
            runs = runs_of(saver)
            parent, child = await _family(saver)
            kept = await accept(saver, "kept", parent_key=key_of("thread"), parent_seq=parent)
            assert await runs.find_orphans() == []
            await runs.cancel_run("thread", parent, "no")
            assert await runs.find_orphans() == [(CHILD, child)]
            assert await runs.find_orphans(limit=1) == [(CHILD, child)]
            assert {claim.seq for claim in await claims(saver)} == {child, kept}
            # Its worker is asked.
            assert await runs.cancel_run(CHILD, child, "no") is RunState.RUNNING
            assert await runs.find_orphans() == []


class ContinuationClauses(RunStoreUnderTest):
    """Clauses of `RunUpdate.input`."""

    async def test_a_run_continues_as_new_with_the_commit_that_ends_it(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver, parent_key=key_of("parent"), parent_seq=1)
            await claim_one(saver)
            writer = await writer_of(saver)
            await commit_with(saver, writer, RunUpdate(seq, RunState.RUNNING, first_checkpoint=1, checkpoint=1))
            await commit_with(saver, writer, _continued(seq), status="done")
            run = await run_at(saver, seq)
            assert (run.state, run.first_checkpoint, run.checkpoint, run.worker) == (RunState.READY, 0, 2, 0)
            assert run.due < NEVER
            claim = await claim_one(saver)
            assert (claim.seq, claim.input, claim.first_checkpoint, claim.attempt) == (seq, b"next", 0, 2)
            assert (claim.parent_key, claim.options) == (key_of("parent"), b"options")

    async def test_a_late_commit_continues_a_quarantined_run_and_no_other_that_has_ended(self) -> None:
        async with self.saver() as saver:
            seq = await accept(saver)
            await self.crash(saver, most=1)
            await commit_with(saver, await writer_of(saver), _continued(seq), status="done")
            assert await state_at(saver, seq) == RunState.READY
            ended = await accept(saver, "ended")
            claim = next(each for each in await claims(saver) if each.thread == "ended")
            assert await runs_of(saver).settle(end_of(claim, 1, RunState.DONE))
            await commit_with(saver, await writer_of(saver, "ended"), _continued(ended), status="done")
            assert await state_at(saver, ended, "ended") == RunState.DONE


async def _family(saver: Checkpointer) -> tuple[int, int]:
    """A run that waits for its child, which is ready. Their numbers."""
    parent, _ = await wait(saver)
    child = await accept(saver, CHILD, parent_key=key_of("thread"), parent_seq=parent, on_parent=CANCEL, if_busy="wait")
    return parent, child


async def _ends(saver: Checkpointer, seq: int, child: str = CHILD, parent: str = "thread") -> list[Message]:
    """The messages about the end of a child."""
    return await runs_of(saver).inbox(parent, [child_topic(key_of(child), seq)])


def _done(seq: int) -> RunUpdate:
    return RunUpdate(seq, RunState.DONE, first_checkpoint=1, checkpoint=1, has_parent=True)


def _continued(seq: int) -> RunUpdate:
    return replace(RunUpdate(seq, RunState.READY, checkpoint=2), input=b"next")
