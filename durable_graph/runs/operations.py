"""What callers and operators do to one run, by the store alone: no graph's code is needed."""

import msgspec

from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.run_ids import parts_of, run_id
from durable_graph.checkpointing.run_parents import CANCEL
from durable_graph.checkpointing.run_store import RunStore
from durable_graph.errors import InvalidOptionError, RunFailedError, UnknownRunError
from durable_graph.run_records import RunRow, RunState

_LONGEST_ERROR = 1000
PARENT_CANCELLED = "its parent was cancelled"


def for_row(text: str) -> str:
    """The text as the row of a run holds it, in every store: without NUL and lone surrogates, and not longer than
    some lines."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")[:_LONGEST_ERROR]


async def find_run(runs: RunStore, id_: str) -> RunRow:
    """The row of the run with this id. Raises `UnknownRunError`."""
    row = await runs.find_run(*parts_of(id_))
    if row is None:
        raise UnknownRunError(id_)
    return row


async def cancel_run(runs: RunStore, row: RunRow, reason: str) -> RunRow:
    """Cancel the run, or ask the worker that holds it. Returns its row afterwards.

    Raises `UnknownRunError`, and `InvalidOptionError` for a reason that is no text.
    """
    if not isinstance(reason, str):
        raise InvalidOptionError("reason", reason, allowed="a text")
    reason = for_row(reason)
    await runs.cancel_run(row.thread, row.seq, reason)
    return await find_run(runs, id_of(row))


async def cancel_children(runs: RunStore, row: RunRow) -> list[RunRow]:
    """If the run is cancelled, cancel its children that are to be cancelled with it, and theirs. Returns their rows
    afterwards. The upkeep of workers repeats this, if the process ends before."""
    cancelled: list[RunRow] = []
    if row.state is not RunState.CANCELLED:
        return cancelled
    for child in await runs.find_children(row.thread, row.seq):
        if child.on_parent == CANCEL:
            cancelled += await _cancel_with_children(runs, child.thread, child.seq)
    return cancelled


async def cancel_orphans(runs: RunStore, limit: int) -> list[RunRow]:
    """Cancel up to `limit` children whose parent was cancelled. Returns their rows afterwards."""
    orphans = await runs.find_orphans(limit=limit)
    return [row for orphan in orphans for row in await _cancel_with_children(runs, *orphan)]


async def _cancel_with_children(runs: RunStore, thread: str, seq: int) -> list[RunRow]:
    await runs.cancel_run(thread, seq, PARENT_CANCELLED)
    row = await runs.find_run(thread, seq)
    if row is None:
        return []
    return [row, *await cancel_children(runs, row)]


async def retry_run(runs: RunStore, row: RunRow) -> RunRow:
    """Make the run ready again. Returns its row afterwards; a run that has not ended, or is done, stays as it is.

    Raises `UnknownRunError`, and `RunFailedError` for a run that another one of its thread has followed.
    """
    state = await runs.retry_run(row.thread, row.seq)
    if state is None:
        raise UnknownRunError(id_of(row))
    if state.is_ended and state is not RunState.DONE:
        why = "a later run of its thread has followed it, so it cannot be retried"
        raise RunFailedError(id_of(row), row.thread, "failed", why)
    return await find_run(runs, id_of(row))


async def delete_run(runs: RunStore, row: RunRow) -> RunRow:
    """Delete the run, if it has ended. Returns its row before. Raises `UnknownRunError`."""
    state = await runs.delete_run(row.thread, row.seq)
    if state is None:
        raise UnknownRunError(id_of(row))
    return msgspec.structs.replace(row, state=state)


def id_of(row: RunRow) -> str:
    """The id of the run in this row."""
    return run_id(key_of(row.thread), row.seq)
