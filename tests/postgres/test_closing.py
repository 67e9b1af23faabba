"""Closing finishes the calls in progress, and later calls do not delay it."""

import asyncio
from collections.abc import Iterator

import pytest

from durable_graph.errors import CheckpointerMisuseError, StoreUnavailableError
from durable_graph.testing.conformance.saver_under_test import some_thread
from durable_graph_postgres import PostgresSaver
from tests.postgres.server import Server, started
from tests.savers import schema_of_its_own


@pytest.fixture
def server() -> Iterator[Server]:
    with started() as opened:
        yield opened


async def test_continuous_reads_do_not_delay_closing(postgres: str) -> None:
    async with schema_of_its_own(postgres) as schema:
        saver = PostgresSaver(postgres, schema=schema)
        await some_thread(saver)
        has_read = asyncio.Event()

        async def read_forever() -> None:
            while True:
                assert await saver.load("thread") is not None
                has_read.set()

        readers = [asyncio.create_task(read_forever()) for _ in range(8)]
        await has_read.wait()
        async with asyncio.timeout(10):
            await saver.aclose()

        answers = await asyncio.gather(*readers, return_exceptions=True)
    assert [(type(each), getattr(each, "kind", None)) for each in answers] == [(CheckpointerMisuseError, "closed")] * 8


async def test_closing_completes_a_read_in_progress(postgres: str) -> None:
    async with schema_of_its_own(postgres) as schema:
        saver = PostgresSaver(postgres, schema=schema)
        await some_thread(saver)
        reading = asyncio.create_task(saver.load("thread"))
        await asyncio.sleep(0)

        await saver.aclose()

        assert reading.done()
        assert reading.result() is not None


async def test_an_unresponsive_server_does_not_block_closing(server: Server) -> None:
    saver = PostgresSaver(server.url, patience=0.5)
    await some_thread(saver)
    server.freeze()
    try:
        async with asyncio.timeout(20):
            await saver.aclose()
    finally:
        server.thaw()


async def test_a_saver_that_cannot_open_can_be_closed(server: Server) -> None:
    saver = PostgresSaver(server.url, patience=0.5)
    server.freeze()
    try:
        loading = asyncio.create_task(saver.load("thread"))
        await asyncio.sleep(0)
        async with asyncio.timeout(20):
            await saver.aclose()
        with pytest.raises(StoreUnavailableError):
            await loading
    finally:
        server.thaw()
