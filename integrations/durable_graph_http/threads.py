"""Threads: created, read, changed, found, copied, pruned and deleted."""

from typing import Annotated, Any, Literal
from uuid import uuid4

import msgspec

from durable_graph import StateSnapshot, StateUpdate
from durable_graph.errors import ThreadExistsError, UnknownThreadError
from durable_graph.runs import ThreadSummary
from durable_graph_http.bodies import Body
from durable_graph_http.call import Call, empty_reply, json_reply
from durable_graph_http.finding import graph_to_write, snapshot_of, thread_of
from durable_graph_http.messages import Reply
from durable_graph_http.problems import Problem
from durable_graph_http.routes import Route
from durable_graph_http.runs import Limit, Offset, paging
from durable_graph_http.shapes import THREAD_FIELDS, Json, selected, thread_object
from durable_graph_http.starting import graph_of

Status = Literal["idle", "busy", "interrupted", "error"]
SortBy = Literal["thread_id", "status", "created_at", "updated_at", "state_updated_at"]


class UpdateBody(Body, frozen=True, kw_only=True):
    """An update of a superstep, as the node `as_node` would have written it."""

    values: Any = None
    as_node: str | None = None
    command: Any = None


class SuperstepBody(Body, frozen=True, kw_only=True):
    """The updates of one superstep."""

    updates: Annotated[list[UpdateBody], msgspec.Meta(min_length=1, max_length=1000)]


class NewThreadBody(Body, frozen=True, kw_only=True):
    """A thread to create. `graph_id` names its graph, which `supersteps` need. `if_exists` "do_nothing" replies with
    the thread that has the id, unchanged."""

    thread_id: str | None = None
    metadata: dict[str, Any] | None = None
    if_exists: Literal["raise", "do_nothing"] | None = None
    graph_id: str | None = None
    supersteps: Annotated[list[SuperstepBody], msgspec.Meta(max_length=1000)] | None = None
    ttl: Any = None


class ThreadPatchBody(Body, frozen=True, kw_only=True):
    """Keys of a thread's metadata whose values are replaced."""

    metadata: dict[str, Any] | None = None
    ttl: Any = None


class ThreadFilterBody(Body, frozen=True, kw_only=True):
    """The threads to find. `graph_id` and `assistant_id` in `metadata` name the graph of the threads."""

    metadata: dict[str, Any] | None = None
    status: Status | None = None
    values: Any = None
    ids: Annotated[list[str], msgspec.Meta(max_length=1000)] | None = None


class ThreadSearchBody(ThreadFilterBody, frozen=True, kw_only=True):
    """The threads to find, and the page of them."""

    limit: Limit = 10
    offset: Offset = 0
    sort_by: SortBy | None = None
    sort_order: Literal["asc", "desc"] | None = None
    select: list[str] | None = None
    extract: Any = None


class PruneBody(Body, frozen=True, kw_only=True):
    """Threads to delete, or to reduce to their newest checkpoint."""

    thread_ids: Annotated[list[str], msgspec.Meta(max_length=1000)]
    strategy: Literal["delete", "keep_latest"] = "delete"


def _check_ttl(ttl: object) -> None:
    if ttl is not None:
        raise Problem(501, "A thread has no ttl: App(keep_threads=...) says how long all threads are kept")


async def create(call: Call) -> Reply:
    """Create a thread. Without an id it has a random one."""
    body: NewThreadBody = call.body
    _check_ttl(body.ttl)
    metadata = dict(body.metadata or {})
    if body.graph_id is not None:
        metadata["graph_id"] = graph_of(call, body.graph_id)
    named = body.thread_id
    thread_id = call.stored(str(uuid4())) if named is None else await call.allowed("threads.create", named)
    supersteps = [[_update(each) for each in step.updates] for step in body.supersteps or ()]
    threads = call.service.app.threads
    try:
        summary = await threads.create(thread_id, metadata=metadata)
    except ThreadExistsError:
        if body.if_exists != "do_nothing":
            raise
        return await _thread_reply(call, await threads.get(thread_id))
    if supersteps:
        try:
            graph = graph_to_write(call, summary)
            await graph.abulk_update_state(None, supersteps, thread_id=thread_id)
        except Exception:
            await threads.delete(thread_id)
            raise
        summary = await threads.get(thread_id)
    return await _thread_reply(call, summary)


def _update(body: UpdateBody) -> StateUpdate:
    if body.command is not None:
        raise Problem(501, "An update of a superstep takes no command: give it values and as_node")
    return StateUpdate(body.values, body.as_node)


async def _thread_reply(call: Call, summary: ThreadSummary) -> Reply:
    return json_reply(thread_object(call, summary, await snapshot_of(call, summary)))


async def get(call: Call) -> Reply:
    """A thread, with its state."""
    return await _thread_reply(call, await thread_of(call))


async def patch(call: Call) -> Reply:
    """Replace keys of a thread's metadata, also while it runs. With `Prefer: return=minimal` the reply is empty."""
    body: ThreadPatchBody = call.body
    _check_ttl(body.ttl)
    summary = await call.service.app.threads.update(call.thread_id, body.metadata or {})
    if "return=minimal" in call.request.headers.get("prefer", ""):
        return empty_reply(204)
    return await _thread_reply(call, summary)


