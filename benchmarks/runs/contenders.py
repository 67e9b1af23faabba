"""Programs with one-step runs: this library, and procrastinate and DBOS where they are installed.

Each has a function that accepts a number of runs, and one that executes the accepted runs until it is stopped. They
run in processes of their own: see `processes`. The peers are configured as their documentation says, with the fastest
way in which they accept many runs. A job of procrastinate has no result. This module imports no
LangChain, because a process that has imported it runs every node inside LangChain's callbacks.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from importlib.util import find_spec
from typing import Any, Final, Literal, NamedTuple, TypedDict

from benchmarks.record import OURS
from durable_graph import START, StateGraph
from durable_graph.runs import App

CONCURRENCY: Final = 200
TOGETHER: Final = 200
"""The number of runs that are accepted at the same time."""
PROCRASTINATE: Final = "procrastinate"
DBOS_NAME: Final = "DBOS"

StoreName = Literal["PostgreSQL", "SQLite"]

Begin = Callable[[], Awaitable[Any]]
"""Begins to execute what was accepted."""


class Accepting(NamedTuple):
    """Accepts runs; `result` starts one, and returns once it has its result."""

    fill: Callable[[int], Any]
    result: Callable[[int], Any] | None


class Contender(NamedTuple):
    """`left` is a query for the number of runs that have not ended."""

    accepting: Callable[[str], AbstractAsyncContextManager[Accepting]]
    working: Callable[[str], AbstractAsyncContextManager[Begin]]
    left: Mapping[StoreName, str]


class State(TypedDict, total=False):
    number: int


async def step(state: State) -> State:
    return {"number": state["number"] + 1}


async def _our_app(url: str) -> App:
    graph: Any = StateGraph(State).add_node("step", step).add_edge(START, "step").compile()
    # The URL is read outside of the event loop.
    return await asyncio.to_thread(App, {"step": graph}, url)


@asynccontextmanager
async def _ours_accepting(url: str) -> AsyncIterator[Accepting]:
    async with await _our_app(url) as app:

        async def fill(number: int) -> None:
            for first in range(0, number, TOGETHER):
                among = range(first, min(number, first + TOGETHER))
                await asyncio.gather(*(app.start("step", {"number": each}) for each in among))

        async def result(number: int) -> None:
            handle = await app.start("step", {"number": number})
            assert await handle.result(60) == {"number": number + 1}

        # The tables exist afterwards.
        await app.stats()
        yield Accepting(fill, result)


@asynccontextmanager
async def _ours_working(url: str) -> AsyncIterator[Begin]:
    async with await _our_app(url) as app, AsyncExitStack() as stack:
        # The database is open afterwards.
        await app.stats()
        yield lambda: stack.enter_async_context(app.worker(concurrency=CONCURRENCY))


def _procrastinate(url: str) -> tuple[Any, Any]:
    import procrastinate

    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url, max_size=10))

    @app.task(name="step")  # type: ignore[untyped-decorator]  # it is not there where types are checked
    async def job(number: int) -> None:
        await step({"number": number})

    return app, job


@asynccontextmanager
async def _procrastinate_accepting(url: str) -> AsyncIterator[Accepting]:
    app, job = _procrastinate(url)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()

        async def fill(number: int) -> None:
            for first in range(0, number, TOGETHER):
                among = range(first, min(number, first + TOGETHER))
                await job.batch_defer_async(*({"number": each} for each in among))

        yield Accepting(fill, None)


@asynccontextmanager
async def _procrastinate_working(url: str) -> AsyncIterator[Begin]:
    app, _ = _procrastinate(url)
    working: list[asyncio.Task[None]] = []

    async def begin() -> None:
        work = app.run_worker_async(concurrency=CONCURRENCY, install_signal_handlers=False)
        working.append(asyncio.create_task(work))

    async with app.open_async():
        yield begin
        for each in working:
            each.cancel()
            with suppress(asyncio.CancelledError):
                await each


_DBOS_POLL: Final = 0.05


def _dbos(url: str, name: str) -> Any:
    from dbos import DBOS

    system = url.replace("postgresql:", "postgresql+psycopg:")
    DBOS(
        config={
            "name": "benchmark",
            "system_database_url": system,
            "log_level": "ERROR",
            "run_admin_server": False,
            "executor_id": f"{name} {os.getpid()}",
            "application_version": "1",
        }
    )

    @DBOS.step()  # type: ignore[untyped-decorator]  # as above
    async def one(number: int) -> int:
        return (await step({"number": number}))["number"]

    @DBOS.workflow(name="step")  # type: ignore[untyped-decorator]
    async def workflow(number: int) -> int:
        found: int = await one(number)
        return found

    return DBOS, workflow


@asynccontextmanager
async def _dbos_accepting(url: str) -> AsyncIterator[Accepting]:
    dbos, workflow = _dbos(url, "client")
    dbos.listen_queues(["none"])
    dbos.launch()
    await dbos.register_queue_async("queue", worker_concurrency=CONCURRENCY, polling_interval_sec=_DBOS_POLL)

    async def fill(number: int) -> None:
        for first in range(0, number, TOGETHER):
            among = range(first, min(number, first + TOGETHER))
            await asyncio.gather(*(dbos.enqueue_workflow_async("queue", workflow, each) for each in among))

    async def result(number: int) -> None:
        handle = await dbos.enqueue_workflow_async("queue", workflow, number)
        assert await handle.get_result() == number + 1

    yield Accepting(fill, result)


@asynccontextmanager
async def _dbos_working(url: str) -> AsyncIterator[Begin]:
    dbos, _ = _dbos(url, "worker")
    dbos.listen_queues(["queue"])

    async def begin() -> None:
        dbos.launch()

    yield begin


CONTENDERS: Final[Mapping[str, Contender]] = {
    OURS: Contender(
        _ours_accepting,
        _ours_working,
        {
            "PostgreSQL": "SELECT count(*) FROM durable_graph.runs WHERE state < 4",
            "SQLite": "SELECT count(*) FROM runs WHERE state < 4",
        },
    ),
    PROCRASTINATE: Contender(
        _procrastinate_accepting,
        _procrastinate_working,
        {"PostgreSQL": "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"},
    ),
    DBOS_NAME: Contender(
        _dbos_accepting,
        _dbos_working,
        {
            "PostgreSQL": "SELECT count(*) FROM dbos.workflow_status WHERE status IN ('ENQUEUED', 'PENDING')",
            "SQLite": "SELECT count(*) FROM workflow_status WHERE status IN ('ENQUEUED', 'PENDING')",
        },
    ),
}


def present(store: StoreName) -> dict[str, Contender]:
    """The contenders that are installed, and that keep their runs in this store."""
    packages = {PROCRASTINATE: "procrastinate", DBOS_NAME: "dbos"}
    return {
        name: contender
        for name, contender in CONTENDERS.items()
        if store in contender.left and (name not in packages or find_spec(packages[name]) is not None)
    }
