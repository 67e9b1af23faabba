"""Savers that open at the same time on a database that has none of their tables."""

import asyncio

import pytest

from durable_graph_postgres import PostgresSaver
from tests.postgres.server import started
from tests.savers import schema_of_its_own


async def test_savers_that_create_the_tables_concurrently_all_work(postgres: str) -> None:
    for _ in range(5):
        async with schema_of_its_own(postgres) as schema:
            savers = [PostgresSaver(postgres, schema=schema) for _ in range(8)]

            assert await asyncio.gather(*(saver.list_threads() for saver in savers)) == [[]] * 8

            for saver in savers:
                await saver.aclose()


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
async def test_savers_that_create_the_tables_concurrently_all_work_under_stricter_isolation(isolation: str) -> None:
    with started(settings={"default_transaction_isolation": isolation}) as server:
        for number in range(10):
            savers = [PostgresSaver(server.url, schema=f"schema {number}") for _ in range(8)]

            assert await asyncio.gather(*(saver.list_threads() for saver in savers)) == [[]] * 8

            for saver in savers:
                await saver.aclose()
