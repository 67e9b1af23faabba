"""Making a prepared write: the compare-and-swap of the thread's row, and the rows that the write adds."""

import sqlite3

from durable_graph.checkpointing.columns import thread_columns
from durable_graph.checkpointing.transactions import PreparedWrite
from durable_graph_sqlite.statements import SQL


def make(db: sqlite3.Connection, write: PreparedWrite) -> bool:
    """Whether the thread's row was the expected one, so that the write is made. Otherwise nothing is changed.

    Raises `sqlite3.IntegrityError` for a row that is stored already. The caller rolls back.
    """
    after, before = write.after, write.before
    columns = thread_columns(after, after.row.thread)
    if before is None:
        db.execute(SQL["add_thread"], columns)
    else:
        # The new row has the same epoch, so that one parameter is both.
        columns["before"] = before.digest
        if not db.execute(SQL["swap_thread"], columns).rowcount:
            return False
        if (before.row.status, before.row.status_since) != (after.row.status, after.row.status_since):
            db.execute(SQL["swap_status"], columns)
    for name, rows in (
        ("add_checkpoint", write.checkpoints()),
        ("add_channel_row", write.values()),
        ("add_record", write.tasks()),
    ):
        if rows:
            db.executemany(SQL[name], rows)
    if write.branch is not None:
        db.execute(SQL["add_branch"], (write.key, *write.branch, b""))
    return True
