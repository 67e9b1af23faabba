"""Operators read how threads stand by plain SQL, without the library."""

import json
import sqlite3
import time
from pathlib import Path
from typing import Any, TypedDict

import asyncpg
import pytest

from durable_graph import START, Checkpointer, StateGraph
from durable_graph_postgres import PostgresSaver
from durable_graph_sqlite import SqliteSaver
from tests.savers import schema_of_its_own

QUERY = "SELECT graph, status, metadata, error, next, status_since, created_at, updated_at FROM {}threads"


class State(TypedDict, total=False):
    total: int


async def fail_in_the_second_node(saver: Checkpointer) -> None:
    async def first(state: State) -> State:
        return {"total": 1}

    async def second(state: State) -> State:
        message = "the card was declined"
        raise ValueError(message)

    builder = StateGraph(State).add_sequence([first, second]).add_edge(START, "first")
    graph = builder.compile(saver, name="order")
    with pytest.raises(ValueError, match="declined"):
        await graph.ainvoke({"total": 0}, {"metadata": {"tenant": "t1"}}, thread_id="t")


def check(row: Any, began: float) -> None:
    graph, status, metadata, error, following, *times = row
    assert (graph, status, json.loads(following)) == ("order", "failed", ["second"])
    assert json.loads(metadata)["tenant"] == "t1"
    assert "the card was declined" in error
    assert all(began * 1e6 <= each <= time.time() * 1e6 for each in times)


async def test_a_sqlite_file_shows_graph_status_metadata_error_next_nodes_and_times(tmp_path: Path) -> None:
    began = time.time()
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        await fail_in_the_second_node(saver)
    connection = sqlite3.connect(tmp_path / "runs.db")
    (row,) = connection.execute(QUERY.format("")).fetchall()
    connection.close()
    check(row, began)


async def test_a_postgres_schema_shows_graph_status_metadata_error_next_nodes_and_times(postgres: str) -> None:
    began = time.time()
    async with schema_of_its_own(postgres) as schema:
        async with PostgresSaver(postgres, schema=schema) as saver:
            await fail_in_the_second_node(saver)
        connection = await asyncpg.connect(postgres)
        (row,) = await connection.fetch(QUERY.format(f'"{schema}".'))
        await connection.close()
    check(row, began)
