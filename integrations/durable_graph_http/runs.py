"""Runs of a thread: created, awaited, joined, listed, cancelled, retried and deleted."""

import logging
from contextlib import suppress
from typing import Annotated, Any, Literal

import msgspec

from durable_graph.errors import UnknownRunError
from durable_graph.runs import RunHandle
from durable_graph_http.bodies import RunBody
from durable_graph_http.call import Call, empty_reply, json_reply
from durable_graph_http.finding import named_run, run_of, run_with_graph, thread_of
from durable_graph_http.messages import Reply
from durable_graph_http.problems import Problem
from durable_graph_http.rollback import checkpoint_before, roll_back
from durable_graph_http.routes import Route
from durable_graph_http.run_streams import all_runs
from durable_graph_http.shapes import RUN_FIELDS, Json, run_object, run_status, selected
from durable_graph_http.starting import Started, start_run, started_path
from durable_graph_http.waiting import cancelled_parts, cancelling, has_stopped, later_reply, result_parts

LOG = logging.getLogger("durable_graph_http")

Limit = Annotated[int, msgspec.Meta(ge=1, le=1000)]
Offset = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
Status = Literal["pending", "running", "error", "success", "timeout", "interrupted"]
Action = Literal["interrupt", "rollback"]
Flag = Literal["0", "1", "true", "false"]


async def create(call: Call) -> Reply:
    """Start a run in the background. A worker of any process executes it."""
    started = await start_run(call, call.body, call.thread_id)
    return await created_reply(call, started)


async def created_reply(call: Call, started: Started) -> Reply:
    """The run that a request has started."""
    status = await started.handle.status()
    return json_reply(run_object(call, status), headers={"Content-Location": started_path(call, started)})


async def wait(call: Call) -> Reply:
    """Start a run, and reply with its result once it has ended or waits for an answer. An error of the graph is
    `__error__` in the result, open questions are `__interrupt__`."""
    started = await start_run(call, call.body, call.thread_id)
    return waiting_reply(call, started, call.body)


def waiting_reply(call: Call, started: Started, body: RunBody) -> Reply:
    """The result of the run, later."""
    handle, headers = started.handle, {"Content-Location": started_path(call, started)}
    is_cancelled = body.on_disconnect == "cancel"
    left = cancelling(call, handle, is_temporary=started.is_temporary) if is_cancelled else None
    return later_reply(call, handle, result_parts(call, started), headers, left)


async def join(call: Call) -> Reply:
    """The result of a run, as of `wait`."""
    handle, status = await run_with_graph(call)
    started = Started(handle, status.graph, is_new=False)
    left = cancelling(call, handle) if call.query.get("cancel_on_disconnect") else None
    return later_reply(call, handle, result_parts(call, started), left=left)


async def listed(call: Call) -> Reply:
    """The runs of a thread, newest first."""
    await thread_of(call)
    wanted, offset, limit = call.query.get("status"), call.query.get("offset", 0), call.query.get("limit", 10)
    runs = await all_runs(call.service, call.thread_id)
    found = [each for each in reversed(runs) if wanted in (None, run_status(each))]
    fields = call.query.get("select")
    page = [selected(run_object(call, each), fields, RUN_FIELDS) for each in found[offset : offset + limit]]
    return json_reply(page, headers=paging(offset, limit, len(found)))


def paging(offset: int, limit: int, total: int) -> dict[str, str]:
    """The headers of a page of a listing."""
    following = {"X-Pagination-Next": str(offset + limit)} if offset + limit < total else {}
    return {"X-Pagination-Total": str(total), **following}


async def get(call: Call) -> Reply:
    """A run."""
    return json_reply(run_object(call, await (await run_of(call)).status()))


async def cancel(call: Call) -> Reply:
    """Cancel a run; a run that has ended stays as it is. With `wait=1`, the reply comes after its end. The action
    "rollback" also makes the checkpoint before the run the newest one; the first run of a thread has none."""
    handle = await run_of(call)
    before = await checkpoint_before(handle) if call.query.get("action") == "rollback" else None
    await handle.cancel("cancelled by a client")
    then = (lambda: roll_back(call, handle, before)) if before is not None else None
    if call.query.get("wait") in ("1", "true"):
        return later_reply(call, handle, cancelled_parts(call, handle, then))
    if before is not None:
        call.service.spawn(_roll_back_later(call, handle, before))
    return empty_reply(202)


async def _roll_back_later(call: Call, handle: RunHandle, before: str) -> None:
    with suppress(UnknownRunError):
        if await has_stopped(call, handle):
            await roll_back(call, handle, before)
        else:
            LOG.warning("the service stops, and the run %s was not rolled back: repeat the request", handle.run_id)


async def delete(call: Call) -> Reply:
    """Delete a run that has ended. Its thread stays."""
    handle = await run_of(call)
    status = await call.service.app.delete_run(handle.run_id)
    if not status.has_ended or status.state == "quarantined":
        raise Problem(409, f"The run is {status.state}: cancel it first")
    return empty_reply()


