"""A worker that has lost its claim and does not know it yet: it records and cancels nothing of the next holder."""

from collections.abc import Awaitable, Callable, Collection
from typing import Any, TypedDict

import pytest

from durable_graph import START, Checkpointer, StateGraph, receive
from durable_graph._runtime.events.sink import NullSink
from durable_graph._runtime.request.owned_run import OwnedRun
from durable_graph._runtime.request.run import RunControl
from durable_graph.checkpointing.run_store import RunStore
from durable_graph.errors import CheckpointConflictError
from durable_graph.records import StoredCheckpoint
from durable_graph.run_records import Claim, Message, NewWorker
from durable_graph.runs import App, RunHandle, graph_calls
from durable_graph.runs.claimed_request import ClaimedCalls
from durable_graph.testing import expire_leases
from tests.runs.engine.processes import until

LEASE = 60_000_000
GRAPH = "receives"


class State(TypedDict, total=False):
    received: list[Any]


async def both(state: State) -> State:
    return {"received": [await receive("topic"), await receive("topic")]}


class Reads:
    """Reads of a claimed run. Before one of them, counted from 1 in the order of the calls, something happens."""

    def __init__(self, saver: Checkpointer, runs: RunStore, at: int, happens: Callable[[], Awaitable[None]]) -> None:
        self._saver, self._runs, self._left, self._happens = saver, runs, at, happens

    async def load(self, thread: str) -> StoredCheckpoint | None:
        await self._count()
        return await self._saver.load(thread)

    async def inbox(self, thread: str, topics: Collection[str]) -> list[Message]:
        found = await self._runs.inbox(thread, topics)
        await self._count()
        return found

    async def _count(self) -> None:
        self._left -= 1
        if self._left == 0:
            await self._happens()


async def claim_by(runs: RunStore, worker: int) -> Claim:
    await runs.register(NewWorker(worker, LEASE, f"worker {worker}"))
    (claim,) = await runs.claim(worker, [GRAPH], 10)
    return claim


async def waiting_run(app: App) -> RunHandle:
    """A run that waits for its first message, of which two are in the inbox."""
    handle = await app.start(GRAPH, {}, thread_id="t")
    async with app.worker():

        async def waits() -> bool:
            return (await handle.status()).state == "waiting"

        await until(waits, "a waiting run")
    for number in range(2):
        await app.signal("t", "topic", number)
    return handle


def receiving(saver: Checkpointer) -> App:
    return App({GRAPH: StateGraph(State).add_node("both", both).add_edge(START, "both").compile()}, saver)


async def execute(app: App, claim: Claim, reads: Reads) -> None:
    owned = OwnedRun(claim.seq, has_input=False, inbox=claim.inbox, seen=claim.inbox, claimed_at=claim.now, reads=reads)
    request, _ = ClaimedCalls(app.graph(GRAPH), None).of(claim, owned, RunControl())
    await graph_calls.execute(app.graph(GRAPH), app.checkpointer, request, claim.epoch, NullSink())


@pytest.mark.parametrize(("at", "left"), [(2, [0, 1]), (3, [1])], ids=["before the record", "after the record"])
async def test_a_worker_that_lost_its_claim_records_no_message_for_the_next_holder(
    saver: Checkpointer, at: int, left: list[int]
) -> None:
    app = receiving(saver)
    handle = await waiting_run(app)
    claim, held = await claim_by(app.store, 1), []

    async def is_taken_over() -> None:
        await expire_leases(saver)
        held.append(await claim_by(app.store, 2))

    with pytest.raises(CheckpointConflictError):
        await execute(app, claim, Reads(saver, app.store, at, is_taken_over))

    messages = await app.store.inbox("t", ["topic"])
    assert [app.graph(GRAPH).topology.argument.decode(each.value) for each in messages] == left
    assert (await handle.status()).attempt == held[0].attempt
    await app.store.unregister(2)
    async with app.worker():
        assert await handle.result(20) == {"received": [0, 1]}


async def test_a_worker_that_lost_its_claim_cancels_nothing_of_the_run_that_was_retried(saver: Checkpointer) -> None:
    app = receiving(saver)
    handle = await waiting_run(app)
    lost = await claim_by(app.store, 1)
    await handle.cancel()
    await expire_leases(saver)
    async with app.worker():
        await handle.stopped(20)
    await app.retry(handle.run_id)
    claim = await claim_by(app.store, 2)

    graph = app.graph(GRAPH)
    assert not await graph_calls.cancel(graph, saver, lost)
    assert (await graph.aget_state(thread_id="t")).status == "running"
    assert await graph_calls.cancel(graph, saver, claim)
    assert (await graph.aget_state(thread_id="t")).status == "cancelled"


async def test_a_message_for_a_call_that_a_person_answered_meanwhile_stays_for_the_next_call(
    saver: Checkpointer,
) -> None:
    app = receiving(saver)
    handle = await waiting_run(app)
    claim = await claim_by(app.store, 1)

    async def is_answered() -> None:
        asked = (await app.graph(GRAPH).aget_state(thread_id="t")).interrupts
        await app.answer("t", "by hand", interrupt_id=asked[0].id)

    await execute(app, claim, Reads(saver, app.store, 2, is_answered))
    await app.store.unregister(1)
    async with app.worker():
        assert await handle.result(20) == {"received": ["by hand", 0]}
