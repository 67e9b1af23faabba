"""Clauses of `commit`: one writer wins, a repeated call gets the first result, and branches are separate."""

import asyncio

import msgspec

from durable_graph.checkpointing import verify, verify_page
from durable_graph.records import Committed, Conflict, Saved, WritesMoved
from durable_graph.testing.conformance.saver_under_test import SaverUnderTest, commit, loaded, save, some_thread
from durable_graph.testing.rows import Step, Writer, state_of, states_of


class CommitClauses(SaverUnderTest):
    """Clauses of `commit`."""

    async def test_a_commit_round_trips(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            unit = await commit(saver, writer, Step({"count": b"4", "first": None}, header=b"\x00header\xff"))
            found = await loaded(saver, "thread")
            assert found.thread == writer.thread
            assert found.checkpoint == unit.checkpoints[0].row
            assert state_of(found) == writer.state() == {"count": b"4", "log": b"1,2,3,"}
            assert set(unit.checkpoints[0].values) <= set(found.values)

    async def test_of_two_writers_at_one_head_one_commits(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            rival = writer.rival()
            units = writer.unit(Step({"count": b"mine"})), rival.unit(Step({"count": b"theirs"}))
            answers = await asyncio.gather(*(saver.commit(unit) for unit in units))
            version = units[0].version
            assert set(answers) == {Committed(version), Conflict(version)}
            writer.applied(units[answers.index(Committed(version))])
            assert state_of(await loaded(saver, "thread")) == writer.state()

    async def test_of_two_writers_of_a_new_thread_one_commits(self) -> None:
        async with self.saver() as saver:
            first, second = Writer.of("thread"), Writer.of("thread", b"the-second-run--")
            assert await saver.commit(first.unit(Step({"by": b"first"}))) == Committed(1)
            assert await saver.commit(second.unit(Step({"by": b"second"}))) == Conflict(1)
            assert state_of(await loaded(saver, "thread")) == {"by": b"first"}

    async def test_writers_of_different_namespaces_conflict(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            rival = writer.rival()
            await commit(saver, writer, Step({"count": b"4"}))
            answer = await saver.commit(rival.unit(Step({"memory": b"stale"}, ns="child")))
            assert answer == Conflict(writer.thread.version)
            found = await saver.load("thread", "child")
            assert found is not None
            assert found.checkpoint is None

    async def test_a_repeated_commit_is_idempotent(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            unit = await commit(saver, writer, Step({"count": b"4"}, {"log": b"4,"}))
            # The reply was lost, and the caller repeats the call.
            assert await saver.commit(unit) == Committed(unit.version)
            found = await loaded(saver, "thread")
            assert (found.thread, state_of(found)) == (writer.thread, writer.state())

    async def test_a_repeated_commit_is_idempotent_after_later_commits(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            unit = await commit(saver, writer, Step({"count": b"4"}))
            lost = writer.rival().unit(Step({"count": b"never"}))
            await commit(saver, writer, Step({"count": b"5"}))
            await commit(saver, writer, Step({"count": b"6"}))
            assert await saver.commit(unit) == Committed(unit.version)
            assert await saver.commit(lost) == Conflict(writer.thread.version)

    async def test_the_first_commit_repeated_is_not_a_conflict(self) -> None:
        async with self.saver() as saver:
            unit = Writer.of("thread").unit(Step({"count": b"1"}))
            assert await saver.commit(unit) == Committed(1)
            assert await saver.commit(unit) == Committed(1)

    async def test_another_epoch_is_a_conflict(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            unit = msgspec.structs.replace(writer.unit(Step({"count": b"4"})), epoch=1)
            assert await saver.commit(unit) == Conflict(writer.thread.version)

    async def test_a_commit_that_misses_a_task_record_is_writes_moved(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            rival = writer.rival()
            await save(saver, rival, rival.batch(rival.record()))
            assert await saver.commit(writer.unit(Step({"count": b"4"}))) == WritesMoved(1)
            writer.thread = (await loaded(saver, "thread")).thread
            await commit(saver, writer, Step({"count": b"4"}))
            assert (await loaded(saver, "thread")).thread.wseq == 0

    async def test_the_thread_that_comes_back_is_the_thread_as_it_is_stored(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            for ns in ("", "child"):
                answer = await saver.commit(unit := writer.unit(Step({"count": b"4"}, ns=ns)))
                assert isinstance(answer, Committed)
                writer.applied(unit, answer.base)
                saved = await saver.save_writes(writer.batch(writer.record(ns=ns)))
                assert isinstance(saved, Saved)
                found = await loaded(saver, "thread")
                for base in (saved.base, found.base):
                    assert base is None or base.row == found.thread
                writer.thread, writer.base = found.thread, found.base
                # With the row or without, the next unit is committed.
                await commit(saver, writer, Step({"count": b"5"}, ns=ns))
                writer.base = None
                await commit(saver, writer, Step({"count": b"6"}, ns=ns))
            assert state_of(await loaded(saver, "thread")) == writer.state()

    async def test_an_outdated_base_changes_no_result(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            outdated = writer.base
            await commit(saver, writer, Step({"count": b"4"}))
            await save(saver, writer, writer.batch(writer.record()))
            stale = msgspec.structs.replace(writer.unit(Step({"count": b"5"})), base=outdated)
            batch = msgspec.structs.replace(writer.batch(writer.record(number=1)), base=outdated)
            saved = await saver.save_writes(batch)
            assert saved == Saved(2, bumped=True, standing=batch.records)
            assert await saver.commit(stale) == WritesMoved(2)
            writer.thread = (await loaded(saver, "thread")).thread
            unit = msgspec.structs.replace(writer.unit(Step({"count": b"6"})), base=outdated)
            assert await saver.commit(unit) == Committed(unit.version)
            writer.applied(unit)
            found = await loaded(saver, "thread")
            assert (found.thread, state_of(found)) == (writer.thread, writer.state())

    async def test_a_conflict_does_not_fail_concurrent_commits(self) -> None:
        async with self.saver() as saver:
            writers = [await some_thread(saver, f"thread-{number}") for number in range(8)]
            stale = writers[3].rival().unit(Step({"count": b"stale"}))
            await commit(saver, writers[3], Step({"count": b"4"}))
            units = [writer.unit(Step({"count": b"9"})) for writer in writers]
            units[3] = stale
            answers = await asyncio.gather(*(saver.commit(unit) for unit in units))
            assert answers[3] == Conflict(4)
            assert answers[:3] + answers[4:] == [Committed(4)] * 7
            for unit in units[:3] + units[4:]:
                assert state_of(await loaded(saver, unit.thread))["count"] == b"9"

    async def test_checkpoint_numbers_may_have_gaps(self) -> None:
        async with self.saver() as saver:
            writer = Writer.of("thread")
            await commit(saver, writer, Step({"first": b"only"}, {"log": b"1,"}, gap=4))
            await commit(saver, writer, Step({}, {"log": b"2,"}, gap=7))
            assert writer.thread.version == 13
            assert state_of(await loaded(saver, "thread")) == writer.state()
            assert state_of(await loaded(saver, "thread", no=5)) == writer.state(5)
            page = await saver.history("thread", limit=10)
            assert page is not None
            verify_page(page)
            assert [row.no for row in page.checkpoints] == [13, 5]

    async def test_one_unit_may_hold_several_checkpoints_of_several_namespaces(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            await commit(
                saver,
                writer,
                Step({"memory": b"a"}, ns="child"),
                Step({}, {"log": b"4,"}),
                Step({"memory": b"b"}, ns="other"),
                Step({"more": b"c"}, ns="child"),
            )
            assert writer.thread.version == 7
            assert (await loaded(saver, "thread")).thread == writer.thread
            for ns in ("", "child", "other"):
                assert state_of(await loaded(saver, "thread", ns)) == writer.state(ns=ns)
            assert state_of(await loaded(saver, "thread", "child", 4)) == {"memory": b"a"}

    async def test_a_fork_reads_the_values_of_its_own_branch(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver, length=5)
            await commit(saver, writer, Step({"memory": b"old line"}, ns="child"))
            await commit(saver, writer, Step({"fork": b"yes"}, {"log": b"fork,"}), fork_of=2)
            assert state_of(await loaded(saver, "thread")) == writer.state()
            assert writer.state()["log"] == b"1,2,fork,"
            await commit(saver, writer, Step({}, {"log": b"more,"}))
            assert state_of(await loaded(saver, "thread")) == writer.state()
            # The child's state after checkpoint 2 belongs to the other branch.
            child = await saver.load("thread", "child")
            assert child is not None
            assert child.checkpoint is None

    async def test_a_fork_keeps_the_old_branch_readable(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver, length=5)
            for base in (2, 4, 6, 3):
                await commit(saver, writer, Step({"count": b"f"}, {"log": b"f,"}), fork_of=base)
            for no in range(1, 10):
                assert state_of(await loaded(saver, "thread", no=no)) == writer.state(no)
            page = await saver.history("thread", limit=20)
            assert page is not None
            verify_page(page)
            assert states_of(page) == {no: writer.state(no) for no in range(1, 10)}

    async def test_a_long_chain_of_updates_is_read_in_few_rows(self) -> None:
        async with self.saver() as saver:
            writer = Writer.of("thread")
            for number in range(100):
                await commit(saver, writer, Step({}, {"log": b"%d," % number}))
            found = await loaded(saver, "thread")
            assert len(found.values) <= 3 + 31
            assert state_of(found) == writer.state()
            verify(await loaded(saver, "thread", no=77))
