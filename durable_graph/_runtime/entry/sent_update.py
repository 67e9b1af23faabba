"""An update for a running graph, checked against the graph and its thread before it is sent."""

from collections.abc import Sequence
from typing import Any

import msgspec

from durable_graph._engine.apply import with_recorded
from durable_graph._engine.state import initial_state
from durable_graph._engine.task import Write
from durable_graph._engine.updates import Update, encode_update
from durable_graph._runtime.entry.start import StoredCall
from durable_graph._runtime.events.sink import NullSink
from durable_graph._runtime.request.run import Request
from durable_graph._runtime.task.plan import StepPlan
from durable_graph._runtime.task.read_result import goto_routes
from durable_graph._runtime.task.writes import update_writes
from durable_graph.checkpointing import Checkpointer
from durable_graph.errors import InvalidUpdateError
from durable_graph.graph import Command, Topology
from durable_graph.graph.durations import Duration, microseconds

_WHERE = "the update"


async def encoded_update(plan: StepPlan, saver: Checkpointer, request: Request) -> bytes:
    """The update and the routes of the request's `Command`, as the value of a message for its thread.

    Raises as a `Command` that is an input does, given the state that the thread has now.
    """
    thread_id, command = request.thread_id or "", request.input
    assert isinstance(command, Command)  # noqa: S101  # the caller made it
    call = StoredCall(plan, saver, msgspec.structs.replace(request, owned=None), thread_id, NullSink(), None)
    topology, limit = plan.topology, saver.max_value_bytes
    restored = (await call.opened()).restored
    values = initial_state(topology).values
    if restored is not None:
        values = with_recorded(topology, restored.state, restored.recorded)
    writes = () if command.update is None else update_writes(topology, command.update, values, _WHERE, limit)
    _check_stored(topology, writes)
    routes = goto_routes(topology, command, _WHERE, limit, _from_its_application)
    if command.update is None and not routes:
        raise InvalidUpdateError(f"{_WHERE} is empty: pass values or goto")
    return encode_update(Update(writes, routes))


def _from_its_application(option: str, duration: Duration) -> int:
    return microseconds(option, duration, least=0.001)


def _check_stored(topology: Topology, writes: Sequence[Write]) -> None:
    unstored: list[Any] = [write.channel for write in writes if write.data is None]
    if unstored:
        raise InvalidUpdateError(
            f"{_WHERE} has the key {unstored[0]!r}, whose values are not stored, and another process applies it; leave "
            "the key out"
        )
