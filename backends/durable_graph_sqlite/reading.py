"""Loading a checkpoint, as a generator of queries on one snapshot of the file."""

import msgspec

from durable_graph.checkpointing.columns import (
    THREAD_WIDTH,
    Columns,
    checkpoint_from,
    key_of,
    missing_head,
    missing_newest,
    nested_from,
    record_from,
    thread_from,
)
from durable_graph.checkpointing.queries import (
    BEYOND,
    NESTED_ROW,
    RECORD_ROW,
    Query,
    Steps,
    branches_from,
    check_branches,
    check_no_orphan,
    first_of,
    values_from,
)
from durable_graph.checkpointing.rules import begins_thread
from durable_graph.records import StoredCheckpoint, StoredThread


def load(thread: str, ns: str, no: int | None, max_value_bytes: int) -> Steps[StoredCheckpoint | None]:
    """A checkpoint with the rows of its state. Two queries. Raises `ValueTooLargeError`."""
    key, newest = key_of(thread), ns != "" and no is None
    if newest:
        columns = yield from first_of("find_newest_checkpoint", thread_key=key, ns=ns)
    else:
        columns = yield from first_of("find_checkpoint", thread_key=key, ns=ns, no=no)
    if columns is None:
        yield from check_no_orphan(thread)
        return None
    stored = thread_from(thread, columns)
    row = stored.row
    is_head = ns == "" and no in (None, row.head)
    if columns[THREAD_WIDTH] is None:
        if is_head and row.head:
            raise missing_head(row)
        if newest and row.head:
            yield from _check_no_values(stored, ns)
        # A thread whose first run was accepted has a row, which its first commit replaces.
        is_accepted = begins_thread(row) and row.status != "deleted"
        base = stored if is_accepted and is_head else None
        return StoredCheckpoint(row, None, base=base, unfinished_run=columns[-1] or 0)
    checkpoint = checkpoint_from(thread, columns[THREAD_WIDTH:-1])
    sought = {"thread_key": key, "ns": ns, "born": checkpoint.born, "no": checkpoint.no, "most": max_value_bytes}
    # For the newest checkpoint, read values up to the thread's version: a newer checkpoint whose row is missing is
    # detected by its values.
    sought.update(at=row.version if no is None else no, nested=checkpoint.born if is_head else BEYOND)
    found = yield Query("read_state", sought)
    check_branches(row, branches_from(found), stored.sums.branches if no is None else None)
    values = values_from(thread, found, max_value_bytes)
    records, nested = [], []
    for kind_of_row, text, *rest in found:
        if kind_of_row == NESTED_ROW:
            born, position, _, _, digest, *_ = rest
            nested.append(nested_from(thread, (text, born, position, digest)))
        elif kind_of_row == RECORD_ROW:
            born, position, rank, revision, digest, value, extra = rest
            record: Columns = (ns, born, position, rank, revision, text, value, digest, extra)
            records.append(record_from(thread, record))
    return StoredCheckpoint(
        thread=row,
        checkpoint=checkpoint,
        values=values,
        records=tuple(records),
        writes_digest=stored.sums.writes if is_head else None,
        nested=tuple(nested),
        base=msgspec.structs.replace(stored, born=checkpoint.born) if is_head else None,
        unfinished_run=columns[-1] or 0,
    )


def _check_no_values(stored: StoredThread, ns: str) -> Steps[None]:
    row, sought = stored.row, {"thread_key": key_of(stored.row.thread), "ns": ns, "at": stored.row.version}
    check_branches(row, (yield Query("find_lineage", sought)), stored.sums.branches)
    if (yield Query("find_value_in_lineage", sought)):
        raise missing_newest(row.thread, ns)
