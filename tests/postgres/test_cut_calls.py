"""A call of a saver whose connection is cut returns the same result as an undisturbed call."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from durable_graph import Checkpointer, StoreUnavailableError
from durable_graph.checkpointing import rules
from durable_graph.records import Rank
from durable_graph.testing.conformance.saver_under_test import save, some_thread
from durable_graph.testing.rows import Step, Writer
from tests.crash.conftest import IS_LONG
from tests.postgres.cutting import Rows, Wire, cuts_of, wired
from tests.postgres.proxy import Cut
from tests.postgres.trips import named

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


async def save_a_replacement(saver: Checkpointer, writer: Writer) -> Any:
    return await saver.save_writes(writer.batch(writer.record(rank=Rank.DONE, revision=2)))


async def save_over_a_record_of_another_run(saver: Checkpointer, writer: Writer) -> Any:
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
    save_a_replacement,
    save_over_a_record_of_another_run,
    save_if_unmoved,
    save_a_status,
    delete,
    delete_as_listed,
    copy,
    prune,
)


@dataclass(frozen=True, slots=True)
class Made:
    """The answer of a call, and the rows that it left on a thread with the rows `before`."""

    answer: Any
    before: Rows
    after: Rows
    trips: list[str]
    was_cut: bool


async def made(call: Call, wire: Wire, *cuts: Cut, is_known: bool = True, patience: float = 30) -> Made:
    """Make the call with a saver that has loaded the thread before (`is_known`) or has not."""
    await wire.empty()
    writer = await some_thread(wire.around)
    await save(wire.around, writer, writer.batch(writer.record(rank=Rank.INTERRUPTED)))
    before = await wire.rows()
    async with asyncio.timeout(30), wire.saver(patience) as saver:
        await saver.load("thread" if is_known else "nobody")
        wire.proxy.expect(*cuts)
        try:
            answer = await call(saver, writer)
        except StoreUnavailableError as error:
            answer = error
        wire.proxy.refuse(0)
        trips, was_cut = named(wire.proxy.trips, wire.schema), wire.proxy.has_cut
    await wire.proxy.until_quiet()
    return Made(answer, before, await wire.rows(), trips, was_cut)


@pytest.fixture(autouse=True)
def _savers_draw_the_same_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "drawn_incarnation", lambda: 77)
    monkeypatch.setattr(time, "time_ns", lambda: 50_000)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
async def test_a_cut_call_has_the_answer_and_the_rows_of_an_undisturbed_call(postgres: str, call: Call) -> None:
    broken: list[object] = []
    async with wired(postgres) as wire:
        for is_known in (True, False):
            wanted = await made(call, wire, is_known=is_known)
            for cut in cuts_of(wanted.trips, is_long=IS_LONG)[:: 1 if IS_LONG else 5]:
                got = await made(call, wire, cut, is_known=is_known)
                assert got.was_cut
                if (got.answer, got.after) != (wanted.answer, wanted.after):
                    broken.append((cut, wanted.trips[cut.trip - 1], got.answer, wanted.answer))

    assert broken == []


@pytest.mark.parametrize("call", CALLS if IS_LONG else [save_results, prune], ids=lambda call: call.__name__)
async def test_a_call_cut_twice_has_the_answer_and_the_rows_of_an_undisturbed_call(postgres: str, call: Call) -> None:
    broken: list[object] = []
    async with wired(postgres) as wire:
        wanted = await made(call, wire)
        first = Cut(len(wanted.trips), "after")
        again = await made(call, wire, first)
        assert (again.answer, again.after) == (wanted.answer, wanted.after)
        for second in cuts_of(again.trips[first.trip :], is_long=IS_LONG):
            got = await made(call, wire, first, second)
            assert got.was_cut
            if (got.answer, got.after) != (wanted.answer, wanted.after):
                broken.append((second, again.trips[first.trip + second.trip - 1], got.answer, wanted.answer))

    assert broken == []


@pytest.mark.parametrize("call", CALLS if IS_LONG else CALLS[::2], ids=lambda call: call.__name__)
async def test_a_cut_call_without_patience_is_atomic_and_its_outcome_is_reported_correctly(
    postgres: str, call: Call
) -> None:
    broken: list[object] = []
    failed = 0
    async with wired(postgres) as wire:
        wanted = await made(call, wire, patience=0)
        for cut in cuts_of(wanted.trips, is_long=IS_LONG, refusals=3)[:: 1 if IS_LONG else 5]:
            got = await made(call, wire, cut, patience=0)
            if isinstance(got.answer, StoreUnavailableError):
                failed += 1
                is_honest = got.after in (got.before, wanted.after)
            else:
                is_honest = (got.answer, got.after) == (wanted.answer, wanted.after)
            if not is_honest:
                broken.append((cut, wanted.trips[cut.trip - 1], got.answer, wanted.answer))

    assert broken == []
    assert failed
