"""Runs that an operator names by their id, or by the id of their thread."""

from collections.abc import AsyncGenerator

from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.run_ids import parts_of
from durable_graph.checkpointing.run_store import KeepsRuns, RunStore
from durable_graph.errors import UnknownRunError
from durable_graph.run_records import RunRow, RunState

_PAGE = 500


async def named_run(saver: Checkpointer, target: str) -> RunRow | None:
    """The run with this id. None if there is none, or if the text is not the id of a run."""
    if not isinstance(saver, KeepsRuns):
        return None
    try:
        thread, seq = parts_of(target)
    except UnknownRunError:
        return None
    return await saver.runs.find_run(thread, seq)


async def run_to_cancel(saver: Checkpointer, runs: RunStore, target: str) -> RunRow:
    """The run with this id, or the unfinished run of the thread with this id. Raises `UnknownRunError`."""
    row = await named_run(saver, target) or await runs.find_unfinished(target)
    if row is None:
        raise UnknownRunError(target)
    return row


async def run_to_retry(saver: Checkpointer, runs: RunStore, target: str) -> RunRow:
    """The run with this id, or the last run of the thread with this id. Raises `UnknownRunError`."""
    row = await named_run(saver, target)
    if row is None:
        async for each in listed_runs(runs, thread=target):
            row = each
    if row is None:
        raise UnknownRunError(target)
    return row


async def listed_runs(
    runs: RunStore, *, graph: str | None = None, state: RunState | None = None, thread: str | None = None
) -> AsyncGenerator[RunRow, None]:
    """All runs that match, by thread and number."""
    after: tuple[str, int] | None = None
    while page := await runs.list_runs(graph=graph, state=state, thread=thread, limit=_PAGE, after=after):
        for row in page:
            yield row
        after = page[-1].thread, page[-1].seq
