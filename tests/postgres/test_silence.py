"""A server that does not answer at all is given up as one that has gone is."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from durable_graph import Checkpointer, StoreUnavailableError
from durable_graph.records import Committed
from durable_graph.testing.conformance.saver_under_test import commit, loaded, some_thread
from durable_graph.testing.rows import Step, state_of
from durable_graph_postgres import PostgresSaver, database, opening
from durable_graph_postgres.session import Session
from tests.postgres.server import Server, started


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with started() as opened:
        yield opened


@pytest.fixture(params=["a DSN", "a pool"])
async def saver(request: pytest.FixtureRequest, server: Server) -> AsyncIterator[Checkpointer]:
    if request.param == "a DSN":
        yield PostgresSaver(server.url, schema="of a dsn", patience=0.5)
        return
    async with asyncpg.create_pool(server.url, min_size=1) as pool:
        yield PostgresSaver(pool, schema="of a pool", patience=0.5)


async def test_what_is_asked_of_a_silent_server_fails_in_time_and_works_afterwards(
    server: Server, saver: Checkpointer
) -> None:
    async with saver:
        writer = await some_thread(saver)
        unit = writer.unit(Step({"count": b"4"}))
        server.freeze()
        try:
            async with asyncio.timeout(20):
                calls = saver.commit(unit), saver.load("thread"), saver.list_threads(), saver.prune("thread")
                answers = await asyncio.gather(*calls, return_exceptions=True)
        finally:
            server.thaw()

        assert [type(answer) for answer in answers] == [StoreUnavailableError] * 4
        assert all("it does not answer" in str(answer) for answer in answers)
        # It may have arrived after all.
        assert await saver.commit(unit) == Committed(4)
        writer.applied(unit)
        await commit(saver, writer, Step({"count": b"5"}))
        assert state_of(await loaded(saver, "thread")) == writer.state()


async def test_a_silence_that_ends_in_time_is_no_failure(server: Server) -> None:
    async with PostgresSaver(server.url, schema="in time") as saver:
        writer = await some_thread(saver)
        server.freeze()
        committing = asyncio.create_task(saver.commit(writer.unit(Step({"count": b"4"}))))
        reading = asyncio.create_task(saver.load("thread"))
        done, _ = await asyncio.wait((committing, reading), timeout=0.2)
        server.thaw()

        assert done == set()
        assert await committing == Committed(4)
        assert await reading is not None


async def test_a_process_that_is_suspended_does_not_keep_its_thread_from_others(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_LONGEST_SILENCE", "200ms")
    has_begun, goes_on = asyncio.Event(), asyncio.Event()
    run = Session.run

    async def suspended(db: Session, name: str, *given: Any) -> None:
        if name == "delete_tasks" and not has_begun.is_set():
            has_begun.set()
            await goes_on.wait()
        await run(db, name, *given)

    monkeypatch.setattr(Session, "run", suspended)
    async with (
        PostgresSaver(server.url, schema="suspended") as saver,
        PostgresSaver(server.url, schema="suspended") as other,
    ):
        writer = await some_thread(other)
        deleting = asyncio.create_task(saver.delete_thread("thread"))
        await has_begun.wait()

        async with asyncio.timeout(20):
            await commit(other, writer, Step({"count": b"4"}))
        assert state_of(await loaded(other, "thread")) == writer.state()

        goes_on.set()
        assert await deleting
        found = await other.load("thread")
        assert found is not None
        assert found.thread.status == "deleted"


async def test_a_connection_that_was_idle_for_long_is_not_trusted(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        PostgresSaver(server.url, schema="idle") as saver,
        asyncpg.create_pool(server.url, min_size=0, max_size=1) as other,
    ):
        writer = await some_thread(saver)

        async def sessions() -> set[int]:
            query = "SELECT pid FROM pg_stat_activity WHERE query LIKE '%apply%' OR query LIKE '%one checkpoint more%'"
            return {row["pid"] for row in await other.fetch(query)} - {await other.fetchval("SELECT pg_backend_pid()")}

        await commit(saver, writer, Step({"count": b"4"}))
        before = await sessions()
        await commit(saver, writer, Step({"count": b"5"}))
        assert await sessions() == before
        monkeypatch.setattr(database, "_LONGEST_IDLE", -1.0)

        await commit(saver, writer, Step({"count": b"6"}))

        assert await sessions() - before
        assert state_of(await loaded(saver, "thread")) == writer.state()