async def retry(call: Call) -> Reply:
    """Make a failed, cancelled or quarantined run ready again: it continues where it stopped."""
    handle = await call.service.app.retry((await run_of(call)).run_id)
    return json_reply(run_object(call, await handle.status()))


class CancelBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The runs to cancel: some runs of a thread, or all runs with a status."""

    thread_id: str | None = None
    run_ids: list[str] | None = None
    status: Literal["pending", "running", "all"] | None = None


async def cancel_many(call: Call) -> Reply:
    """Cancel some runs of a thread, or all runs with a status."""
    body: CancelBody = call.body
    handles = await (_named(call, body) if body.run_ids is not None else _by_status(call, body))
    is_rollback = call.query.get("action") == "rollback"
    before = [await checkpoint_before(handle) if is_rollback else None for handle in handles]
    for handle in handles:
        await handle.cancel("cancelled by a client")
    for handle, checkpoint in reversed([*zip(handles, before, strict=True)]):
        if checkpoint is not None:
            if not await has_stopped(call, handle):
                raise Problem(503, "The service stops: repeat the request", headers={"Retry-After": "1"})
            await roll_back(call, handle, checkpoint)
    return empty_reply()


async def _named(call: Call, body: CancelBody) -> list[RunHandle]:
    if body.thread_id is None or body.status is not None:
        raise Problem(422, "Give thread_id and run_ids, or status alone")
    thread = await call.allowed("threads.cancel_run", body.thread_id)
    return [await named_run(call, thread, run_id) for run_id in body.run_ids or ()]


_BY_STATUS: dict[str, tuple[str, ...]] = {
    "pending": ("pending",),
    "running": ("running",),
    "all": ("pending", "running", "interrupted"),
}


async def _by_status(call: Call, body: CancelBody) -> list[RunHandle]:
    if body.status is None or body.thread_id is not None:
        raise Problem(422, "Give thread_id and run_ids, or status alone")
    app, wanted = call.service.app, _BY_STATUS[body.status]
    found: list[RunHandle] = []
    for state in ("ready", "running", "waiting", "blocked"):
        last = None
        while page := await app.runs(state=state, limit=500, after=last):
            last = page[-1]
            own = (each for each in page if each.thread_id.startswith(call.prefix) and run_status(each) in wanted)
            found += [await app.find(each.run_id) for each in own]
    return found


_RUNS = "/threads/{thread_id}/runs"
_RUN = "/threads/{thread_id}/runs/{run_id}"
_CREATES = (404, 409, 422, 501)

ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path=_RUNS,
        operation="threads.create_run",
        handler=create,
        summary="Start a run",
        body=RunBody,
        answer=Json,
        statuses=_CREATES,
    ),
    Route(
        method="POST",
        path=f"{_RUNS}/wait",
        operation="threads.create_run",
        handler=wait,
        summary="Start a run, and wait for its result",
        body=RunBody,
        answer=Any,
        statuses=_CREATES,
    ),
    Route(
        method="GET",
        path=_RUNS,
        operation="threads.read_run",
        handler=listed,
        summary="List the runs of a thread",
        answer=list[Json],
        query=(("limit", Limit), ("offset", Offset), ("status", Status), ("select", list[str])),
        statuses=(404, 422),
    ),
    Route(
        method="GET",
        path=_RUN,
        operation="threads.read_run",
        handler=get,
        summary="Read a run",
        answer=Json,
        statuses=(404, 422),
    ),
    Route(
        method="DELETE",
        path=_RUN,
        operation="threads.delete_run",
        handler=delete,
        summary="Delete a run that has ended",
        status=204,
        statuses=(404, 409, 422),
    ),
    Route(
        method="GET",
        path=f"{_RUN}/join",
        operation="threads.read_run",
        handler=join,
        summary="Wait for the result of a run",
        answer=Any,
        query=(("cancel_on_disconnect", bool),),
        statuses=(404, 422),
    ),
    Route(
        method="POST",
        path=f"{_RUN}/cancel",
        operation="threads.cancel_run",
        handler=cancel,
        summary="Cancel a run",
        answer=Json,
        others=(202,),
        query=(("wait", Flag), ("action", Action)),
        statuses=(404, 409, 422),
    ),
    Route(
        method="POST",
        path=f"{_RUN}/retry",
        operation="threads.retry_run",
        handler=retry,
        summary="Retry a run that has ended without a result",
        answer=Json,
        statuses=(404, 409, 422),
    ),
    Route(
        method="POST",
        path="/runs/cancel",
        operation="runs.cancel",
        handler=cancel_many,
        summary="Cancel several runs",
        body=CancelBody,
        status=204,
        query=(("action", Action),),
        statuses=(404, 409, 422),
    ),
)
