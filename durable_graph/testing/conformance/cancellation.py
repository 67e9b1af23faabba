"""Clauses of cancellation and of misuse: a started call ends, and a closed or misused saver raises an error."""

import asyncio
from functools import partial

from durable_graph.checkpointing import Checkpointer
from durable_graph.records import Committed, Saved
from durable_graph.testing.conformance.saver_under_test import (
    TURNS,
    SaverUnderTest,
    cancelled_after,
    commit,
    loaded,
    may_be_refused_by_loop,
    raises_misuse,
    some_thread,
)
from durable_graph.testing.rows import Step, Writer, state_of


class CancellationClauses(SaverUnderTest):
    """Clauses of cancelled calls: each is applied whole or not at all, and the next call works."""

    async def test_a_cancelled_commit_is_atomic(self) -> None:
        async with self.saver() as saver:
            for turns in TURNS:
                writer = await some_thread(saver, f"thread-{turns}")
                unit = writer.unit(Step({"count": b"4"}, {"log": b"4,"}), Step({"memory": b"m"}, ns="child"))
                await cancelled_after(turns, partial(saver.commit, unit))
                found = await loaded(saver, unit.thread)
                if found.thread.version == unit.version:
                    writer.applied(unit)
                assert state_of(found) == writer.state()
                assert await saver.commit(unit) == Committed(unit.version)

    async def test_a_cancelled_save_is_atomic(self) -> None:
        async with self.saver() as saver:
            for turns in TURNS:
                writer = await some_thread(saver, f"thread-{turns}")
                batch = writer.batch(writer.record(), writer.record(number=1), status="failed")
                await cancelled_after(turns, partial(saver.save_writes, batch))
                found = await loaded(saver, batch.thread)
                outcome = found.records, found.thread.wseq, found.thread.status
                assert outcome in (((), 0, "running"), (batch.records, 1, "failed"))
                again = await saver.save_writes(batch)
                assert isinstance(again, Saved)
                assert (again.wseq, again.standing) == (1, batch.records)

    async def test_cancelled_maintenance_is_atomic(self) -> None:
        async with self.saver() as saver:
            for turns in TURNS:
                thread, copy = f"thread-{turns}", f"copy-{turns}"
                writer = await some_thread(saver, thread, length=5)
                await cancelled_after(turns, partial(saver.copy_thread, thread, copy))
                found = await saver.load(copy)
                assert found is None or state_of(await loaded(saver, copy)) == writer.state()
                await saver.copy_thread(thread, copy)
                await cancelled_after(turns, partial(saver.prune, thread))
                assert state_of(await loaded(saver, thread)) == writer.state()
                assert await saver.prune(thread) in (0, 4)
                await cancelled_after(turns, partial(saver.delete_thread, copy))
                after = await saver.load(copy)
                assert after is not None
                assert after.thread.status == "deleted" or state_of(after) == writer.state()
                await saver.delete_thread(copy)

    async def test_a_cancelled_read_releases_its_resources(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            for turns in TURNS:
                await cancelled_after(turns, lambda: saver.load("thread"))
                await cancelled_after(turns, lambda: saver.load_records("thread", "calls"))
                await cancelled_after(turns, lambda: saver.history("thread", limit=2))
                await cancelled_after(turns, saver.list_threads)
                await commit(saver, writer, Step({"count": b"%d" % turns}, {"log": b"x,"}))
            assert state_of(await loaded(saver, "thread")) == writer.state()

    async def test_a_cancelled_caller_does_not_cancel_concurrent_calls(self) -> None:
        async with self.saver() as saver:
            writers = [await some_thread(saver, f"thread-{number}") for number in range(6)]
            units = [writer.unit(Step({"count": b"4"})) for writer in writers]
            calls = [asyncio.ensure_future(saver.commit(unit)) for unit in units]
            await asyncio.sleep(0)
            calls[0].cancel()
            calls[3].cancel()
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert [answers[number] for number in (1, 2, 4, 5)] == [Committed(4)] * 4
            assert [await saver.commit(unit) for unit in units] == [Committed(4)] * 6

    async def test_closing_waits_for_calls_in_progress(self) -> None:
        saver = await self.open()
        writers = [Writer.of(f"thread-{number}") for number in range(5)]
        await asyncio.gather(*(saver.commit(writer.unit(Step({"count": b"1"}))) for writer in writers))
        for writer in writers:
            writer.applied(writer.unit(Step({"count": b"1"})))
        calls = [asyncio.ensure_future(saver.commit(writer.unit(Step({"count": b"2"})))) for writer in writers]
        # Wait until all calls have started: the closed saver would refuse a call that has not.
        await asyncio.sleep(0)
        await asyncio.gather(saver.aclose(), saver.aclose())
        assert await asyncio.gather(*calls) == [Committed(2)] * 5
        await saver.aclose()

    async def test_a_closed_saver_raises_saver_closed(self) -> None:
        saver = await self.open()
        writer = await some_thread(saver)
        await saver.aclose()
        await saver.aclose()
        with raises_misuse("closed"):
            await saver.load("thread")
        with raises_misuse("closed"):
            await saver.commit(writer.unit())
        with raises_misuse("closed"):
            await saver.save_writes(writer.batch(status="done"))
        with raises_misuse("closed"):
            await saver.load_records("thread", "")
        with raises_misuse("closed"):
            await saver.history("thread", limit=1)
        with raises_misuse("closed"):
            await saver.list_threads()
        with raises_misuse("closed"):
            await saver.delete_thread("thread")
        with raises_misuse("closed"):
            await saver.copy_thread("thread", "copy")
        with raises_misuse("closed"):
            await saver.prune("thread")

    async def test_use_from_a_second_running_loop_works_or_is_refused(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)

            async def elsewhere() -> None:
                # A saver without a connection belongs to no loop.
                with may_be_refused_by_loop():
                    assert await saver.load("thread") is not None
                with may_be_refused_by_loop():
                    assert len(await saver.list_threads()) == 1

            await asyncio.to_thread(lambda: asyncio.run(elsewhere()))
            await commit(saver, writer, Step({"count": b"4"}))
            assert state_of(await loaded(saver, "thread")) == writer.state()

    async def test_a_saver_works_in_another_loop_after_its_loop_closed(self) -> None:
        def loop_after_loop() -> None:
            saver = asyncio.run(self.open())
            writer = asyncio.run(some_thread(saver))
            asyncio.run(commit(saver, writer, Step({"count": b"4"})))
            assert state_of(asyncio.run(loaded(saver, "thread"))) == writer.state()
            asyncio.run(saver.aclose())
            asyncio.run(saver.aclose())
            with raises_misuse("closed"):
                asyncio.run(saver.load("thread"))

        await asyncio.to_thread(loop_after_loop)

    async def test_async_with_reopens_a_closed_saver(self) -> None:
        async def used(saver: Checkpointer, writer: Writer | None) -> Writer:
            async with saver:
                if writer is None:
                    return await some_thread(saver)
                await commit(saver, writer, Step({"count": b"4"}))
                assert state_of(await loaded(saver, "thread")) == writer.state()
                return writer

        saver = await self.open()
        writer = await used(saver, None)
        with raises_misuse("closed"):
            await saver.load("thread")
        await used(saver, writer)

        def in_other_loops() -> None:
            again = asyncio.run(self.open())
            asyncio.run(used(again, asyncio.run(used(again, None))))

        await asyncio.to_thread(in_other_loops)
