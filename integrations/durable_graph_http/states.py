"""The state of a thread: now, at a checkpoint, its history, and updates of it."""

import asyncio
from typing import Any

from durable_graph import StateSnapshot
from durable_graph.runs import RunStatus, ThreadSummary
from durable_graph_http.bodies import Body, CheckpointBody
from durable_graph_http.call import Call, json_reply
from durable_graph_http.finding import Graph, graph_of_thread, graph_to_write, thread_of
from durable_graph_http.messages import Reply
from durable_graph_http.problems import Problem
from durable_graph_http.routes import Route
from durable_graph_http.runs import Limit
from durable_graph_http.shapes import STATE_FIELDS, Json, checkpoint_object, selected, state_object

_LONGEST_UPDATE = 10.0
"""In seconds: how long a request waits for a worker that applies its update to a thread that waits for an answer."""


class ReadBody(Body, frozen=True, kw_only=True):
    """The checkpoint to read. With `subgraphs`, tasks have the state of the graphs that they run."""

    checkpoint: CheckpointBody
    subgraphs: bool | None = None
    select: list[str] | None = None


class WriteBody(Body, frozen=True, kw_only=True):
    """An update of the state, as the node `as_node` would have written it. An older checkpoint is forked."""

    values: Any = None
    as_node: str | None = None
    checkpoint: CheckpointBody | None = None
    checkpoint_id: str | None = None


class HistoryBody(Body, frozen=True, kw_only=True):
    """The checkpoints to read, newest first. `before` is the id of a checkpoint, a checkpoint, or a config that has
    one. `metadata` is a part of theirs. `checkpoint` names the namespace of a nested graph."""

    limit: Limit = 10
    before: str | dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    checkpoint: CheckpointBody | None = None
    select: list[str] | None = None


def _config(call: Call, checkpoint: CheckpointBody | None, checkpoint_id: str | None = None) -> dict[str, Any]:
    """The config of a checkpoint of the path's thread. Raises `Problem` for a contradiction."""
    named = checkpoint or CheckpointBody()
    if named.thread_id is not None and named.thread_id != call.parameters["thread_id"]:
        raise Problem(422, "The checkpoint is of another thread than the path")
    id_ = named.checkpoint_id or checkpoint_id
    if checkpoint_id and id_ != checkpoint_id:
        raise Problem(422, "The request names two checkpoints: give it one")
    place = {"thread_id": call.thread_id}
    if named.checkpoint_ns:
        place["checkpoint_ns"] = named.checkpoint_ns
    if id_:
        place["checkpoint_id"] = id_
    return {"configurable": place}


async def now(call: Call) -> Reply:
    """The state of a thread now. A thread on which no graph has run has an empty state."""
    return await _read(call, None, None, call.query.get("select"), subgraphs=call.query.get("subgraphs", False))


async def at(call: Call) -> Reply:
    """The state of a thread at a checkpoint."""
    id_ = call.parameters["checkpoint_id"]
    return await _read(call, None, id_, call.query.get("select"), subgraphs=call.query.get("subgraphs", False))


async def at_checkpoint(call: Call) -> Reply:
    """The state of a thread, or of a nested graph, at a checkpoint."""
    body: ReadBody = call.body
    return await _read(call, body.checkpoint, None, body.select, subgraphs=bool(body.subgraphs))


async def _read(
    call: Call, checkpoint: CheckpointBody | None, id_: str | None, fields: list[str] | None, *, subgraphs: bool
) -> Reply:
    config = _config(call, checkpoint, id_)
    graph = graph_of_thread(call, await thread_of(call))
    if graph is None:
        if len(config["configurable"]) > 1:
            raise Problem(404, "The thread has no checkpoints: no graph has run on it")
        snapshot = StateSnapshot({}, (), config, None, None, None, ())
    else:
        snapshot = await graph.aget_state(config, subgraphs=subgraphs)
    return json_reply(selected(state_object(call, snapshot), fields, STATE_FIELDS, has_values=True))


