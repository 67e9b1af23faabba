"""Calls of a graph that an `App` has bound to its store: a claimed run, answers, and the result of a run."""

import dataclasses
from collections.abc import Awaitable, Mapping
from typing import Any

import msgspec

from durable_graph._runtime.commit.thread import open_thread
from durable_graph._runtime.entry import sent_update
from durable_graph._runtime.entry.claimed import answer_claimed, execute_claimed, refuse_answered
from durable_graph._runtime.entry.observed_run import observed_run
from durable_graph._runtime.entry.subgraph import Nested
from durable_graph._runtime.events.sink import EventSink
from durable_graph._runtime.request.callbacks import callbacks_in_use
from durable_graph._runtime.request.output import Ended, result_of
from durable_graph._runtime.request.run import Request
from durable_graph._runtime.threads.cancel_thread import cancel_thread
from durable_graph.app.compiled import CompiledGraph
from durable_graph.checkpointing import Checkpointer
from durable_graph.errors import UnknownNameError
from durable_graph.graph import Command
from durable_graph.records import checkpoint_id
from durable_graph.run_records import Claim

Graph = CompiledGraph[Any, Any, Any, Any]


def bound(graph: Graph, saver: Checkpointer, name: str) -> Graph:
    """The same graph under this name, with this saver."""
    own = graph.setup
    topology = dataclasses.replace(graph.topology, graph_name=name)
    copy = type(graph)(topology, saver, own.cache, own.defaults, own.config)
    copy.step_timeout = own.step_timeout
    return copy


def execute(graph: Graph, saver: Checkpointer, request: Request, epoch: int, sink: EventSink) -> Awaitable[Ended]:
    """Execute the run `request.owned`, which a worker has claimed, with this sink for its events."""
    setup, library = graph.setup, callbacks_in_use()

    def begin(place: Nested | Request) -> Awaitable[Ended]:
        own = place.request if isinstance(place, Nested) else place
        return execute_claimed(setup.plan, saver, own, sink, setup.cache, epoch)

    return begin(request) if library is None else observed_run(library, graph.topology, request, begin)


async def answer(graph: Graph, saver: Checkpointer, thread_id: str, command: Command[Any]) -> tuple[str, ...]:
    """Record answers for the unfinished run of a thread, which a worker executes. Returns their interrupts' ids."""
    request = msgspec.structs.replace(graph.setup.defaults, input=command, thread_id=thread_id)
    return await answer_claimed(graph.setup.plan, saver, request)


async def refuse_answer(
    graphs: Mapping[str, Graph], saver: Checkpointer, thread_id: str, command: Command[Any]
) -> None:
    """Raise the error for an answer to a thread without an unfinished run, if its questions have been answered."""
    found = await saver.load(thread_id)
    graph = None if found is None or found.thread.status == "deleted" else graphs.get(found.thread.graph or "")
    if graph is not None:
        request = msgspec.structs.replace(graph.setup.defaults, input=command, thread_id=thread_id)
        await refuse_answered(graph.setup.plan, saver, request)


async def cancel(graph: Graph, saver: Checkpointer, claim: Claim) -> bool:
    """Cancel the thread of a claimed run, as long as the claim holds it. False if the run has no checkpoint yet, has
    ended, or was claimed again."""
    return await cancel_thread(graph.topology, saver, claim.thread, claim)


async def encoded_update(graph: Graph, saver: Checkpointer, thread_id: str, command: Command[Any]) -> bytes:
    """The update and the routes of a Command, checked, as the value of a message."""
    request = msgspec.structs.replace(graph.setup.defaults, input=command, thread_id=thread_id)
    return await sent_update.encoded_update(graph.setup.plan, saver, request)


async def output_at(graph: Graph, saver: Checkpointer, thread_id: str, no: int) -> Any:
    """The output of a run that ended at the checkpoint `no`. Raises `UnknownNameError` if that was removed."""
    opened = await open_thread(saver, graph.topology, thread_id, no)
    if opened.restored is None:
        raise UnknownNameError.of_checkpoint(thread_id, checkpoint_id(no))
    state = opened.restored.state
    return result_of(graph.topology, Ended(state, {}, state.values), None, "v1")
