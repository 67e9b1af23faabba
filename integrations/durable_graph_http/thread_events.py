"""The thread streaming protocol over server-sent events: a stream of a thread's events, over all of its runs."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import msgspec

from durable_graph.extending import logged_items
from durable_graph.runs import RunStatus
from durable_graph_http.bodies import Body
from durable_graph_http.call import Call
from durable_graph_http.messages import Frame, Frames, Reply
from durable_graph_http.problems import Problem
from durable_graph_http.protocol import CHANNELS, STEPS, ProtocolEvent, RunProtocol, Subscription
from durable_graph_http.routes import Route
from durable_graph_http.run_streams import all_runs, error_of, follow_thread, last_event_of
from durable_graph_http.streaming import stream_reply
from durable_graph_http.tails import Entry, Stop
from durable_graph_http.values import encoded_text

if TYPE_CHECKING:
    from durable_graph_http.service import AgentService

RECENT = timedelta(seconds=5)
"""A watcher of a thread's state gets the run that was accepted since, even if it has ended."""

_STATE_CHANNELS = frozenset({"lifecycle", "input"})
_Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 53) - 1)]


class EventsBody(Body, frozen=True, kw_only=True):
    """What a client of a thread's stream asks for.

    `channels` are "values", "updates", "messages", "tools", "lifecycle", "input", "checkpoints", "tasks", "custom", or
    "custom:<name>". `namespaces` are prefixes of the namespaces of nested graphs, `depth` the levels below them.
    `since` is the `seq` of the last event that the client has got. Without it, the stream begins with the thread's
    first event; one of the channels "lifecycle" and "input" alone begins with the newest run, if it has not ended or
    was accepted just now.
    """

    channels: list[str]
    namespaces: list[list[str]] | None = None
    depth: _Count | None = None
    since: _Count | None = None


async def stream_events(call: Call) -> Reply:
    """Stream the events of a thread, which need not exist yet."""
    body: EventsBody = call.body
    for channel in body.channels:
        if channel not in CHANNELS and not (channel.startswith("custom:") and len(channel) > len("custom:")):
            raise Problem(422, f"There is no channel {channel!r:.100}; the channels are {', '.join(CHANNELS)}")
    namespaces = None if body.namespaces is None else tuple(map(tuple, body.namespaces))
    wanted = Subscription(frozenset(body.channels), namespaces, body.depth)
    thread_id, runs = call.thread_id, await all_runs(call.service, call.thread_id)
    newest = await newest_seq(call.service, runs)
    if body.since is not None and body.since > newest:
        raise Problem(422, f"since is beyond the newest event of the thread, whose seq is at most {newest}")
    since = body.since
    if since is None:
        since = await _begin_of_watcher(call, runs, newest) if _STATE_CHANNELS.issuperset(body.channels) else 0
    frames = thread_events(call.service, thread_id, call.shown(thread_id), wanted, since)
    return stream_reply(Frames(frames))


async def newest_seq(service: "AgentService", runs: list[RunStatus]) -> int:
    """A `seq` that no event of the thread with these runs exceeds so far."""
    if not runs:
        return 0
    handle = await service.app.find(runs[-1].run_id)
    return await handle.newest_event_id() * STEPS + STEPS - 1


async def _begin_of_watcher(call: Call, runs: list[RunStatus], newest: int) -> int:
    """The `seq` after which a client begins that watches the thread's state.

    The client takes the end of a run for the end of the run that it starts. So it gets no run that ended before, but
    it gets the one that it has just started, which may have ended already.
    """
    unfinished = [run for run in runs if not run.has_ended]
    accepted = None if not runs else runs[-1].accepted_at
    if not unfinished and (accepted is None or accepted < datetime.now(UTC) - RECENT):
        return newest
    first = unfinished[0] if unfinished else runs[-1]
    before = [run for run in runs if run.run_id != first.run_id][: runs.index(first)]
    if not before:
        return 0
    return await last_event_of(await call.service.app.find(before[-1].run_id)) * STEPS + STEPS - 1


async def thread_events(
    service: "AgentService", thread_id: str, shown: str, wanted: Subscription, since: int
) -> AsyncGenerator[Frame, None]:
    """The protocol's events of a thread after the one with this `seq`, until the service is stopping."""
    protocol: RunProtocol | None = None
    run = ""
    runs = follow_thread(service, thread_id, since // STEPS, from_start=True)
    async with aclosing(runs):
        async for handle, graph, step in runs:
            if protocol is None or run != handle.run_id:
                items = logged_items(service.app.graph(graph))
                protocol, run = RunProtocol(items, handle.run_id, graph, shown), handle.run_id
            if isinstance(step, Entry):
                events = protocol(step.logged)
            else:
                events = [_end(protocol, await last_event_of(handle, step), step, shown)]
            for event in events:
                if event.is_after(since) and wanted.takes(event):
                    yield Frame("message", encoded_text(event.shown()), str(event.seq))


def _end(protocol: RunProtocol, last: int, stop: Stop, shown: str) -> ProtocolEvent:
    status = stop.status
    at = (status.ended_at or datetime.now(UTC)).timestamp()
    if status.state == "done":
        return protocol.ended(last, "completed", at)
    error = error_of(status, shown)
    text = f"cancelled: {status.error}" if error is None else f"{error['error']}: {error['message']}"
    return protocol.ended(last, "failed", at, text)


ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/threads/{thread_id}/stream/events",
        operation="threads.read",
        handler=stream_events,
        summary="Stream the events of a thread",
        body=EventsBody,
        is_stream=True,
        statuses=(422,),
    ),
)
