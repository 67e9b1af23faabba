"""The notifier of a PostgresSaver satisfies the clauses of every notifier."""

import itertools
from collections.abc import AsyncIterator

import pytest

from durable_graph import Checkpointer
from durable_graph.testing import NotifierConformance
from durable_graph_postgres import PostgresSaver
from tests.savers import dropped


class TestNotifierOfPostgresSaver(NotifierConformance):
    @pytest.fixture(autouse=True)
    async def _schemas(self, postgres: str) -> AsyncIterator[None]:
        self.dsn = postgres
        self.numbers = itertools.count()
        self.opened: list[str] = []
        yield
        for schema in self.opened:
            await dropped(postgres, schema)

    async def open(self) -> Checkpointer:
        self.opened.append(f"notifier_{id(self)}_{next(self.numbers)}")
        return PostgresSaver(self.dsn, schema=self.opened[-1])

    async def open_another(self, saver: Checkpointer) -> Checkpointer:
        return PostgresSaver(self.dsn, schema=self.opened[-1])
