"""Checking whole threads, on every store."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from durable_graph import START, Checkpointer, Command, StateGraph, UnknownThreadError, interrupt, task
from durable_graph.operating.checking import Checked, check_threads
from durable_graph_sqlite import SqliteSaver
from tests.graphs import State


async def note(state: State) -> State:
    return {"log": ["note"]}


@task
async def price(item: str) -> int:
    return len(item)


async def ask(state: State) -> State:
    return {"log": [str(interrupt("ok?")), str(await price("tea"))]}


def graph(saver: Checkpointer) -> Any:
    """A graph with a nested graph, a task and a question."""
    inner = StateGraph(State).add_node("ask", ask).add_edge(START, "ask").compile()
    builder = StateGraph(State).add_node("note", note).add_node("inner", inner)
    return builder.add_edge(START, "note").add_edge("note", "inner").compile(saver)


async def filled(saver: Checkpointer) -> None:
    """Threads that are waiting, done, forked, pruned and copied."""
    compiled = graph(saver)
    for thread in ("waiting", "done", "forked", "pruned"):
        await compiled.ainvoke({"log": []}, thread_id=thread, key=f"key of {thread}")
    for thread in ("done", "forked", "pruned"):
        await compiled.ainvoke(Command(resume="yes"), thread_id=thread)
    history = [each async for each in compiled.aget_state_history(thread_id="forked")]
    await compiled.ainvoke(None, history[-1].config)
    await saver.prune("pruned", keep_last=1)
    await saver.copy_thread("waiting", "copied")
    await saver.delete_thread("done")


@pytest.mark.every_store
async def test_no_damage_is_found_in_sound_threads(saver: Checkpointer) -> None:
    await filled(saver)
    assert await check_threads(saver) == Checked(4, [])
    assert await check_threads(saver, ["copied", "copied"]) == Checked(1, [])
    with pytest.raises(UnknownThreadError, match="'done'"):
        await check_threads(saver, ["done"])


COLUMN_OF = {"checkpoints": "header", "channel_rows": "value", "tasks": "value", "requests": "input_digest"}
"""The tables below a thread's row, and a column of each to damage."""

Row = tuple[int, bytes]


def rows_of(path: Path, table: str) -> list[Row]:
    """The keys of all rows of the table."""
    with closing(sqlite3.connect(path)) as database:
        return database.execute(f"SELECT thread_key, digest FROM {table}").fetchall()


@contextmanager
def damaged(path: Path, table: str, row: Row) -> Iterator[None]:
    """The row with another value in one column, for the time of the block."""
    column, where = COLUMN_OF[table], "WHERE thread_key = ? AND digest = ?"
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        ((before,),) = database.execute(f"SELECT {column} FROM {table} {where}", row).fetchall()
        database.execute(f"UPDATE {table} SET {column} = CAST({column} || x'00' AS BLOB) {where}", row)
        yield
        database.execute(f"UPDATE {table} SET {column} = ? {where}", (before, *row))


@pytest.mark.parametrize("table", COLUMN_OF)
async def test_each_damaged_row_is_found_in_each_namespace(tmp_path: Path, table: str) -> None:
    path = tmp_path / "runs.db"
    async with SqliteSaver(path) as saver:
        await filled(saver)
        rows = rows_of(path, table)
        assert rows
        for row in rows:
            with damaged(path, table, row):
                checked = await check_threads(saver)
            assert checked.threads == 4
            assert len({each.thread_id for each in checked.damage}) == 1
        assert await check_threads(saver) == Checked(4, [])


async def test_a_damaged_thread_row_is_found_and_the_others_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SqliteSaver(path) as saver:
        await filled(saver)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("UPDATE threads SET version = version + 1 WHERE thread_id = 'waiting'")
    async with SqliteSaver(path) as saver:
        checked = await check_threads(saver)
    assert checked.threads == 4
    assert {each.thread_id for each in checked.damage} == {"waiting"}
