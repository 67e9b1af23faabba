"""The notifier of a SqliteSaver satisfies the clauses of every notifier."""

import itertools
from pathlib import Path

import pytest

from durable_graph import Checkpointer
from durable_graph.testing import NotifierConformance
from durable_graph_sqlite import SqliteSaver


class TestNotifierOfSqliteSaver(NotifierConformance):
    @pytest.fixture(autouse=True)
    def _paths(self, tmp_path: Path) -> None:
        self.path = tmp_path
        self.names = itertools.count()

    async def open(self) -> Checkpointer:
        self.path = self.path.with_name(f"{self.path.name}-{next(self.names)}.db")
        return SqliteSaver(self.path)

    async def open_another(self, saver: Checkpointer) -> Checkpointer:
        return SqliteSaver(self.path)
