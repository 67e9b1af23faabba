"""Sending an update to the run of a thread, and discarding one."""

import os
from collections.abc import Mapping
from typing import Any

from durable_graph._engine.updates import Update, encode_update
from durable_graph._runtime.request.identifiers import read_key
from durable_graph.app.compiled import CompiledGraph
from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.run_ids import run_id
from durable_graph.checkpointing.run_store import RunStore
from durable_graph.errors import (
    ThreadBusyError,
    ThreadCancelledError,
    ThreadFinishedError,
    UnknownNameError,
    UnknownThreadError,
)
from durable_graph.graph import Command
from durable_graph.run_records import UPDATES, Discarded, NewMessage, Sent
from durable_graph.runs import graph_calls

Graph = CompiledGraph[Any, Any, Any, Any]


async def send_update(
    graphs: Mapping[str, Graph],
    saver: Checkpointer,
    runs: RunStore,
    thread: str,
    command: Command[Any],
    key: str | None,
) -> bool:
    """Send the update and the routes of a Command to the thread's unfinished run. False if its key is known.

    Raises as `App.update` does.
    """
    name = os.urandom(16).hex() if key is None else read_key(key)
    graph = await _graph_of(graphs, saver, runs, thread)
    data = await graph_calls.encoded_update(graph, saver, thread, command)
    return is_new(await runs.send(NewMessage(thread, UPDATES, name, data)), thread)


async def send_empty_update(runs: RunStore, thread: str, key: str) -> bool:
    """Send an update without values and nodes: a run that waits at a breakpoint continues. Raises as `is_new`."""
    return is_new(await runs.send(NewMessage(thread, UPDATES, key, encode_update(Update((), ())))), thread)


async def _graph_of(graphs: Mapping[str, Graph], saver: Checkpointer, runs: RunStore, thread: str) -> Graph:
    """The graph of the thread's run, or of the thread if it has no unfinished run."""
    row = await runs.find_unfinished(thread)
    if row is not None:
        name: str | None = row.graph
    else:
        found = await saver.load(thread)
        if found is None or found.thread.status == "deleted":
            raise UnknownThreadError(thread)
        name = found.thread.graph
    if name is None or name not in graphs:
        raise UnknownNameError.of_graph(name or "", known=graphs)
    return graphs[name]


def is_new(sent: Sent, thread: str) -> bool:
    """Whether a message was recorded; False if its key was known.

    Raises `UnknownThreadError`, `ThreadFinishedError`, `ThreadCancelledError` for a thread without an unfinished run.
    """
    match sent:
        case Sent.NO_THREAD:
            raise UnknownThreadError(thread)
        case Sent.NO_RUN:
            raise ThreadFinishedError.of_message(thread)
        case Sent.CANCELLED:
            raise ThreadCancelledError.of_message(thread)
    return sent is Sent.NEW


async def discard_update(runs: RunStore, thread: str, key: str) -> bool:
    """Remove an update from the inbox of the thread. False if it is not there. Raises as `App.discard_update` does."""
    match await runs.discard(thread, UPDATES, read_key(key)):
        case Discarded.NO_THREAD:
            raise UnknownThreadError(thread)
        case Discarded.RUNNING:
            row = await runs.find_unfinished(thread)
            raise ThreadBusyError.of_update(thread, "" if row is None else run_id(key_of(thread), row.seq))
        case discarded:
            return discarded is Discarded.DISCARDED
