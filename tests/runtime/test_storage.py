"""The cost of runs in a SQLite file: bytes, transactions and queries, counted by SQLite itself."""

import asyncio
import operator
import random
import sqlite3
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import END, START, StateGraph
from durable_graph_sqlite import SqliteSaver

pytestmark = pytest.mark.slow

# Data that cannot be compressed, and that is the same in every run of the tests.
RANDOM = random.Random(20_26)


class Appending(TypedDict):
    items: Annotated[list[bytes], operator.add]


def appending(supersteps: int) -> StateGraph[Appending]:
    async def append(state: Appending) -> Appending:
        return {"items": [RANDOM.randbytes(200)]}

    builder = StateGraph(Appending)
    builder.add_node("append", append)
    builder.add_edge(START, "append")
    builder.add_conditional_edges("append", lambda state: END if len(state["items"]) >= supersteps else "append")
    return builder


def size_of(path: Path) -> int:
    """The bytes of the main file, to which the closed saver has moved all of its log."""
    assert not list(path.parent.glob(f"{path.name}-wal"))
    return path.stat().st_size


async def traced(saver: SqliteSaver) -> list[str]:
    """The statements that the saver's connection runs from here on."""
    statements: list[str] = []
    connection, _ = await saver._opened()
    await connection.call(lambda db: db.set_trace_callback(statements.append))
    return statements


def transactions(statements: list[str]) -> int:
    """The number of write transactions that were begun and committed."""
    begun = [statement for statement in statements if statement.upper().startswith("BEGIN IMMEDIATE")]
    committed = [statement for statement in statements if statement.upper().startswith("COMMIT")]
    assert len(committed) >= len(begun)
    return len(begun)


async def test_a_thousand_appends_of_200_bytes_stay_under_a_megabyte(tmp_path: Path) -> None:
    """LangGraph (P31): 104 MB, and 1.76 MB with its delta channel."""
    path = tmp_path / "runs.db"

    async with SqliteSaver(path) as saver:
        result = await appending(1000).compile(saver).ainvoke({"items": []}, thread_id="t")

    assert len(result["items"]) == 1000
    assert size_of(path) <= 1_000_000


async def test_the_latest_state_of_a_thousand_appends_is_read_with_two_queries_and_few_rows(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SqliteSaver(path) as saver:
        expected = await appending(1000).compile(saver).ainvoke({"items": []}, thread_id="t")

    async with SqliteSaver(path) as saver:
        statements = await traced(saver)
        snapshot = await appending(1000).compile(saver).aget_state(thread_id="t")
        found = await saver.load("t")

    assert snapshot.values == expected
    queries = [each for each in statements if "SELECT" in each.upper()]
    assert len(queries) == 2 * 2  # two reads
    assert found is not None
    assert len(found.values) <= 1 + 31 + 31 + 31


async def test_the_cost_of_a_wide_state_depends_on_its_changes_and_not_on_its_width(tmp_path: Path) -> None:
    width, supersteps = 300, 600
    keys: dict[str, Any] = {f"channel_{place}": bytes for place in range(width)}
    wide: Any = TypedDict("wide", keys, total=False)  # type: ignore[misc]  # mypy wants the keys written out
    ran = 0

    async def change(state: Any) -> Any:
        nonlocal ran
        ran += 1
        return {f"channel_{ran % width}": RANDOM.randbytes(100)}

    builder: Any = StateGraph(wide)
    builder.add_node("change", change)
    builder.add_edge(START, "change")
    builder.add_conditional_edges("change", lambda _: END if ran % supersteps == 0 else "change")

    async def size_after(path: Path, turns: int) -> int:
        async with SqliteSaver(path) as saver:
            graph = builder.compile(saver)
            await graph.ainvoke({f"channel_{place}": RANDOM.randbytes(100) for place in range(width)}, thread_id="t")
            for _ in range(turns - 1):
                await graph.ainvoke({"channel_0": b""}, thread_id="t")
        return size_of(path)

    grown = await size_after(tmp_path / "twice.db", 2) - await size_after(tmp_path / "once.db", 1)

    assert grown / supersteps <= 1000


async def test_a_chain_of_n_nodes_costs_n_plus_one_write_transactions(tmp_path: Path) -> None:
    """LangGraph: 2 N + 3."""
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        graph = appending(10).compile(saver)
        await graph.ainvoke({"items": []}, thread_id="warm")
        statements = await traced(saver)

        await graph.ainvoke({"items": []}, thread_id="t")

    assert transactions(statements) == 11


async def test_runs_that_commit_concurrently_share_transactions(tmp_path: Path) -> None:
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        graph = appending(10).compile(saver)
        await graph.ainvoke({"items": []}, thread_id="warm")
        statements = await traced(saver)

        await asyncio.gather(*(graph.ainvoke({"items": []}, thread_id=f"t-{n}") for n in range(40)))

    assert transactions(statements) <= 11 * 40 / 4


def row_counts(path: Path) -> tuple[int, int]:
    """The numbers of channel rows and of branches in the file."""
    db = sqlite3.connect(path)
    counted = "SELECT (SELECT count(*) FROM channel_rows), (SELECT count(*) FROM branches)"
    rows, lines = db.execute(counted).fetchone()
    db.close()
    return rows, lines


async def test_a_fork_copies_no_values(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SqliteSaver(path) as saver:
        graph = appending(200).compile(saver)
        await graph.ainvoke({"items": []}, thread_id="t")
        history = [snapshot async for snapshot in graph.aget_state_history(thread_id="t", limit=3)]

        before = await asyncio.to_thread(row_counts, path)
        await graph.ainvoke(None, history[2].config)
        after = await asyncio.to_thread(row_counts, path)

    # Two supersteps of one channel, and their branch.
    assert (after[0] - before[0], after[1] - before[1]) == (2, 1)