async def delete(call: Call) -> Reply:
    """Delete a thread with its runs."""
    await call.service.app.threads.delete(call.thread_id)
    return empty_reply()


async def search(call: Call) -> Reply:
    """Find threads."""
    body: ThreadSearchBody = call.body
    if body.extract is not None:
        raise Problem(501, "A search extracts no values: select values, and choose among them")
    conditions = _conditions(call, body)
    found = await call.service.app.threads.search(
        **conditions,
        sort_by="updated_at" if body.sort_by is None or body.sort_by == "state_updated_at" else body.sort_by,
        descending=body.sort_order != "asc",
        limit=body.limit,
        offset=body.offset,
    )
    total = await call.service.app.threads.count(**conditions)
    fields = body.select
    has_state = not fields or any(each in ("values", "interrupts") or each.startswith("values.") for each in fields)
    page = []
    for summary in found:
        snapshot = await _readable(call, summary) if has_state else None
        page.append(selected(thread_object(call, summary, snapshot), fields, THREAD_FIELDS, has_values=True))
    return json_reply(page, headers=paging(body.offset, body.limit, total))


async def _readable(call: Call, summary: ThreadSummary) -> StateSnapshot | None:
    """The state of a thread, None if this service has not its graph: a listing shows the thread all the same."""
    try:
        return await snapshot_of(call, summary)
    except Problem:
        return None


async def count(call: Call) -> Reply:
    """The number of threads that a search would find."""
    return json_reply(await call.service.app.threads.count(**_conditions(call, call.body)))


def _conditions(call: Call, body: ThreadFilterBody) -> dict[str, Any]:
    if body.values is not None:
        raise Problem(501, "Threads are not found by their values: search by metadata")
    metadata = dict(body.metadata or {})
    graph = None
    for key in ("assistant_id", "graph_id"):
        given = metadata.get(key)
        if isinstance(given, str):
            del metadata[key]
            name = graph_of(call, given)
            if graph not in (None, name):
                raise Problem(422, "graph_id and assistant_id name different graphs: give one of them")
            graph = name
    return {
        "metadata": metadata or None,
        "status": body.status,
        "ids": None if body.ids is None else [call.stored(each) for each in body.ids],
        "prefix": call.prefix,
        "graph": graph,
    }


async def copy(call: Call) -> Reply:
    """Copy a thread with its checkpoints and its metadata to a random id."""
    copied = await call.service.app.threads.copy(call.thread_id, call.stored(str(uuid4())))
    return await _thread_reply(call, copied)


async def prune(call: Call) -> Reply:
    """Delete threads, or all their checkpoints that only the history needs. Unknown threads are left out."""
    body: PruneBody = call.body
    count = 0
    for thread_id in [await call.allowed("threads.prune", each) for each in body.thread_ids]:
        try:
            if body.strategy == "delete":
                await call.service.app.threads.delete(thread_id)
            else:
                await call.service.app.threads.get(thread_id)
                await call.service.app.checkpointer.prune(thread_id)
        except UnknownThreadError:
            continue
        count += 1
    return json_reply({"pruned_count": count})


ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/threads",
        operation="threads.create",
        handler=create,
        summary="Create a thread",
        body=NewThreadBody,
        answer=Json,
        statuses=(404, 409, 422, 501),
    ),
    Route(
        method="GET",
        path="/threads/{thread_id}",
        operation="threads.read",
        handler=get,
        summary="Read a thread",
        answer=Json,
        query=(("include", str),),
        statuses=(404, 409, 422),
    ),
    Route(
        method="PATCH",
        path="/threads/{thread_id}",
        operation="threads.update",
        handler=patch,
        summary="Change the metadata of a thread",
        body=ThreadPatchBody,
        answer=Json,
        others=(204,),
        statuses=(404, 409, 422, 501),
    ),
    Route(
        method="DELETE",
        path="/threads/{thread_id}",
        operation="threads.delete",
        handler=delete,
        summary="Delete a thread",
        status=204,
        statuses=(404, 409, 422),
    ),
    Route(
        method="POST",
        path="/threads/search",
        operation="threads.search",
        handler=search,
        summary="Find threads",
        body=ThreadSearchBody,
        answer=list[Json],
        statuses=(404, 422, 501),
    ),
    Route(
        method="POST",
        path="/threads/count",
        operation="threads.search",
        handler=count,
        summary="Count threads",
        body=ThreadFilterBody,
        answer=int,
        statuses=(404, 422, 501),
    ),
    Route(
        method="POST",
        path="/threads/prune",
        operation="threads.prune",
        handler=prune,
        summary="Delete threads, or their history",
        body=PruneBody,
        answer=Json,
        statuses=(409, 422),
    ),
    Route(
        method="POST",
        path="/threads/{thread_id}/copy",
        operation="threads.copy",
        handler=copy,
        summary="Copy a thread",
        answer=Json,
        statuses=(404, 409, 422),
    ),
)
