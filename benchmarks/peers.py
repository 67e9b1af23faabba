"""LangGraph and DBOS, where they are installed: `make bench-peers` has them in an environment of their own.

LangGraph is configured as its documentation says. On PostgreSQL it is measured in each of the three ways in which its
saver may be connected: with one connection, with one in pipeline mode, and with a pool of 20.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.libraries import Library, in_memory
from benchmarks.record import LANGGRAPH

POOL_SIZE = 20


def has_peers() -> bool:
    """Whether the peers can be measured."""
    return all(find_spec(name) is not None for name in ("langgraph", "dbos", "psycopg_pool"))


def langgraph() -> Library:
    """LangGraph, with one connection to PostgreSQL."""
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
    from langgraph.config import get_stream_writer
    from langgraph.func import task
    from langgraph.graph import StateGraph
    from langgraph.types import Command, Send, interrupt

    def sqlite(path: Path) -> AbstractAsyncContextManager[Any]:
        opening: AbstractAsyncContextManager[Any] = AsyncSqliteSaver.from_conn_string(str(path))
        return opening

    return Library(
        name=LANGGRAPH,
        state_graph=StateGraph,
        send=Send,
        command=Command,
        interrupt=interrupt,
        task=task,
        stream_writer=get_stream_writer,
        memory=lambda: in_memory(InMemorySaver()),
        sqlite=sqlite,
        postgres=_connected,
    )


def other_connections(library: Library) -> list[Library]:
    """LangGraph, with PostgreSQL connected in its other two ways."""
    return [
        replace(library, name=f"{library.name}, pipeline", postgres=_pipelined),
        replace(library, name=f"{library.name}, pool", postgres=_pooled),
    ]


@asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[Any]:
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

    async with AsyncPostgresSaver.from_conn_string(dsn) as saver:
        await saver.setup()
        yield saver


@asynccontextmanager
async def _pipelined(dsn: str) -> AsyncIterator[Any]:
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

    # Its set-up cannot run in a pipeline.
    async with _connected(dsn):
        pass
    async with AsyncPostgresSaver.from_conn_string(dsn, pipeline=True) as saver:
        yield saver


@asynccontextmanager
async def _pooled(dsn: str) -> AsyncIterator[Any]:
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
    from psycopg.rows import dict_row
    from psycopg_pool import AsyncConnectionPool

    settings = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    async with AsyncConnectionPool(dsn, max_size=POOL_SIZE, kwargs=settings, open=False) as pool:
        saver = AsyncPostgresSaver(pool)
        await saver.setup()
        yield saver


@asynccontextmanager
async def dbos_workflows(dsn: str, workflows: int, steps: int) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """DBOS on an empty database: a function that runs so many workflows of so many steps at once.

    They have an event loop and a thread of their own: DBOS replaces the loop's executor, and shuts it down at its end.
    """
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

    async def together() -> None:
        handles = [await DBOS.start_workflow_async(counting) for _ in range(workflows)]
        for handle in handles:
            assert await handle.get_result() == steps

    loop = asyncio.get_running_loop()
    runner = asyncio.Runner()
    with ThreadPoolExecutor(1) as thread:

        async def run() -> None:
            await loop.run_in_executor(thread, lambda: runner.run(together()))

        await loop.run_in_executor(thread, DBOS.launch)
        try:
            yield run
        finally:
            await loop.run_in_executor(thread, lambda: DBOS.destroy(destroy_registry=True))
            await loop.run_in_executor(thread, runner.close)
