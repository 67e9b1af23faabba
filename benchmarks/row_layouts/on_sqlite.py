"""The layouts in a SQLite file: one transaction for a group of supersteps, in the thread of the caller."""

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from benchmarks.engines.log import Row as FloorRow
from benchmarks.engines.stores import SQLITE_TABLES
from benchmarks.row_layouts.layouts import Counts, Layout, RefusedError, Superstep, changes_in
from durable_graph.checkpointing.columns import thread_columns
from durable_graph_sqlite.opening import PAGE_SIZE
from durable_graph_sqlite.statements import SCHEMA, SQL, script

_HEADER_OF_FRAME: Final = 24
FRAME: Final = PAGE_SIZE + _HEADER_OF_FRAME
"""The bytes that a page takes in the log."""
_HEADER_OF_LOG: Final = 32

_ADD_CHECKPOINT_IF_FENCED: Final = """
INSERT INTO checkpoints (thread_key, namespace, number, parent, planned_at, made_at, commit_id, state_digest,
  digest, extra, header)
SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM threads WHERE thread_key = ? AND epoch = ?
"""

Statement = tuple[str, Any]
"""The text and the parameters of a statement that writes one row. If it writes none, the superstep is refused."""
Transaction = Sequence[Statement]


class SqliteFile:
    """A file with a write-ahead log, opened as SqliteSaver does, except that at first no commit is flushed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = sqlite3.connect(path, isolation_level=None, cached_statements=256)
        self._connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = OFF")

    def create(self, tables: str) -> None:
        for statement in script(tables):
            self._connection.execute(statement)

    def execute(self, statement: str, given: Sequence[Any] = ()) -> list[Any]:
        return self._connection.execute(statement, given).fetchall()

    def commit(self, transaction: Transaction) -> None:
        """Raises `RefusedError`, with everything rolled back."""
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        for text, given in transaction:
            try:
                written = execute(text, given).rowcount
            except sqlite3.IntegrityError:
                written = 0
            if written != 1:
                execute("ROLLBACK")
                raise RefusedError
        execute("COMMIT")

    def flush_commits(self) -> None:
        """Flush each commit from now on."""
        self.execute("PRAGMA synchronous = FULL")

    def empty_log(self) -> None:
        """Move the log into the file. From now on it only grows."""
        self.execute("PRAGMA wal_autocheckpoint = 0")
        self.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def logged(self) -> int:
        """The bytes of the pages in the log."""
        return max(0, Path(f"{self.path}-wal").stat().st_size - _HEADER_OF_LOG)

    def close(self) -> None:
        self._connection.close()
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(f"{self.path}{suffix}").unlink()


class SqliteLayout(SqliteFile):
    """One layout, on SqliteSaver's tables."""

    def __init__(self, path: Path, layout: Layout) -> None:
        super().__init__(path)
        self._layout = layout
        self.create(SCHEMA)

    def transaction(self, group: Sequence[Superstep]) -> Transaction:
        return [statement for superstep in group for statement in self._statements(superstep)]

    def _statements(self, superstep: Superstep) -> list[Statement]:
        write = superstep.write
        (checkpoint,) = write.checkpoints()
        values = [(SQL["add_channel_row"], row) for row in write.values()]
        if not superstep.replaces_thread:
            assert write.before is not None
            return [(_ADD_CHECKPOINT_IF_FENCED, (*checkpoint, write.key, write.before.row.epoch)), *values]
        columns = {**thread_columns(write.after, write.after.row.thread), "thread_key": write.key}
        rows: list[Statement] = [(SQL["add_checkpoint"], checkpoint), *values]
        if write.before is not None:
            return [(SQL["swap_thread"], {**columns, "before": write.before.digest}), *rows]
        assert write.branch is not None
        return [(SQL["add_thread"], columns), *rows, (SQL["add_branch"], (write.key, *write.branch, b""))]

    def counts(self, key: int) -> Counts:
        ((version,),) = self.execute("SELECT version FROM threads WHERE thread_key = ?", (key,))
        headers = [header for (header,) in self.execute("SELECT header FROM checkpoints WHERE thread_key = ?", (key,))]
        ((rows,),) = self.execute("SELECT count(*) FROM channel_rows WHERE thread_key = ?", (key,))
        return Counts(version, len(headers), rows if self._layout.has_channel_rows else changes_in(headers))


class SqliteFloor(SqliteFile):
    """The floor: one row for each superstep, unless its thread belongs to another process."""

    _INSERT: Final = (
        "INSERT INTO rows SELECT ?, ?, ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM owners WHERE owners.thread = ?)"
    )

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.create(SQLITE_TABLES)

    def transaction(self, group: Sequence[FloorRow]) -> Transaction:
        return [(self._INSERT, (*row, row[0])) for row in group]
