"""Runs that name no thread: each has a thread of its own, which is deleted with the reply unless it is to be kept."""

from typing import Annotated, Any

import msgspec

from durable_graph_http.bodies import RunBody
from durable_graph_http.call import Call, json_reply
from durable_graph_http.messages import Reply
from durable_graph_http.problems import Problem
from durable_graph_http.routes import Route
from durable_graph_http.runs import created_reply, waiting_reply
from durable_graph_http.shapes import Json, run_object
from durable_graph_http.starting import start_run


class BatchRunBody(RunBody, frozen=True, kw_only=True):
    """A run of a batch, which may name its thread."""

    thread_id: str | None = None


Batch = Annotated[list[BatchRunBody], msgspec.Meta(max_length=100)]


def check_background(body: RunBody) -> None:
    """Refuse to delete the thread of a run in the background: no reply waits for its end."""
    if body.on_completion == "delete":
        text = "The thread of a run in the background is kept: App(keep_threads=...) says how long; use /runs/wait"
        raise Problem(501, text)


async def create(call: Call) -> Reply:
    """Start a run in the background, on a new thread, which is kept: the run's `thread_id` names it."""
    check_background(call.body)
    return await created_reply(call, await start_run(call, call.body, None))


async def wait(call: Call) -> Reply:
    """Start a run on a new thread, and reply with its result. The thread is deleted then, unless `on_completion` is
    "keep"; a run that waits for an answer is cancelled then."""
    return waiting_reply(call, await start_run(call, call.body, None), call.body)


async def batch(call: Call) -> Reply:
    """Start up to 100 runs in the background, in this order. The first that is refused ends the request, and the runs
    before it are started."""
    if call.key is not None:
        raise Problem(422, "A batch has no Idempotency-Key: start its runs one by one")
    for body in call.body:
        check_background(body)
    named = [each.thread_id for each in call.body]
    threads = [None if each is None else await call.allowed("threads.create_run", each) for each in named]
    found = []
    for body, thread_id in zip(call.body, threads, strict=True):
        started = await start_run(call, body, thread_id)
        found.append(run_object(call, await started.handle.status()))
    return json_reply(found)


_CREATES = (404, 409, 422, 501)

ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/runs",
        operation="runs.create",
        handler=create,
        summary="Start a run on a new thread",
        body=RunBody,
        answer=Json,
        statuses=_CREATES,
    ),
    Route(
        method="POST",
        path="/runs/wait",
        operation="runs.create",
        handler=wait,
        summary="Start a run on a new thread, and wait for its result",
        body=RunBody,
        answer=Any,
        statuses=_CREATES,
    ),
    Route(
        method="POST",
        path="/runs/batch",
        operation="runs.create",
        handler=batch,
        summary="Start several runs",
        body=Batch,
        answer=list[Json],
        statuses=_CREATES,
    ),
)
