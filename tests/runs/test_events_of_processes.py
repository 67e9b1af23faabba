"""The events of runs of other processes, which are killed, and whose runs are taken over."""

import asyncio
import signal
from collections.abc import Callable

import pytest

from durable_graph import CustomEvent, EventsRetracted, LoggedEvent, TaskFinished
from durable_graph.runs import App, RunHandle
from tests.runs.engine.graphs import Gate
from tests.runs.engine.ledger import Ledger
from tests.runs.engine.processes import PATIENCE, Processes, stop, until
from tests.runs.engine.worker_process import Place, app_at

pytestmark = pytest.mark.slow

LEASE = 0.6


class Follower:
    """Follows a run in this process, which executes none."""

    def __init__(self, handle: RunHandle) -> None:
        self.seen: list[LoggedEvent] = []
        self._task = asyncio.create_task(self._follow(handle))

    async def _follow(self, handle: RunHandle) -> None:
        async for event in handle.events():
            self.seen.append(event)

    async def has_seen(self, holds: Callable[[LoggedEvent], bool], times: int = 1) -> None:
        await until(lambda: self._task.done() or sum(map(holds, self.seen)) >= times, "an event")
        assert sum(map(holds, self.seen)) >= times

    async def end(self) -> list[LoggedEvent]:
        async with asyncio.timeout(PATIENCE):
            await self._task
        return self.seen


def tells(node: str) -> Callable[[LoggedEvent], bool]:
    return lambda each: isinstance(each.event, CustomEvent) and each.event.node == node


def finishes(node: str) -> Callable[[LoggedEvent], bool]:
    return lambda each: isinstance(each.event, TaskFinished) and each.event.node == node


async def test_events_are_the_same_in_every_process_and_after_every_restart(
    app: App, place: Place, processes: Processes
) -> None:
    Gate(place.folder).open()
    handle = await app.start("tell", {}, events="all")
    follower = Follower(handle)
    first = processes.worker(lease=LEASE)
    events = await follower.end()
    first.send(signal.SIGTERM)
    await first.ended()
    ids = [event.id for event in events]
    assert ids == sorted(set(ids))
    async with app_at(place) as reopened:
        found = await reopened.find(handle.run_id)
        for number, id_ in enumerate([0, *ids]):
            assert [event async for event in found.events(after=id_)] == events[number:]


async def test_a_takeover_voids_the_events_of_the_task_that_runs_again_and_no_others(
    app: App, place: Place, processes: Processes
) -> None:
    handle = await app.start("tell", {}, events="all")
    follower = Follower(handle)
    killed = processes.worker(lease=LEASE)
    await follower.has_seen(tells("patient"))
    await follower.has_seen(finishes("quick"))
    killed.send(signal.SIGKILL)
    heir = processes.worker(lease=LEASE)
    await follower.has_seen(tells("patient"), 2)
    Gate(place.folder).open()
    events = await follower.end()

    assert await replayed(app, handle) == events
    told = [each.event for each in events if isinstance(each.event, CustomEvent | EventsRetracted)]
    assert [(type(each), each.node) for each in told if each.node == "patient"] == [
        (CustomEvent, "patient"),
        (EventsRetracted, "patient"),
        (CustomEvent, "patient"),
    ]
    assert [each.data for each in told if isinstance(each, CustomEvent) and each.node == "patient"] == [
        killed.pid,
        heir.pid,
    ]
    assert [each.node for each in told].count("quick") == 1
    assert sum(map(finishes("quick"), events)) == 1


async def replayed(app: App, handle: RunHandle) -> list[LoggedEvent]:
    async with asyncio.timeout(PATIENCE):
        return [event async for event in (await app.find(handle.run_id)).events()]


async def test_a_stopped_process_that_continues_adds_no_event_to_a_run_that_was_taken_over(
    app: App, place: Place, processes: Processes, ledger: Ledger
) -> None:
    handle = await app.start("tell", {}, events="all")
    follower = Follower(handle)
    zombie = processes.worker(lease=LEASE)
    await follower.has_seen(tells("patient"))
    await follower.has_seen(finishes("quick"))
    await stop(zombie)
    processes.worker(lease=LEASE)
    await follower.has_seen(tells("patient"), 2)
    # Its node continues and ends, while the other process executes the node too.
    zombie.send(signal.SIGCONT)
    Gate(place.folder).open()
    events = await follower.end()

    patient = [each for each in events if tells("patient")(each) or isinstance(each.event, EventsRetracted)]
    assert len(patient) == 3
    assert sum(map(finishes("patient"), events)) == 1
    assert await replayed(app, handle) == events


async def test_a_worker_receives_a_follower_of_another_process_by_its_heartbeat(
    app: App, place: Place, processes: Processes, ledger: Ledger
) -> None:
    handle = await app.start("tell", {})
    processes.worker(lease=LEASE)
    await until(lambda: len(ledger.starts()) == 2, "the start of both nodes")
    follower = Follower(handle)
    await follower.has_seen(finishes("quick"))
    assert (await handle.status()).state == "running"
    Gate(place.folder).open()
    events = await follower.end()
    assert await replayed(app, handle) == events
