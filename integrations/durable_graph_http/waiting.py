"""Replies that take as long as a run: blanks keep the connection alive, then comes the run's result."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from durable_graph.errors import RunFailedError, UnknownRunError, UnknownThreadError
from durable_graph.runs import RunHandle, RunStatus
from durable_graph_http.call import Call
from durable_graph_http.messages import NO_HEADERS, Later, Left, Reply
from durable_graph_http.run_errors import error_object
from durable_graph_http.shapes import interrupt_objects
from durable_graph_http.starting import Started, thread_run_path
from durable_graph_http.values import encoded

BLANK = b"\n"
BLANK_EVERY = 10.0
"""In seconds. Proxies cut connections that are silent for longer."""

_LAST_SECONDS = 0.5
"""How long a service that stops waits for the end of a run, for work that no client waits for."""


def later_reply(
    call: Call,
    handle: RunHandle,
    parts: AsyncGenerator[bytes, None],
    headers: Mapping[str, str] = NO_HEADERS,
    left: Left | None = None,
) -> Reply:
    """A reply that takes a while. `Location` is where a client gets the result whose connection was cut."""
    location = f"{thread_run_path(call, handle)}/join"
    return Reply(200, {"Content-Type": "application/json", "Location": location, **headers}, Later(parts, left))


def cancelling(call: Call, handle: RunHandle, *, is_temporary: bool = False) -> Left:
    """What to do when a client leaves that asked for the end of its run then. A temporary thread is deleted, too."""

    async def left() -> None:
        call.service.spawn(_end(call, handle, is_temporary=is_temporary))

    return left


async def _end(call: Call, handle: RunHandle, *, is_temporary: bool) -> None:
    with suppress(UnknownRunError, UnknownThreadError):
        await handle.cancel("its client has left")
        if is_temporary and await has_stopped(call, handle):
            await call.service.app.threads.delete(handle.thread_id)


async def result_parts(call: Call, started: Started) -> AsyncGenerator[bytes, None]:
    """The result of the run, as `result_of`. Without a result if the service stops before, or the run is deleted: the
    client then repeats its request at `Location`."""
    handle = started.handle
    with suppress(UnknownRunError):
        while not await _is_stopped_within(call, handle, BLANK_EVERY):
            if call.service.stopping.is_set():
                return
            yield BLANK
        yield await result_of(call, handle)
        if started.is_temporary:
            await drop_thread(call, handle)


async def cancelled_parts(
    call: Call, handle: RunHandle, then: Callable[[], Awaitable[None]] | None
) -> AsyncGenerator[bytes, None]:
    """An empty object once the run has ended, and `then` has been done; or once the run is deleted. Without an object
    if the service stops before."""
    with suppress(UnknownRunError):
        while not await _is_stopped_within(call, handle, BLANK_EVERY):
            if call.service.stopping.is_set():
                return
            yield BLANK
        if then is not None:
            await then()
    yield b"{}"


async def has_stopped(call: Call, handle: RunHandle) -> bool:
    """Wait until the run has ended, or waits for an answer. False if the service stops, and the run does not soon."""
    while not await _is_stopped_within(call, handle, BLANK_EVERY):
        if call.service.stopping.is_set():
            try:
                await handle.stopped(_LAST_SECONDS)
            except TimeoutError:
                return False
    return True


async def _is_stopped_within(call: Call, handle: RunHandle, seconds: float) -> bool:
    """Whether the run has ended, or waits for an answer, before this time is over or the service stops."""
    stopped = asyncio.ensure_future(handle.stopped())
    stopping = asyncio.ensure_future(call.service.stopping.wait())
    try:
        await asyncio.wait((stopped, stopping), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if stopped.done():
            stopped.result()
            return True
        return False
    finally:
        stopped.cancel()
        stopping.cancel()
        await asyncio.gather(stopped, stopping, return_exceptions=True)


async def result_of(call: Call, handle: RunHandle) -> bytes:
    """The output of a run that is done, as JSON; the state with the open questions as `__interrupt__` of a run that
    waits for answers; `__error__` of a run without a result."""
    status = await handle.status()
    if status.is_interrupted:
        return encoded(await _interrupted(call, status))
    try:
        return encoded(await handle.result())
    except RunFailedError as error:
        return encoded({"__error__": error_object(error, call.prefix)})


async def _interrupted(call: Call, status: RunStatus) -> Any:
    graph = call.service.app.graph(status.graph)
    snapshot = await graph.aget_state(thread_id=status.thread_id)
    values: Any = snapshot.values
    if isinstance(values, Mapping):
        shown = graph.get_output_jsonschema().get("properties", values)
        values = {key: value for key, value in values.items() if key in shown}
    questions = interrupt_objects(snapshot.interrupts)
    if not questions:
        return values
    return {**(values if isinstance(values, Mapping) else {}), "__interrupt__": questions}


async def drop_thread(call: Call, handle: RunHandle) -> None:
    """Delete the thread of a run that named none. A run that waits for an answer is cancelled: nobody can answer it."""
    await handle.cancel("a run without a thread cannot be answered", wait=True)
    try:
        await call.service.app.threads.delete(handle.thread_id)
    except UnknownThreadError:
        # Another client of the same request was first.
        return
