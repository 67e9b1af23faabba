"""Clauses of requests with a key, and of cancelled threads."""

import msgspec

from durable_graph.checkpointing import Checkpointer, verify_request
from durable_graph.checkpointing.digests import request_digest
from durable_graph.records import Committed, Conflict, RequestRow, Saved, WritesMoved
from durable_graph.testing.conformance.saver_under_test import (
    SaverUnderTest,
    commit,
    loaded,
    save,
    some_thread,
)
from durable_graph.testing.rows import Step, Writer, state_of


class RequestClauses(SaverUnderTest):
    """Clauses of requests, and of the status "cancelled"."""

    async def test_a_request_is_found_by_its_key(self) -> None:
        async with self.saver() as saver:
            assert await saver.find_request("thread", "order-7") is None
            writer = Writer.of("thread")
            first = await _accepted(saver, writer, "order-7")
            assert await _request(saver, "order-7") == first
            assert await _request(saver, "order-8") is None
            batch = msgspec.structs.replace(writer.batch(writer.record()), request=_signed(writer, "order-8"))
            await save(saver, writer, batch)
            await commit(saver, writer, Step({"count": b"2"}))
            found = [await _request(saver, key) for key in ("order-7", "order-8", "order-9")]
            assert found == [first, batch.request, None]

    async def test_a_request_and_its_commit_are_atomic(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            rival = writer.rival()
            await commit(saver, writer, Step({"count": b"4"}))
            unit = msgspec.structs.replace(rival.unit(Step({"count": b"9"})), request=_signed(rival, "late"))
            assert await saver.commit(unit) == Conflict(4)
            batch = msgspec.structs.replace(rival.batch(rival.record()), request=_signed(rival, "late"))
            assert await saver.save_writes(batch) == Conflict(4)
            assert await _request(saver, "late") is None
            # A repeated commit adds nothing.
            unit = msgspec.structs.replace(writer.unit(Step({"count": b"5"})), request=_signed(writer, "once"))
            for _ in range(2):
                assert await saver.commit(unit) == Committed(5)
            assert await _request(saver, "once") == unit.request

    async def test_requests_are_not_copied_and_are_deleted_with_the_thread(self) -> None:
        async with self.saver() as saver:
            writer = Writer.of("thread")
            await _accepted(saver, writer, "order-7")
            await saver.copy_thread("thread", "copy")
            assert await _request(saver, "order-7", "copy") is None
            await saver.delete_thread("thread")
            assert await _request(saver, "order-7") is None

    async def test_a_cancelled_thread_stops_its_run_at_the_next_commit_or_save(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            mark = writer.batch(status="cancelled", at=9)
            saved = await saver.save_writes(mark)
            assert isinstance(saved, Saved)
            assert (saved.bumped, saved.is_cancelled) == (True, True)
            # A repeated call gets the same result.
            again = await saver.save_writes(mark)
            assert isinstance(again, Saved)
            assert (again.wseq, again.bumped, again.is_cancelled) == (saved.wseq, False, True)
            answer = await saver.commit(writer.unit(Step({"count": b"4"})))
            assert answer == WritesMoved(saved.wseq, is_cancelled=True)
            # Finished results are still recorded.
            recorded = await saver.save_writes(writer.batch(writer.record(), status="failed"))
            assert isinstance(recorded, Saved)
            assert recorded.is_cancelled
            (info,) = await saver.list_threads(status="cancelled")
            assert (info.since, info.error) == (9, None)
            assert (await loaded(saver, "thread")).records == (writer.record(),)

    async def test_a_commit_reopens_a_cancelled_thread(self) -> None:
        async with self.saver() as saver:
            for name in ("reopened", "continued"):
                writer = await some_thread(saver, name)
                await save(saver, writer, writer.batch(status="cancelled"))
                if name == "reopened":
                    await save(saver, writer, writer.batch(status="running"))
                    assert [info.thread for info in await saver.list_threads(status="running")] == [name]
                await commit(saver, writer, Step({"count": b"next"}))
                assert state_of(await loaded(saver, name)) == writer.state()
            assert await saver.list_threads(status="cancelled") == []


async def _accepted(saver: Checkpointer, writer: Writer, key: str) -> RequestRow:
    request = _signed(writer, key)
    unit = msgspec.structs.replace(writer.unit(Step({"count": b"1"})), request=request)
    answer = await saver.commit(unit)
    assert answer == Committed(unit.version), answer
    writer.applied(unit)
    return request


async def _request(saver: Checkpointer, key: str, thread: str = "thread") -> RequestRow | None:
    found = await saver.find_request(thread, key)
    assert found is not None
    return verify_request(found)


def _signed(writer: Writer, key: str) -> RequestRow:
    request = RequestRow(key, b"digest of " + key.encode(), 0, writer.thread.version + 1, 5, b"")
    return msgspec.structs.replace(request, digest=request_digest(writer.thread.origin, request))
