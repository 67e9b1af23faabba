"""The order in which runs that share a writer wait for each other."""

import asyncio
from collections import deque
from typing import Any

from durable_graph import MemorySaver
from durable_graph._runtime.commit.requests import StatusChange
from durable_graph._runtime.commit.thread import new_thread
from durable_graph._runtime.commit.writer import Policy, open_writer
from durable_graph._runtime.events.sink import NullSink, Publication
from durable_graph.checkpointing import CommitHandle
from durable_graph.graph import Topology
from durable_graph.records import Saved, WritesBatch
from tests.runtime.test_step_plan import State, topology_of


class HeldSaver(MemorySaver):
    """Ends one of its calls when `end_call` is called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: deque[CommitHandle[Any]] = deque()

    def save_writes(self, batch: WritesBatch) -> CommitHandle[Any]:
        self.calls.append(CommitHandle())
        return self.calls[-1]

    async def end_call(self) -> None:
        self.calls.popleft().set_result(Saved(0, bumped=False, standing=()))
        await asyncio.sleep(0)


def _published(_: object) -> Publication:
    return Publication(NullSink())


async def test_a_run_does_not_wait_for_later_requests_of_other_runs() -> None:
    saver, topology = HeldSaver(), topology_of(State)
    writer = open_writer(saver, new_thread("t"), Policy(waits=False, backlog=0), grace=1.0)
    own = writer.namespace(topology, "", None)
    await writer.save(own, (), _published)
    saving = asyncio.create_task(writer.save(own, (), _published))
    others = [asyncio.create_task(call) for call in others_of(writer, topology)]
    await asyncio.sleep(0)
    assert not saving.done()

    # The first call of the run, then the second; its task wakes up while one call of the others is in progress and
    # another waits.
    await saver.end_call()
    await saver.end_call()
    async with asyncio.timeout(5):
        await saving
        while others and not all(other.done() for other in others):
            await saver.end_call()


def others_of(writer: Any, topology: Topology) -> list[Any]:
    own = writer.namespace(topology, "", None)
    return [writer.save_unmoved(own, (), None), writer.save_unmoved(own, (), StatusChange("running"))]
