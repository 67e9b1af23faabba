"""Threads of parents and children that are copied one after the other: no end of a child is lost."""

from pathlib import Path

import pytest

from durable_graph import Checkpointer, MemorySaver, interrupt, start_child
from durable_graph.checkpointing.transfer import export_threads, import_threads
from durable_graph.runs import App
from durable_graph.testing import run_app
from tests.runs.test_schedules import State, graph_of

pytestmark = pytest.mark.every_store


async def order(state: State) -> State:
    child = await start_child("shipment", {}, thread_id="child")
    return {"count": (await child.result())["count"]}


async def ask(state: State) -> State:
    return {"count": interrupt("how many?")}


def app_on(saver: Checkpointer) -> App:
    return App({"order": graph_of(order), "shipment": graph_of(ask)}, saver)


async def copies(folder: Path, *, child_has_ended: bool) -> None:
    """The threads "parent" and "child" in a file each: the parent waits, and the child ends after it was copied."""
    async with MemorySaver() as source:
        app = app_on(source)
        async with run_app(app) as running:
            await app.start("order", {}, thread_id="parent")
            await running.settle()
            await export_threads(source, folder / "parent", thread_ids=["parent"])
            if child_has_ended:
                await app.answer("child", 7)
                await running.settle()
            await export_threads(source, folder / "child", thread_ids=["child"])


@pytest.mark.parametrize("files", [("parent", "child"), ("child", "parent")], ids="-".join)
async def test_a_parent_gets_the_end_of_a_child_that_ended_after_the_copy_of_the_parent(
    saver: Checkpointer, tmp_path: Path, files: tuple[str, str]
) -> None:
    await copies(tmp_path, child_has_ended=True)
    for _ in range(2):
        # Again: an end is sent once.
        for file in files:
            await import_threads(saver, tmp_path / file, if_exists="skip")
    app = app_on(saver)
    async with run_app(app) as running:
        await running.settle()
        (parent,) = await app.runs(thread_id="parent")
        assert await (await app.find(parent.run_id)).result(20) == {"count": 7}


async def test_a_parent_gets_the_end_of_a_child_that_ended_before_the_import_of_the_parent(
    saver: Checkpointer, tmp_path: Path
) -> None:
    await copies(tmp_path, child_has_ended=False)
    await import_threads(saver, tmp_path / "child")
    app = app_on(saver)
    async with run_app(app) as running:
        await app.answer("child", 3)
        await running.settle()
        await import_threads(saver, tmp_path / "parent")
        (parent,) = await app.runs(thread_id="parent")
        assert await (await app.find(parent.run_id)).result(20) == {"count": 3}


async def test_a_parent_whose_child_has_not_ended_goes_on_waiting(saver: Checkpointer, tmp_path: Path) -> None:
    await copies(tmp_path, child_has_ended=False)
    for file in ("parent", "child"):
        await import_threads(saver, tmp_path / file)
    app = app_on(saver)
    async with run_app(app) as running:
        await running.settle()
        assert {run.state for run in await app.runs()} == {"waiting"}
        await app.answer("child", 5)
        await running.settle()
        (parent,) = await app.runs(thread_id="parent")
        assert await (await app.find(parent.run_id)).result(20) == {"count": 5}
