"""A call of a saver whose connection is cut answers with what it did, as if nothing had happened."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest

from durable_graph import Checkpointer, StoreUnavailableError
from durable_graph.records import Rank
from durable_graph.testing.conformance.saver_under_test import commit, save, some_thread
from durable_graph.testing.rows import Step, Writer
from durable_graph_postgres import PostgresSaver
from tests.crash.conftest import IS_LONG
from tests.postgres.cutting import Rows, Wire, wired
from tests.postgres.proxy import MOMENTS, Cut
from tests.postgres.trips import named

# In a short run at another moment of every round trip.
EVERY = 1 if IS_LONG else 5

Call = Callable[[Checkpointer, Writer], Awaitable[Any]]


async def plain_commit(saver: Checkpointer, writer: Writer) -> Any:
    return await saver.commit(writer.unit(Step({"count": b"9"}, added={"log": b"more"})))


async def commit_with_records(saver: Checkpointer, writer: Writer) -> Any:
    return await saver.commit(writer.unit(Step({"count": b"9"}), records=[writer.record(number=5)]))


async def commit_of_two_namespaces(saver: Checkpointer, writer: Writer) -> Any:
    return await saver.commit(writer.unit(Step({"a": b"1"}, ns="inside:3.0"), Step({"count": b"9"})))


async def commit_of_a_new_thread(saver: Checkpointer, writer: Writer) -> Any:
    return await saver.commit(Writer.of("another").unit(Step({"count": b"1"})))


async def fork(saver: Checkpointer, writer: Writer) -> Any:
    return await saver.commit(writer.unit(Step({"count": b"9"}), fork_of=1))


async def late_commit(saver: Checkpointer, writer: Writer) -> Any:
    return await saver.commit(Writer.of("thread").unit(Step({"count": b"1"})))


async def save_results(saver: Checkpointer, writer: Writer) -> Any:
    return await saver.save_writes(writer.batch(writer.record(number=5), writer.record(number=6)))


async def save_what_replaces(saver: Checkpointer, writer: Writer) -> Any:
    return await saver.save_writes(writer.batch(writer.record(rank=Rank.DONE, revision=2)))


async def save_what_another_recorded(saver: Checkpointer, writer: Writer) -> Any:
    return await saver.save_writes(writer.batch(writer.rival().record(rank=Rank.FAILED, revision=1)))


async def save_if_unmoved(saver: Checkpointer, writer: Writer) -> Any:
    return await saver.save_writes(writer.batch(writer.record(number=5), if_unmoved=True))


async def save_a_status(saver: Checkpointer, writer: Writer) -> Any:
    return await saver.save_writes(writer.batch(status="failed", at=7))


async def delete(saver: Checkpointer, writer: Writer) -> Any:
    return await saver.delete_thread("thread")


async def delete_as_listed(saver: Checkpointer, writer: Writer) -> Any:
    (seen,) = await saver.list_threads()
    return await saver.delete_thread("thread", seen=seen)


async def copy(saver: Checkpointer, writer: Writer) -> Any:
    return await saver.copy_thread("thread", "copy")


async def prune(saver: Checkpointer, writer: Writer) -> Any:
    return await saver.prune("thread", keep_last=1)


CALLS: tuple[Call, ...] = (
    plain_commit,
    commit_with_records,
    commit_of_two_namespaces,
    commit_of_a_new_thread,
    fork,
    late_commit,
    save_results,
    save_what_replaces,
    save_what_another_recorded,
    save_if_unmoved,
    save_a_status,
    delete,
    delete_as_listed,
    copy,
    prune,
)


@dataclass(frozen=True, slots=True)
class Made:
    """What a call answered and left, on a thread that had `before`."""

    answer: Any
    before: Rows
    after: Rows
    trips: list[str]
    was_cut: bool


async def made(call: Call, wire: Wire, cut: Cut | None = None, *, is_known: bool, patience: float) -> Made:
    """The call, by a saver that has looked at the thread before (`is_known`) or not."""
    await wire.empty()
    writer = await some_thread(wire.around)
    await save(wire.around, writer, writer.batch(writer.record(rank=Rank.INTERRUPTED)))
    before = await wire.rows()
    async with asyncio.timeout(30), wire.saver(patience) as saver:
        await saver.load("thread" if is_known else "nobody")
        wire.proxy.expect(cut)
        try:
            answer = await call(saver, writer)
        except StoreUnavailableError as error:
            answer = error
        wire.proxy.refuse(0)
        trips, was_cut = wire.proxy.trips, wire.proxy.has_cut
    return Made(answer, before, await wire.rows(), trips, was_cut)


def cuts(trips: int, refusals: int = 0) -> list[Cut]:
    """Every moment of every round trip, or each `EVERY`-th."""
    every = [Cut(trip, moment, refusals) for trip, moment in product(range(1, trips + 1), MOMENTS)]
    return every[::EVERY]


@pytest.mark.parametrize("is_known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
async def test_the_answer_is_that_of_a_call_that_was_not_cut(postgres: str, call: Call, is_known: bool) -> None:  # noqa: FBT001
    broken: list[object] = []
    async with wired(postgres) as wire:
        wanted = await made(call, wire, is_known=is_known, patience=30)
        for cut in cuts(len(wanted.trips)):
            got = await made(call, wire, cut, is_known=is_known, patience=30)
            assert got.was_cut
            if (got.answer, got.after) != (wanted.answer, wanted.after):
                broken.append((cut, named(got.trips, wire.schema)[cut.trip - 1], got.answer, wanted.answer))

    assert broken == []
