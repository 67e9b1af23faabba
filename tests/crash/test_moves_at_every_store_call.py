"""At each call that a worker makes to its store: a crash, an expired lease, a message, or a jump of the clock."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest

from durable_graph import MemorySaver
from durable_graph.checkpointing.run_store import KeepsRuns
from durable_graph.errors import InvalidOptionError, MissingPowerError
from durable_graph.records import StoredCheckpoint
from durable_graph.run_records import NewWorker, RunState
from durable_graph.runs import Worker
from durable_graph.testing import (
    CrashingSaver,
    CrashPoint,
    SimulatedCrashError,
    expire_leases,
    move_clock,
    move_points,
)
from durable_graph.testing.conformance.run_store_under_test import new_run, runs_of
from durable_graph.testing.crash import MOMENTS
from tests.crash.conftest import Echo
from tests.crash.engine.moved_runs import (
    LEASE,
    SUPERSTEPS,
    THREAD,
    TOPIC,
    Reached,
    World,
    at_every_call,
    for_a_day,
    for_a_message,
)
from tests.crash.engine.stores import CrashStore, InMemory
from tests.runs.engine.processes import until

pytestmark = pytest.mark.slow

Stores = Callable[[], CrashStore]

FEWEST_CALLS = 8
"""Registering, claiming, loading, five commits and saves; a worker also looks for further runs, and unregisters."""
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _runs_are_repeatable() -> None:
    """Claims fence their threads by random numbers, which the other crash tests repeat."""


def check(tried: list[tuple[CrashPoint, list[str]]], moments: int, echo: Echo, what: str) -> None:
    assert [each for each in tried if each[1]] == []
    assert len(tried) >= FEWEST_CALLS * moments
    echo(f"{what}: {len(tried)} points, 0 violations")


async def test_a_run_whose_worker_dies_at_any_call_is_taken_over_without_repeating_what_is_recorded(
    store: Stores, echo: Echo
) -> None:
    async def scenario(world: World, point: CrashPoint) -> Reached:
        saver, at_crash = world.saver(point), 0
        # The call that registers the worker may be the one.
        with suppress(SimulatedCrashError):
            async with world.worker(saver) as worker:
                await until(lambda: saver.crashed or world.has_ended(), "the crash, or the end of the run")
                at_crash = len(world.begun)
                await until(lambda: saver.crashed or worker.running == 0, "the end of the execution")
        late = world.nodes_of("a", at_crash) if saver.crashed else []
        recorded = (await world.outside.graph("chain").aget_state(thread_id=THREAD)).values.get("log", [])
        await expire_leases(world.inner)
        await world.finish_elsewhere()
        again = sorted({*recorded} & {*world.nodes_of("b")})
        broken = [f"executed again: {again}"] if again else []
        # The crash may hit a call of the worker itself, while the run is between two calls: it begins a superstep, and
        # its next call is refused.
        if late and not any({*late} <= superstep for superstep in SUPERSTEPS):
            broken.append(f"begun by a dead process: {late}")
        return saver.crashed, [*broken, *await world.violations()]

    check(await at_every_call(store, MOMENTS, scenario), 3, echo, "crashes")


class ClockOfLeases:
    """The clock by which workers compare the ends of their leases."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ClockOfLeases:
    made = ClockOfLeases()
    monkeypatch.setattr("durable_graph.runs.lease.time", made)
    return made


async def lost_at(world: World, point: CrashPoint, clock: ClockOfLeases | None) -> tuple[bool, list[str], list[str]]:
    """Whether the call was made at which the lease expires, the nodes that the process began afterwards, and the
    violations. With a clock, the process sees the end of its lease, as after a stop."""
    begun: list[int] = []

    async def lose() -> None:
        await expire_leases(world.inner)
        # Another worker executes the run to its end while the call is under way.
        await world.finish_elsewhere()
        begun.append(len(world.begun))
        if clock is not None:
            clock.ahead = LEASE

    saver = world.saver(point, lose)
    async with world.worker(saver) as worker:
        await until(world.has_ended, "the end of the run")
        await until(lambda: worker.running == 0, "the end of the execution")
    if clock is not None:
        clock.ahead = 0.0
    late = world.nodes_of("a", begun[0]) if begun else []
    return saver.has_moved, late, await world.violations()


