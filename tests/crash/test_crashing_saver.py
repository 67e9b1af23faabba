"""`CrashingSaver`, the saver with which users test their own graphs."""

import pytest

from durable_graph import Checkpointer, MemorySaver
from durable_graph.checkpointing.directory import KeepsDirectory, ThreadDirectory, ThreadQuery
from durable_graph.checkpointing.queue_store import KeepsQueues, QueueClaims, QueueStore
from durable_graph.checkpointing.run_store import KeepsRuns, RunStore
from durable_graph.queue_records import QueueLimits
from durable_graph.run_records import NewWorker
from durable_graph.testing import CrashingSaver, CrashPoint, SimulatedCrashError, crash_points
from durable_graph.testing.conformance.directory_under_test import new_thread
from durable_graph.testing.conformance.run_store_under_test import new_run
from durable_graph.testing.rows import Step, Writer

STEP = Step({"x": b"1"})


def test_every_call_has_three_moments() -> None:
    assert [(point.call, point.moment) for point in crash_points(2)] == [
        (1, "before"),
        (1, "inside"),
        (1, "after"),
        (2, "before"),
        (2, "inside"),
        (2, "after"),
    ]


async def test_a_crashing_saver_without_a_point_only_counts_calls() -> None:
    saver = CrashingSaver(MemorySaver())

    await saver.load("t")
    await saver.commit(Writer.of("t").unit(STEP))
    await saver.history("t", limit=1)
    await saver.list_threads()
    await saver.copy_thread("t", "u")
    await saver.prune("t")
    await saver.delete_thread("t")

    assert isinstance(saver, Checkpointer)
    assert saver.calls == 7
    assert saver.names == ["load", "commit", "history", "list_threads", "copy_thread", "prune", "delete_thread"]
    assert not saver.crashed


@pytest.mark.parametrize(("moment", "is_applied"), [("before", False), ("inside", True)])
async def test_a_crash_before_a_call_prevents_it_and_a_crash_inside_loses_only_its_reply(
    moment: str, is_applied: bool
) -> None:
    inner = MemorySaver()
    (point,) = (point for point in crash_points(1) if point.moment == moment)

    with pytest.raises(SimulatedCrashError, match=f"crash {moment} call 1, commit"):
        await CrashingSaver(inner, point).commit(Writer.of("t").unit(STEP))

    assert (await inner.load("t") is not None) is is_applied


async def test_a_crash_after_a_call_returns_its_reply_and_refuses_the_next_call() -> None:
    inner = MemorySaver()
    saver = CrashingSaver(inner, CrashPoint(1, "after"))
    writer = Writer.of("t")
    unit = writer.unit(STEP)

    await saver.commit(unit)
    writer.applied(unit)

    with pytest.raises(SimulatedCrashError, match="the process is dead: commit was refused"):
        await saver.commit(writer.unit(STEP))
    found = await inner.load("t")
    assert found is not None
    assert found.thread.version == 1


async def test_calls_of_every_kind_are_refused_after_a_crash() -> None:
    saver = CrashingSaver(MemorySaver(), CrashPoint(1, "before"))
    with pytest.raises(SimulatedCrashError):
        await saver.load("t")

    writer = Writer.of("t")
    for call in (
        saver.load("t"),
        saver.commit(writer.unit(STEP)),
        saver.save_writes(writer.batch(writer.record())),
        saver.load_records("t", ""),
        saver.history("t", limit=1),
        saver.list_threads(),
        saver.copy_thread("t", "u"),
        saver.prune("t"),
        saver.delete_thread("t"),
    ):
        with pytest.raises(SimulatedCrashError, match="was refused"):
            await call
    assert saver.calls == 1


async def test_calls_of_the_store_of_runs_are_counted() -> None:
    saver = CrashingSaver(MemorySaver())
    runs = saver.runs

    accepted = await runs.accept(new_run("t"))
    await runs.register(NewWorker(1, 1_000_000, "worker"))
    await runs.claim(1, ["queue"], 1)
    await runs.heartbeat(1, 1_000_000)
    await runs.release(1)
    await runs.find_run("t", accepted.seq)
    await saver.load("t")

    assert isinstance(saver, KeepsRuns)
    assert isinstance(runs, RunStore)
    assert saver.names == ["accept", "register", "claim", "heartbeat", "release", "find_run", "load"]


async def test_claims_and_declarations_of_queues_are_counted() -> None:
    saver = CrashingSaver(MemorySaver())
    queues = saver.queues

    await queues.declare([QueueLimits("limited", 1)])
    assert await queues.claim(1, ["limited"], ["graph"], 1) == QueueClaims()
    assert [each.queue for each in await queues.describe()] == ["limited"]

    assert isinstance(saver, KeepsQueues)
    assert isinstance(queues, QueueStore)
    assert saver.names == ["declare", "claim"]


async def test_calls_of_the_directory_are_counted() -> None:
    saver = CrashingSaver(MemorySaver())
    directory = saver.directory

    await directory.create(new_thread("t", {"user": "ann"}))
    await directory.update("t", "{}")
    await directory.find("t")
    query = ThreadQuery()
    found = await directory.search(query, sort_by="status", descending=True, limit=1, offset=0)
    assert [each.metadata for each in found] == [{"user": "ann"}]
    assert await directory.count(query) == 1
    await directory.delete("t")

    assert isinstance(saver, KeepsDirectory)
    assert isinstance(directory, ThreadDirectory)
    assert saver.names == ["create", "update", "find", "search", "count", "delete"]


@pytest.mark.parametrize(("moment", "is_applied"), [("before", False), ("inside", True)])
async def test_an_acceptance_that_dies_is_applied_or_not_and_its_reply_is_lost(moment: str, is_applied: bool) -> None:
    inner = MemorySaver()
    (point,) = (point for point in crash_points(1) if point.moment == moment)

    with pytest.raises(SimulatedCrashError, match=f"crash {moment} call 1, accept"):
        await CrashingSaver(inner, point).runs.accept(new_run("t"))

    assert (await inner.runs.find_unfinished("t") is not None) is is_applied


async def test_a_dead_process_makes_no_call_of_the_store_of_runs() -> None:
    saver = CrashingSaver(MemorySaver(), CrashPoint(1, "before"))
    with pytest.raises(SimulatedCrashError):
        await saver.load("t")

    for call in (saver.runs.accept(new_run("t")), saver.runs.claim(1, ["queue"], 1), saver.runs.sweep(5)):
        with pytest.raises(SimulatedCrashError, match="was refused"):
            await call
    assert saver.calls == 1


async def test_heartbeats_beside_the_runs_are_not_counted_and_end_with_the_process() -> None:
    saver = CrashingSaver(MemorySaver(), CrashPoint(2, "before"))
    await saver.runs.register(NewWorker(1, 1_000_000, "worker"))

    async with saver.runs.beside() as beside:
        assert await beside.heartbeat(1, 1_000_000) is not None
        assert saver.names == ["register"]
        with pytest.raises(SimulatedCrashError, match="crash before call 2, claim"):
            await saver.runs.claim(1, ["queue"], 1)
        with pytest.raises(SimulatedCrashError, match="heartbeat was refused"):
            await beside.heartbeat(1, 1_000_000)


def test_a_saver_without_runs_keeps_none() -> None:
    class WithoutRuns(MemorySaver):
        def __init__(self) -> None:
            super().__init__()
            del self.runs

    assert not isinstance(CrashingSaver(WithoutRuns()), KeepsRuns)
