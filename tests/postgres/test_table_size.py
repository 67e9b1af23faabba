"""The size of runs in a database: bytes of the tables, without indexes, for changed values only."""

import operator
import random
from typing import Annotated, Any, TypedDict

import asyncpg

from durable_graph import END, START, StateGraph
from durable_graph_postgres import PostgresSaver
from tests.savers import schema_of_its_own

# Data that cannot be compressed, and that is the same in every run of the tests.
RANDOM = random.Random(20_26)

_SIZES = """
SELECT c.relname, pg_relation_size(c.oid) + coalesce(pg_relation_size(nullif(c.reltoastrelid, 0)), 0) AS size
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind = 'r'
"""


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


async def asked(dsn: str, query: str, *values: Any) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(dsn)
    try:
        return [tuple(row) for row in await connection.fetch(query, *values)]
    finally:
        await connection.close()


async def size_of(dsn: str, schema: str) -> int:
    """The bytes of all tables of the schema."""
    return sum(size for _, size in await asked(dsn, _SIZES, schema))


async def test_a_thousand_appends_of_200_bytes_stay_under_a_megabyte(postgres: str) -> None:
    async with schema_of_its_own(postgres) as schema, PostgresSaver(postgres, schema=schema) as saver:
        result = await appending(1000).compile(saver).ainvoke({"items": []}, thread_id="t")

        assert len(result["items"]) == 1000
        assert await size_of(postgres, schema) <= 1_000_000


async def test_a_wide_state_costs_the_changed_values_and_not_its_width(postgres: str) -> None:
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

    async with schema_of_its_own(postgres) as schema, PostgresSaver(postgres, schema=schema) as saver:
        graph = builder.compile(saver)
        await graph.ainvoke({f"channel_{place}": RANDOM.randbytes(100) for place in range(width)}, thread_id="t")
        before = await size_of(postgres, schema)
        await graph.ainvoke({"channel_0": b""}, thread_id="t")

        assert (await size_of(postgres, schema) - before) / supersteps <= 1000


async def test_a_fork_copies_no_values(postgres: str) -> None:
    async with schema_of_its_own(postgres) as schema, PostgresSaver(postgres, schema=schema) as saver:
        graph = appending(200).compile(saver)
        await graph.ainvoke({"items": []}, thread_id="t")
        history = [snapshot async for snapshot in graph.aget_state_history(thread_id="t", limit=3)]
        counted = f'SELECT (SELECT count(*) FROM "{schema}".channel_rows), (SELECT count(*) FROM "{schema}".branches)'  # noqa: S608  # names of its own
        before = await asked(postgres, counted)

        await graph.aupdate_state(history[2].config, {"items": [b"forked"]})

        ((values, lines),) = before
        assert await asked(postgres, counted) == [(values + 1, lines + 1)]


async def test_the_row_of_a_thread_is_updated_without_touching_an_index(postgres: str) -> None:
    async with schema_of_its_own(postgres) as schema:
        async with PostgresSaver(postgres, schema=schema) as saver:
            await appending(200).compile(saver).ainvoke({"items": []}, thread_id="t")
        # The server adds the counts of a session when the session ends.
        query = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE schemaname = $1 AND relname = 'threads'"
        updates, without_indexes = 0, 0
        while updates < 200:
            ((updates, without_indexes),) = await asked(postgres, query, schema)

        assert without_indexes / updates > 0.9
