"""Deleting expired threads leaves runs alone that have not ended."""

from datetime import timedelta

import pytest

from durable_graph import Checkpointer, delete_expired_threads
from durable_graph.runs import App
from tests.graphs import Nodes

pytestmark = pytest.mark.every_store


async def test_a_finished_thread_stays_while_a_later_run_is_not_due(saver: Checkpointer) -> None:
    app = App({"note": Nodes().chain("a").compile()}, saver)
    done = await app.start("note", {"log": []}, thread_id="t")
    async with app.worker():
        await done.result(20)
    later = await app.start("note", {"log": []}, thread_id="t", delay=timedelta(days=3))
    assert (await delete_expired_threads(saver, older_than=timedelta(0))).threads == 0
    assert (await later.status()).state == "ready"
    await later.cancel()
    assert (await delete_expired_threads(saver, older_than=timedelta(0), status=("done", "cancelled"))).threads == 1
