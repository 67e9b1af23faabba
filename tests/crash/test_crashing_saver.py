"""`CrashingSaver`, the saver with which users test their own graphs."""

import pytest

from durable_graph import Checkpointer, MemorySaver
from durable_graph.testing import CrashingSaver, CrashPoint, SimulatedCrashError, crash_points
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
