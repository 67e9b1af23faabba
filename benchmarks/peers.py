"""LangGraph and DBOS, where they are installed."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def has_langgraph() -> bool:
    """Whether the peer and its SQLite saver can be measured."""
    return all(find_spec(name) is not None for name in ("langgraph", "langgraph.checkpoint.sqlite"))


def peer_graph_class() -> Any:
    """LangGraph's StateGraph."""
    from langgraph.graph import StateGraph

    return StateGraph


def peer_send() -> Any:
    """LangGraph's Send."""
    from langgraph.types import Send

    return Send


def peer_memory() -> Any:
    """LangGraph's saver in memory."""
    from langgraph.checkpoint.memory import InMemorySaver

    return InMemorySaver()


def peer_sqlite(path: Path) -> Any:
    """LangGraph's saver on a SQLite file, as an async context manager."""
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    return AsyncSqliteSaver.from_conn_string(str(path))


PEER_MODES = ("connection", "pipeline", "pool")
"""The ways in which LangGraph's saver may be connected."""


def has_peer_postgres() -> bool:
    """Whether LangGraph's saver on PostgreSQL can be measured."""
    return all(find_spec(name) is not None for name in ("langgraph", "psycopg_pool")) and (
        find_spec("langgraph.checkpoint.postgres") is not None
    )


@asynccontextmanager
async def peer_postgres(dsn: str, mode: str) -> AsyncIterator[Any]:
    """LangGraph's saver on PostgreSQL."""
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

    if mode != "pool":
        async with AsyncPostgresSaver.from_conn_string(dsn, pipeline=mode == "pipeline") as saver:
            yield saver
        return
    from psycopg.rows import dict_row
    from psycopg_pool import AsyncConnectionPool

    settings = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    async with AsyncConnectionPool(dsn, max_size=20, kwargs=settings, open=False) as pool:
        yield AsyncPostgresSaver(pool)


def has_dbos() -> bool:
    """Whether DBOS can be measured."""
    return find_spec("dbos") is not None


def dbos_steps(dsn: str, workflows: int, steps: int) -> float:
    """Seconds for one step of so many workflows of so many steps at once."""
    from dbos import DBOS

    DBOS(config={"name": "benchmark", "system_database_url": dsn, "log_level": "ERROR", "run_admin_server": False})

    @DBOS.step()  # type: ignore[untyped-decorator]  # it is not there where types are checked
    async def step(count: int) -> int:
        return count + 1

    @DBOS.workflow()  # type: ignore[untyped-decorator]
    async def counting() -> int:
        count = 0
        for _ in range(steps):
            count = await step(count)
        return count

    async def main() -> float:
        began = time.perf_counter()
        handles = [await DBOS.start_workflow_async(counting) for _ in range(workflows)]
        for handle in handles:
            assert await handle.get_result() == steps
        return (time.perf_counter() - began) / (workflows * steps)

    DBOS.launch()
    try:
        return asyncio.run(main())
    finally:
        DBOS.destroy()
