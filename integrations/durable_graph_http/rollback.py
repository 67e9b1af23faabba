"""Rolling back a run that was cancelled: its thread stands as it did before the run."""

from durable_graph import CheckpointCommitted
from durable_graph.errors import ThreadBusyError
from durable_graph.runs import RunHandle
from durable_graph_http.call import Call


async def roll_back(call: Call, handle: RunHandle) -> None:
    """Make the checkpoint before the run, which has ended, the newest one of its thread, by a copy of it. The history
    still shows the run. A run that has made no checkpoint, or that another one has followed, is left alone. A thread
    whose first run it is becomes empty, and keeps its metadata.
    """
    app, thread_id = call.service.app, handle.thread_id
    status = await handle.status()
    async for logged in handle.events():
        event = logged.event
        if not isinstance(event, CheckpointCommitted) or event.ns:
            continue
        if await app.unfinished(thread_id) is not None:
            return
        before = event.parent_checkpoint_id
        if before is None:
            await _empty(call, handle)
        else:
            graph = app.graph(status.graph)
            await graph.aupdate_state(thread_id=thread_id, checkpoint_id=before, as_node="__copy__")
            await graph.areopen(thread_id)
        return


async def _empty(call: Call, handle: RunHandle) -> None:
    threads = call.service.app.threads
    summary = await threads.get(handle.thread_id)
    try:
        await threads.delete(handle.thread_id)
    except ThreadBusyError:
        # A new run has followed.
        return
    await threads.create(handle.thread_id, metadata=summary.metadata, if_exists="return")
