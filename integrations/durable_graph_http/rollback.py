"""Rolling back a run that was cancelled: its thread stands as it did before the run."""

import asyncio
from contextlib import aclosing

from durable_graph import CheckpointCommitted
from durable_graph.runs import RunHandle
from durable_graph_http.call import Call
from durable_graph_http.problems import Problem

_LONGEST = 5.0
"""In seconds: how long a run that a worker executes may take for its first checkpoint."""


async def checkpoint_before(handle: RunHandle) -> str | None:
    """The checkpoint before a run, None for a run that has made no checkpoint.

    Raises `Problem` with 409 for the first run of its thread: nothing precedes it.
    """
    if (await handle.status()).attempt == 0:
        return None
    try:
        async with asyncio.timeout(_LONGEST), aclosing(handle.events()) as events:
            async for logged in events:
                if isinstance(logged.event, CheckpointCommitted) and not logged.event.ns:
                    if logged.event.parent_checkpoint_id is None:
                        text = "The run is the first one of its thread, which has no state before it: delete the thread"
                        raise Problem(409, text)
                    return logged.event.parent_checkpoint_id
    except TimeoutError:
        return None
    return None


async def roll_back(call: Call, handle: RunHandle, before: str) -> None:
    """Make the checkpoint before a run, which has ended, the newest one of its thread, by a copy of it. The history
    still shows the run. If another run has followed it, the thread is left alone."""
    app, status = call.service.app, await handle.status()
    if await app.unfinished(handle.thread_id) is not None:
        return
    graph = app.graph(status.graph)
    await graph.aupdate_state(thread_id=handle.thread_id, checkpoint_id=before, as_node="__copy__")
    await graph.areopen(handle.thread_id)
