"""Clauses of damage: a changed or missing row raises an error that names it, and never makes another state."""

from durable_graph.checkpointing import Checkpointer, verify, verify_page
from durable_graph.errors import CorruptCheckpointError
from durable_graph.testing.conformance.saver_under_test import (
    SaverUnderTest,
    StoredRow,
    commit,
    loaded,
    loaded_records,
    raises,
    save,
    some_thread,
)
from durable_graph.testing.rows import Step, Writer, state_of


class DamageClauses(SaverUnderTest):
    """Clauses of damaged rows. They need the `damage` hook."""

    async def test_a_damaged_value_is_detected(self) -> None:
        async with self.saver() as saver:
            await _threads(saver)
            await self.damage(saver, StoredRow("value", "thread", 5, channel="log"), "flip")
            with raises(CorruptCheckpointError):
                await _check(saver, "thread")
            await _others_are_usable(saver)

    async def test_a_missing_value_is_detected(self) -> None:
        for no, channel in ((5, "count"), (5, "log"), (2, "log"), (1, "first")):
            async with self.saver() as saver:
                await _threads(saver)
                await self.damage(saver, StoredRow("value", "thread", no, channel=channel), "remove")
                with raises(CorruptCheckpointError):
                    await _check(saver, "thread")
                with raises(CorruptCheckpointError):
                    await _check_history(saver)
                if no == 5:
                    await _others_are_usable(saver)

    async def test_a_damaged_checkpoint_is_detected(self) -> None:
        async with self.saver() as saver:
            await _threads(saver)
            await self.damage(saver, StoredRow("checkpoint", "thread", 5), "flip")
            with raises(CorruptCheckpointError):
                await _check(saver, "thread")
            await _others_are_usable(saver)

    async def test_a_missing_head_is_detected_in_the_history(self) -> None:
        for has_other_branch in (False, True):
            async with self.saver() as saver:
                writer = await _threads(saver)
                if has_other_branch:
                    await commit(saver, writer, Step({"count": b"fork"}), fork_of=3)
                await self.damage(saver, StoredRow("checkpoint", "thread", writer.thread.head), "remove")
                for limit in (1, 2, 9):
                    page = await saver.history("thread", limit=limit)
                    assert page is not None
                    with raises(CorruptCheckpointError):
                        verify_page(page)
                page = await saver.history("thread", before=writer.thread.head, limit=2)
                assert page is not None
                verify_page(page)

    async def test_a_missing_task_record_of_the_head_is_detected_in_the_history(self) -> None:
        for ns in ("", "child"):
            async with self.saver() as saver:
                writer = await _threads(saver)
                await save(saver, writer, writer.batch(writer.record(born=5, ns=ns), writer.record(born=5, number=1)))
                page = await saver.history("thread", limit=2)
                assert page is not None
                verify_page(page)
                await self.damage(saver, StoredRow("record", "thread", 5, ns), "remove")
                page = await saver.history("thread", limit=2)
                assert page is not None
                with raises(CorruptCheckpointError):
                    verify_page(page)

    async def test_a_namespace_without_its_only_checkpoint_does_not_look_new(self) -> None:
        async with self.saver() as saver:
            writer = await _threads(saver)
            await commit(saver, writer, Step({"memory": b"1"}, ns="child"))
            await self.damage(saver, StoredRow("checkpoint", "thread", 6, ns="child"), "remove")
            with raises(CorruptCheckpointError):
                await saver.load("thread", "child")
            await _others_are_usable(saver)

    async def test_a_missing_head_does_not_load_an_older_state(self) -> None:
        async with self.saver() as saver:
            writer = await _threads(saver)
            await commit(saver, writer, Step({"memory": b"1"}, ns="child"))
            await commit(saver, writer, Step({"memory": b"2"}, ns="child"))
            await self.damage(saver, StoredRow("checkpoint", "thread", 5), "remove")
            await self.damage(saver, StoredRow("checkpoint", "thread", 7, ns="child"), "remove")
            with raises(CorruptCheckpointError):
                await _check(saver, "thread")
            with raises(CorruptCheckpointError):
                await _check(saver, "thread", "child")
            await _others_are_usable(saver)

    async def test_a_missing_checkpoint_is_detected_in_the_history(self) -> None:
        async with self.saver() as saver:
            await _threads(saver)
            await self.damage(saver, StoredRow("checkpoint", "thread", 4), "remove")
            with raises(CorruptCheckpointError):
                await _check_history(saver)
            with raises(CorruptCheckpointError):
                await _check_history(saver, limit=1)

    async def test_a_damaged_task_record_is_detected(self) -> None:
        async with self.saver() as saver:
            writer = await _threads(saver)
            await save(saver, writer, writer.batch(writer.record()))
            await self.damage(saver, StoredRow("record", "thread", 5), "flip")
            with raises(CorruptCheckpointError):
                await _check(saver, "thread")
            await _others_are_usable(saver)

    async def test_a_missing_task_record_is_detected(self) -> None:
        async with self.saver() as saver:
            writer = await _threads(saver)
            await save(saver, writer, writer.batch(writer.record(), writer.record(number=1)))
            await self.damage(saver, StoredRow("record", "thread", 5, ord=1), "remove")
            with raises(CorruptCheckpointError):
                await _check(saver, "thread")
            await _others_are_usable(saver)

    async def test_a_missing_record_of_a_replanned_task_is_detected(self) -> None:
        async with self.saver() as saver:
            writer = await _threads(saver)
            await save(saver, writer, writer.batch(writer.record()))
            await commit(saver, writer, Step({"count": b"edited"}, born=5))
            await self.damage(saver, StoredRow("record", "thread", 5), "remove")
            with raises(CorruptCheckpointError):
                await _check(saver, "thread")

    async def test_a_missing_record_of_a_namespace_is_detected(self) -> None:
        for ns, born in (("child", 6), ("calls", 5)):
            async with self.saver() as saver:
                writer = await _threads(saver)
                await commit(saver, writer, Step({"memory": b"m"}, ns="child"))
                records = writer.record(ns="child"), writer.record(born=5, ns="calls"), writer.record(born=5)
                await save(saver, writer, writer.batch(*records))
                await self.damage(saver, StoredRow("record", "thread", born, ns=ns), "remove")
                with raises(CorruptCheckpointError):
                    await _check(saver, "thread")
                # The damage is also noticed after later commits and records under the same head.
                await commit(saver, writer, Step({"memory": b"n"}, ns="child"))
                await save(saver, writer, writer.batch(writer.record(born=5, number=1)))
                with raises(CorruptCheckpointError):
                    await _check(saver, "thread")
                await _others_are_usable(saver)

    async def test_a_damaged_record_of_a_call_is_detected(self) -> None:
        async with self.saver() as saver:
            writer = await _threads(saver)
            await save(saver, writer, writer.batch(writer.record(ns="calls"), writer.record(ns="others")))
            await self.damage(saver, StoredRow("record", "thread", 5, ns="calls"), "flip")
            with raises(CorruptCheckpointError):
                await loaded_records(saver, "thread", "calls")
            assert await loaded_records(saver, "thread", "others") == (writer.record(ns="others"),)
            await _others_are_usable(saver)

    async def test_a_missing_branch_is_detected(self) -> None:
        async with self.saver() as saver:
            writer = await _threads(saver)
            await commit(saver, writer, Step({}, {"log": b"f,"}), fork_of=2)
            await self.damage(saver, StoredRow("branch", "thread", 6), "remove")
            with raises(CorruptCheckpointError):
                await _check(saver, "thread")


async def _threads(saver: Checkpointer) -> Writer:
    await some_thread(saver, "other")
    return await some_thread(saver, "thread", length=5)


async def _check(saver: Checkpointer, thread: str, ns: str = "") -> None:
    found = await saver.load(thread, ns)
    assert found is not None
    verify(found)


async def _check_history(saver: Checkpointer, limit: int = 2) -> None:
    before: int | None = None
    while before != 0:
        page = await saver.history("thread", before=before, limit=limit)
        assert page is not None
        verify_page(page)
        before = page.older


async def _others_are_usable(saver: Checkpointer) -> None:
    """Check the thread's older checkpoints, which do not need the damaged row, and other threads."""
    older = await loaded(saver, "thread", no=4)
    assert state_of(older)["log"] == b"1,2,3,4,"
    assert state_of(await loaded(saver, "other"))["log"] == b"1,2,3,"
    assert [info.thread for info in await saver.list_threads()] == ["other", "thread"]
