"""Streams of server-sent events of runs and threads, as LangGraph's clients read them, and of typed events."""

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from durable_graph.errors import StoreUnavailableError, UnknownRunError
from durable_graph.runs import RunHandle
from durable_graph_http.bodies import RunBody
from durable_graph_http.call import Call
from durable_graph_http.finding import run_with_graph
from durable_graph_http.frames import Wanted
from durable_graph_http.messages import Frame, Frames, Reply
from durable_graph_http.problems import Problem
from durable_graph_http.routes import Route
from durable_graph_http.run_streams import last_event_of, newest_event_of, run_frames, thread_frames, typed_frames
from durable_graph_http.starting import Started, start_run, started_path, thread_run_path
from durable_graph_http.streaming import (
    Start,
    joined,
    last_event_id,
    query_modes,
    reconnecting,
    start_of,
    stream_reply,
    wanted_modes,
)
from durable_graph_http.waiting import cancelling, drop_thread

_THREAD_MODES = ("run_modes", "lifecycle", "state_update")
_MODES_OF_RUNS = frozenset({"values", "updates", "messages-tuple", "custom"})
_MODES_OF_THREADS = {
    "run_modes": _MODES_OF_RUNS | {"run_done"},
    "lifecycle": frozenset({"run_done"}),
    "state_update": frozenset({"state_update"}),
}


async def stream_new_run(call: Call) -> Reply:
    """Start a run, or continue the one that waits, and stream it."""
    body: RunBody = call.body
    thread_id = call.thread_id if "thread_id" in call.parameters else None
    wanted = Wanted(frozenset(wanted_modes(body.stream_mode)), bool(body.stream_subgraphs))
    before = None if thread_id is None else await _standing(call, thread_id)
    started = await start_run(call, body, thread_id)
    start = Start()
    if before is not None and before[0] == started.handle.run_id and not started.is_new and body.input is None:
        # The client has seen what the run did before.
        start = joined(before[1])
    frames = _frames(call, started.handle, started.graph, wanted, start)
    if started.is_temporary:
        frames = _deleting(call, started, frames)
    is_cancelled = body.on_disconnect == "cancel"
    return stream_reply(
        Frames(frames, cancelling(call, started.handle, is_temporary=started.is_temporary) if is_cancelled else None),
        **{
            "Content-Location": started_path(call, started),
            "Location": reconnecting(thread_run_path(call, started.handle), wanted),
        },
    )


async def _standing(call: Call, thread_id: str) -> tuple[str, int] | None:
    """The unfinished run of the thread, and the id of its newest event."""
    unfinished = await call.service.app.unfinished(thread_id)
    if unfinished is None:
        return None
    handle = await call.service.app.find(unfinished.run_id)
    return handle.run_id, await handle.newest_event_id()


async def join_run(call: Call) -> Reply:
    """Stream a run that was started before: after the `Last-Event-ID`, or from now on. Without `stream_mode` it has the
    modes that a thread's stream has, since no request says which ones the run was started with."""
    handle, status = await run_with_graph(call)
    modes = query_modes(call) if "stream_mode" in call.query else _MODES_OF_RUNS
    wanted = Wanted(frozenset(modes), call.query.get("stream_subgraphs", False))
    start = start_of(call, await handle.newest_event_id())
    if start is None:
        start = joined(await (last_event_of(handle) if status.has_ended else handle.newest_event_id()))
    frames = _frames(call, handle, status.graph, wanted, start)
    left = cancelling(call, handle) if call.query.get("cancel_on_disconnect") else None
    return stream_reply(Frames(frames, left), Location=reconnecting(thread_run_path(call, handle), wanted))


async def join_thread(call: Call) -> Reply:
    """Stream the runs of a thread: after the `Last-Event-ID`, or from now on."""
    modes = frozenset().union(
        *(_MODES_OF_THREADS[mode] for mode in query_modes(call, _THREAD_MODES, default="run_modes"))
    )
    newest = await newest_event_of(call.service, call.thread_id)
    start = start_of(call, newest) or Start(joined(newest).after + 2)
    frames = thread_frames(call.service, call.thread_id, call.shown(call.thread_id), Wanted(modes), start)
    return stream_reply(Frames(frames))


async def follow_events(call: Call) -> Reply:
    """Stream the typed events of a run, from its first one on or after the `Last-Event-ID`, until the run has ended."""
    handle, _ = await run_with_graph(call)
    after = last_event_id(call) or 0
    newest = await handle.newest_event_id()
    if after > newest:
        raise Problem(422, f"Last-Event-ID is beyond the newest event of the thread, whose id is at most {newest}")
    frames = typed_frames(call.service, handle, call.shown(handle.thread_id), after)
    return stream_reply(Frames(frames), Location=f"{thread_run_path(call, handle)}/events")


def _frames(call: Call, handle: RunHandle, graph: str, wanted: Wanted, start: Start) -> AsyncGenerator[Frame, None]:
    return run_frames(call.service, handle, graph, call.shown(handle.thread_id), wanted, start)


async def _deleting(call: Call, started: Started, frames: AsyncGenerator[Frame, None]) -> AsyncGenerator[Frame, None]:
    """The frames; after the last one, the thread of the run is deleted."""
    async with aclosing(frames):
        async for frame in frames:
            yield frame
    with suppress(UnknownRunError, StoreUnavailableError):
        status = await started.handle.status()
        if status.has_ended or status.is_interrupted:
            await drop_thread(call, started.handle)


# `useStream` sends the id of the checkpoint that it shows, which is of no use here.
_STREAM_QUERY = (
    ("stream_mode", list[str]),
    ("stream_subgraphs", bool),
    ("cancel_on_disconnect", bool),
    ("checkpoint_id", str),
)
_ERRORS = (404, 409, 422, 501)

ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/threads/{thread_id}/runs/stream",
        operation="threads.create_run",
        handler=stream_new_run,
        summary="Start a run and stream it",
        body=RunBody,
        is_stream=True,
        statuses=_ERRORS,
    ),
    Route(
        method="POST",
        path="/runs/stream",
        operation="runs.create",
        handler=stream_new_run,
        summary="Start a run without a thread and stream it",
        body=RunBody,
        is_stream=True,
        statuses=_ERRORS,
    ),
    Route(
        method="GET",
        path="/threads/{thread_id}/runs/{run_id}/stream",
        operation="threads.read_run",
        handler=join_run,
        summary="Stream a run",
        query=_STREAM_QUERY,
        is_stream=True,
        statuses=(404, 422),
    ),
    Route(
        method="GET",
        path="/threads/{thread_id}/runs/{run_id}/events",
        operation="threads.read_run",
        handler=follow_events,
        summary="Stream the typed events of a run",
        is_stream=True,
        statuses=(404, 422),
    ),
    Route(
        method="GET",
        path="/threads/{thread_id}/stream",
        operation="threads.read",
        handler=join_thread,
        summary="Stream the runs of a thread",
        query=(("stream_mode", list[str]),),
        is_stream=True,
        statuses=(404, 422),
    ),
)