async def test_a_worker_whose_lease_expires_at_any_call_commits_nothing_and_begins_no_node_afterwards(
    store: Stores, echo: Echo, clock: ClockOfLeases
) -> None:
    async def scenario(world: World, point: CrashPoint) -> Reached:
        has_moved, late, broken = await lost_at(world, point, clock)
        return has_moved, [*(f"begun by the zombie: {node}" for node in late), *broken]

    check(await at_every_call(store, ("before", "after"), scenario), 2, echo, "expired leases")


async def test_a_worker_that_the_stores_clock_declares_dead_at_any_call_finishes_one_superstep_and_commits_nothing(
    store: Stores, echo: Echo
) -> None:
    """The process's own clock did not jump, so it finds out at its next commit."""

    async def scenario(world: World, point: CrashPoint) -> Reached:
        has_moved, late, broken = await lost_at(world, point, None)
        if late and not any({*late} <= superstep for superstep in SUPERSTEPS):
            broken.append(f"begun by the zombie: {late}")
        return has_moved, broken

    check(await at_every_call(store, ("before", "after"), scenario), 2, echo, "expired leases, unnoticed")


async def is_quiet(worker: Worker, saver: CrashingSaver) -> bool:
    """Whether the worker executes nothing, and makes no call of its store for a moment."""
    before = saver.calls
    await asyncio.sleep(0.02)
    return not worker.running and saver.calls == before


async def claimed_at(world: World, point: CrashPoint) -> tuple[bool, list[str]]:
    """Whether the call was made at which another worker claims the run, which then waits for its first node, and the
    violations."""
    versions: list[int] = []
    runs, other = runs_of(world.inner), NewWorker(77, 60_000_000, "the other")

    async def claim() -> None:
        await expire_leases(world.inner)
        await runs.register(other)
        await runs.sweep(5)
        versions.extend(claim.version for claim in await runs.claim(other.id, ["chain"], 1))

    saver = world.saver(point, claim)
    async with world.worker(saver) as worker:
        await until(lambda: bool(versions) or world.has_ended(), "the claim, or the end of the run")
        await until(lambda: is_quiet(worker, saver), "the end of the execution")
    broken = []
    found = await world.inner.load(THREAD)
    if versions and found is not None and found.thread.version != versions[0]:
        broken.append(f"committed after the claim: {found.thread.version - versions[0]}")
    await runs.unregister(other.id)
    await world.finish_elsewhere()
    return saver.has_moved, [*broken, *await world.violations()]


async def test_nothing_is_committed_by_the_worker_whose_run_another_one_claims_at_any_call(
    store: Stores, echo: Echo
) -> None:
    check(await at_every_call(store, ("before", "after"), claimed_at), 2, echo, "claims")


async def test_the_moves_find_a_claim_that_does_not_fence_its_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("durable_graph.checkpointing.rules.drawn_incarnation", lambda: 1)
    tried = await at_every_call(InMemory, ("before", "after"), claimed_at)
    assert any("committed after the claim" in each for _, broken in tried for each in broken)


async def test_a_message_that_arrives_twice_at_any_call_is_received_once(store: Stores, echo: Echo) -> None:
    async def scenario(world: World, point: CrashPoint) -> Reached:
        async def send() -> None:
            for _ in range(2):
                await world.outside.signal(THREAD, TOPIC, "X1", key="webhook")

        saver = world.saver(point, send)
        async with world.worker(saver) as worker:
            if await world.idle(worker) == "waiting":
                # The process makes fewer calls, or the message is being sent.
                await send()
                await world.idle(worker)
            is_reached = saver.has_moved
        return is_reached, await world.violations()

    check(await at_every_call(store, ("before", "after"), scenario, for_a_message), 2, echo, "messages")


