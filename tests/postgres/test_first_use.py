"""Savers that open at the same time on a database that has none of their tables."""

import asyncio

from durable_graph_postgres import PostgresSaver
from tests.savers import schema_of_its_own


async def test_of_savers_that_open_at_once_one_makes_the_tables_and_all_work(postgres: str) -> None:
    for _ in range(5):
        async with schema_of_its_own(postgres) as schema:
            savers = [PostgresSaver(postgres, schema=schema) for _ in range(8)]

            assert await asyncio.gather(*(saver.list_threads() for saver in savers)) == [[]] * 8

            for saver in savers:
                await saver.aclose()
