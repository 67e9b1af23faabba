"""The locks of an occurrence on PostgreSQL."""

import asyncio
from datetime import timedelta

import asyncpg

from durable_graph import interrupt, start_child
from durable_graph.checkpointing.columns import key_of
from durable_graph.runs import App
from durable_graph.testing import run_app
from durable_graph_postgres import PostgresSaver
from tests.runs.test_schedules import State, graph_of
from tests.savers import schema_of_its_own

_WAITING = """
    SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND position($1 IN query) > 0
"""
_LOCKED = 'SELECT 1 FROM "{schema}".threads WHERE thread_key = $1 FOR UPDATE'


async def ask(state: State) -> State:
    return {"count": interrupt("how many?")}


async def order(state: State) -> State:
    child = await start_child("child", {}, thread_id=state["day"])
    return {"count": (await child.result())["count"]}


async def test_an_occurrence_that_cancels_locks_parents_and_threads_in_the_order_of_their_keys(postgres: str) -> None:
    thread = "shared"
    parent = next(name for name in map(str, range(100)) if key_of(name) < key_of(thread))
    async with schema_of_its_own(postgres) as schema, PostgresSaver(postgres, schema=schema) as saver:
        app = App({"order": graph_of(order), "child": graph_of(ask)}, saver)
        async with run_app(app) as running:
            # A run of the schedule, and behind it a child in the same thread.
            handle = await app.schedule("nightly", "child", cron="0 0 1 1 *", overlap="cancel", thread_id=thread)
            first = await handle.trigger()
            await running.settle()
            await app.start("order", {"day": thread}, thread_id=parent)
            await running.settle()
        other, looking = await asyncpg.connect(postgres), await asyncpg.connect(postgres)
        transaction = other.transaction()
        await transaction.start()
        await other.fetch(_LOCKED.format(schema=schema), key_of(parent))
        app.store.skew += timedelta(days=366) // timedelta(microseconds=1)
        async with asyncio.timeout(30), app.worker():
            while not await looking.fetchval(_WAITING, schema):  # noqa: ASYNC110  # a server has no event
                await asyncio.sleep(0.01)
            # The occurrence waits for the parent. Others may lock the thread behind it, and do not wait for it.
            assert await looking.fetch(f"{_LOCKED.format(schema=schema)} SKIP LOCKED", key_of(thread))
            await transaction.rollback()
            while (await first.status()).state != "cancelled":  # noqa: ASYNC110  # as above
                await asyncio.sleep(0.01)
        await other.close()
        await looking.close()