async def history(call: Call) -> Reply:
    """The checkpoints of a thread, newest first, with those of all forks."""
    body: HistoryBody = call.body
    config = _config(call, body.checkpoint)
    graph = graph_of_thread(call, await thread_of(call))
    before = _before(body.before)
    found: list[Json] = []
    if graph is not None:
        async for snapshot in graph.aget_state_history(
            config, filter=body.metadata or None, before=before, limit=body.limit
        ):
            found.append(selected(state_object(call, snapshot), body.select, STATE_FIELDS, has_values=True))
    return json_reply(found)


def _before(given: str | dict[str, Any] | None) -> str | None:
    """The id of a checkpoint, given in any of the forms that LangGraph's clients have for it."""
    if not isinstance(given, dict):
        return given
    place = given.get("configurable", given)
    id_ = place.get("checkpoint_id") if isinstance(place, dict) else None
    if not isinstance(id_, str):
        raise Problem(422, "before has no checkpoint_id: give the id, a checkpoint, or a config")
    return id_


async def update(call: Call) -> Reply:
    """Update the state. While a run executes the thread, it is busy. On a thread that waits for an answer, an update
    without `as_node` leaves the question open, and one with it takes the question's place."""
    body: WriteBody = call.body
    summary = await thread_of(call)
    config = _config(call, body.checkpoint, body.checkpoint_id)
    graph = graph_to_write(call, summary)
    waiting = await call.service.app.unfinished(call.thread_id)
    if waiting is not None and waiting.is_interrupted:
        if body.as_node is None and len(config["configurable"]) == 1:
            return _written(call, await _updated(call, graph, summary, body.values))
        await _replaced(call, waiting)
    return _written(call, await graph.aupdate_state(config, body.values, body.as_node, key=call.key))


def _written(call: Call, config: dict[str, Any]) -> Reply:
    checkpoint = checkpoint_object(call, config)
    return json_reply({"checkpoint": checkpoint, "configurable": checkpoint, **checkpoint})


async def _replaced(call: Call, waiting: RunStatus) -> None:
    """Cancel a run that waits for an answer: the update takes the question's place."""
    handle = await call.service.app.find(waiting.run_id)
    await handle.cancel("an update of the state takes the question's place", wait=True)


async def _updated(call: Call, graph: Graph, summary: ThreadSummary, values: Any) -> dict[str, Any]:
    """Update a thread that waits for an answer, and wait for the checkpoint that a worker makes of it."""
    before = await graph.aget_state(thread_id=summary.thread_id)
    await call.service.app.update(summary.thread_id, values, key=call.key)
    try:
        async with asyncio.timeout(_LONGEST_UPDATE):
            # The store has no event for it.
            while (after := await graph.aget_state(thread_id=summary.thread_id)).config == before.config:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    except TimeoutError:
        text = "The update is recorded, and no worker has applied it yet"
        raise Problem(503, text, headers={"Retry-After": "1"}) from None
    return after.config


_STATE = "/threads/{thread_id}/state"
_QUERY = (("subgraphs", bool), ("select", list[str]))

ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path=_STATE,
        operation="threads.read",
        handler=now,
        summary="Read the state of a thread",
        answer=Json,
        query=_QUERY,
        statuses=(404, 409, 422),
    ),
    Route(
        method="GET",
        path=f"{_STATE}/{{checkpoint_id}}",
        operation="threads.read",
        handler=at,
        summary="Read the state of a thread at a checkpoint",
        answer=Json,
        query=_QUERY,
        statuses=(404, 409, 422),
    ),
    Route(
        method="POST",
        path=f"{_STATE}/checkpoint",
        operation="threads.read",
        handler=at_checkpoint,
        summary="Read the state at a checkpoint, also of a nested graph",
        body=ReadBody,
        answer=Json,
        statuses=(404, 409, 422),
    ),
    Route(
        method="POST",
        path=_STATE,
        operation="threads.write",
        handler=update,
        summary="Update the state of a thread",
        body=WriteBody,
        answer=Json,
        statuses=(404, 409, 422),
    ),
    Route(
        method="POST",
        path="/threads/{thread_id}/history",
        operation="threads.read",
        handler=history,
        summary="Read the history of a thread",
        body=HistoryBody,
        answer=list[Json],
        statuses=(404, 409, 422),
    ),
)