@pytest.mark.parametrize("by", [2 * DAY, -2 * DAY], ids=["forward", "back"])
async def test_a_clock_that_jumps_at_any_call_neither_loses_a_sleeping_run_nor_wakes_it_early(
    store: Stores, echo: Echo, by: timedelta
) -> None:
    async def scenario(world: World, point: CrashPoint) -> Reached:
        moved: list[timedelta] = []

        async def jump(by: timedelta = by) -> None:
            moved.append(by)
            await move_clock(world.inner, by)

        saver = world.saver(point, jump)
        async with world.worker(saver) as worker:
            state = await world.idle(worker)
            is_reached = saver.has_moved
            # A run that is accepted or begins to sleep before the clock is set back waits until the clock is there.
            for _ in range(2):
                if state != "done":
                    await jump(4 * DAY)
                    state = await world.idle(worker)
        early = ["woken within a day"] if max(moved) <= DAY else []
        return is_reached, [*early, *await world.violations()]

    check(await at_every_call(store, ("before", "after"), scenario, for_a_day), 2, echo, f"jumps by {by.days} days")


# The moves themselves


async def test_a_move_is_made_once_before_or_after_its_call() -> None:
    order: list[str] = []

    class Noted(MemorySaver):
        async def load(self, thread: str, ns: str = "", no: int | None = None) -> StoredCheckpoint | None:
            order.append("call")
            return await super().load(thread, ns, no)

    async def move() -> None:
        order.append("move")

    for point in move_points(2):
        order.clear()
        saver = CrashingSaver(Noted(), point, move=move)
        await saver.load(THREAD)
        assert saver.has_moved is (point.call == 1)
        await saver.load(THREAD)
        await saver.load(THREAD)
        expected = ["call"] * 3
        expected.insert(point.call - (point.moment == "before"), "move")
        assert order == expected
        assert (saver.crashed, saver.has_moved, saver.calls) == (False, True, 3)


def test_each_call_has_two_moments_for_a_move() -> None:
    assert [(point.call, point.moment) for point in move_points(2)] == [
        (1, "before"),
        (1, "after"),
        (2, "before"),
        (2, "after"),
    ]


async def test_a_move_needs_a_point_that_is_before_or_after_a_call() -> None:
    async def move() -> None:
        raise AssertionError

    for point in (None, CrashPoint(1, "inside")):
        with pytest.raises(InvalidOptionError, match="'before' or 'after'"):
            CrashingSaver(MemorySaver(), point, move=move)


async def test_expired_leases_free_the_runs_of_every_worker(store: Stores) -> None:
    made = store()
    saver = made.process()
    assert isinstance(saver, KeepsRuns)
    runs = saver.runs
    try:
        accepted = await runs.accept(new_run(THREAD))
        for worker in (1, 2):
            await runs.register(NewWorker(worker, 3_600_000_000, "worker"))
        assert len(await runs.claim(1, ["queue"], 1)) == 1
        assert await expire_leases(saver) == 1
        row = await runs.find_run(THREAD, accepted.seq)
        assert row is not None
        assert (row.state, row.crashes) == (RunState.READY, 1)
        assert await runs.heartbeat(2, 1_000_000) is None
        # The clock of leases has not moved.
        await runs.register(NewWorker(3, 1_000_000, "worker"))
        assert await runs.count_workers() == 1
        assert len(await runs.claim(3, ["queue"], 1)) == 1
    finally:
        await made.close()


async def test_moves_of_runs_refuse_a_saver_without_runs_and_an_invalid_time() -> None:
    class WithoutRuns(MemorySaver):
        def __init__(self) -> None:
            super().__init__()
            del self.runs

    with pytest.raises(MissingPowerError, match="WithoutRuns"):
        await expire_leases(WithoutRuns())
    with pytest.raises(MissingPowerError, match="WithoutRuns"):
        await move_clock(WithoutRuns(), DAY)
    with pytest.raises(InvalidOptionError, match="timedelta"):
        await move_clock(MemorySaver(), 3)  # type: ignore[arg-type]  # the subject of the test
