"""SqliteSaver passes the conformance suite of savers."""

import asyncio
import itertools
from pathlib import Path
from typing import Any, Literal

import pytest

from durable_graph import Checkpointer
from durable_graph.checkpointing.columns import key_of
from durable_graph.testing.conformance import CheckpointerConformance, StoredRow
from durable_graph_sqlite import SqliteSaver
from tests.sqlite.inside import database

_WHERE = {
    "checkpoint": ("checkpoints", "header", "thread_key = :tid AND namespace = :ns AND number = :no"),
    "value": ("channel_rows", "value", "thread_key = :tid AND namespace = :ns AND channel = :channel AND number = :no"),
    "record": ("tasks", "value", "thread_key = :tid AND namespace = :ns AND planned_at = :no AND position = :ord"),
    "branch": ("branches", "digest", "thread_key = :tid AND first = :no"),
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
        place: dict[str, Any] = {
            "tid": key_of(row.thread),
            "ns": row.ns,
            "no": row.no,
            "channel": row.channel,
            "ord": row.ord,
        }

        def change() -> int:
            with database(self.path) as db:
                if how == "remove":
                    return db.execute(f"DELETE FROM {table} WHERE {where}", place).rowcount
                (data,) = db.execute(f"SELECT {column} FROM {table} WHERE {where}", place).fetchone()
                place["data"] = data[:-1] + bytes([data[-1] ^ 1])
                return db.execute(f"UPDATE {table} SET {column} = :data WHERE {where}", place).rowcount

        # A thread, because the loop may not be blocked under a call of the library.
        assert await asyncio.to_thread(change) == 1
