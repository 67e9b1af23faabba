"""SqliteSaver keeps to the clauses of every saver."""

import itertools
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest

from durable_graph.checkpointing import Checkpointer
from durable_graph.testing.conformance import CheckpointerConformance, StoredRow
from durable_graph_sqlite import SqliteSaver
from durable_graph_sqlite.rows import key_of

_WHERE = {
    "checkpoint": ("checkpoints", "header", "ns = :ns AND no = :no"),
    "value": ("channel_rows", "value", "ns = :ns AND channel = :channel AND no = :no"),
    "record": ("tasks", "value", "ns = :ns AND born = :no AND ord = :ord"),
    "line": ("lines", "digest", "lo = :no"),
}


class TestSqliteSaver(CheckpointerConformance):
    @pytest.fixture(autouse=True)
    def _paths(self, tmp_path: Path) -> None:
        self.path = tmp_path
        self.names = itertools.count()

    async def open(self) -> Checkpointer:
        self.path = self.path.with_name(f"{self.path.name}-{next(self.names)}.db")
        return SqliteSaver(self.path)

    async def damage(self, saver: Checkpointer, row: StoredRow, how: Literal["flip", "remove"]) -> None:
        table, column, where = _WHERE[row.table]
        place = {"tid": key_of(row.thread), "ns": row.ns, "no": row.no, "channel": row.channel, "ord": row.ord}
        with closing(sqlite3.connect(self.path, isolation_level=None)) as db:
            if how == "remove":
                changed = db.execute(f"DELETE FROM {table} WHERE tid = :tid AND {where}", place)
            else:
                found = db.execute(f"SELECT {column} FROM {table} WHERE tid = :tid AND {where}", place).fetchone()
                place["data"] = found[0][:-1] + bytes([found[0][-1] ^ 1])
                changed = db.execute(f"UPDATE {table} SET {column} = :data WHERE tid = :tid AND {where}", place)
            assert changed.rowcount == 1
