"""Expired threads are removed, and unfinished threads are not."""

import operator
from datetime import timedelta
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    DeletedThreads,
    InvalidOptionError,
    StateGraph,
    delete_expired_threads,
    interrupt,
)

pytestmark = pytest.mark.every_store

NO_TIME = timedelta(0)


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


def graph_on(saver: Checkpointer) -> Any:
    async def first(state: State) -> State:
        return {"log": ["first"]}

    async def second(state: State) -> State:
        return {"log": [interrupt("go on?") if state["log"][0] == "ask" else "second"]}

    builder = StateGraph(State)
    builder.add_node("first", first).add_node("second", second)
    builder.add_edge(START, "first").add_edge("first", "second")
    return builder.compile(saver)


async def listed(saver: Checkpointer) -> list[str]:
    return [info.thread for info in await saver.list_threads()]


async def test_finished_threads_are_deleted_and_interrupted_threads_are_kept(saver: Checkpointer) -> None:
    graph = graph_on(saver)
    await graph.ainvoke({"log": ["ask"]}, thread_id="waits")
    for name in ("a", "b", "c"):
        await graph.ainvoke({"log": ["go"]}, thread_id=name)

    assert await delete_expired_threads(saver, older_than=timedelta(days=1)) == DeletedThreads(0, 0)
    assert await delete_expired_threads(saver, older_than=NO_TIME) == DeletedThreads(3, 0)

    assert await listed(saver) == ["waits"]
    answered = await graph.ainvoke(Command(resume="yes"), thread_id="waits")
    assert answered == {"log": ["ask", "first", "yes"]}
    assert await delete_expired_threads(saver, older_than=NO_TIME, status=["done", "failed"]) == DeletedThreads(1, 0)


async def test_keep_last_prunes_threads_instead_of_deleting_them(saver: Checkpointer) -> None:
    graph = graph_on(saver)
    for name in ("a", "b"):
        await graph.ainvoke({"log": ["go"]}, thread_id=name)

    assert await delete_expired_threads(saver, older_than=NO_TIME, keep_last=1) == DeletedThreads(0, 4)
    assert await delete_expired_threads(saver, older_than=NO_TIME, keep_last=1) == DeletedThreads(0, 0)

    assert (await graph.aget_state(thread_id="a")).values == {"log": ["go", "first", "second"]}
    assert await graph.ainvoke({"log": ["more"]}, thread_id="a") == {
        "log": ["go", "first", "second", "more", "first", "second"]
    }


async def test_tombstones_of_deleted_threads_are_removed_after_their_protection_time(saver: Checkpointer) -> None:
    graph = graph_on(saver)
    for name in ("a", "b"):
        await graph.ainvoke({"log": ["go"]}, thread_id=name)
        await graph.adelete_thread(name)

    assert await delete_expired_threads(saver, older_than=NO_TIME) == DeletedThreads(0, 0)
    assert await saver.load("a") is not None
    assert await delete_expired_threads(saver, older_than=NO_TIME, protect=NO_TIME) == DeletedThreads(0, 0, deletions=2)
    assert await saver.load("a") is None


async def test_a_purged_thread_leaves_no_tombstone(saver: Checkpointer) -> None:
    graph = graph_on(saver)
    await graph.ainvoke({"log": ["go"]}, thread_id="a")
    await graph.adelete_thread("a", purge=True)

    assert await saver.load("a") is None


async def test_a_thread_whose_interrupt_is_answered_meanwhile_is_not_deleted(
    saver: Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = graph_on(saver)
    await graph.ainvoke({"log": ["ask"]}, thread_id="waits")
    inner = saver.delete_thread

    async def after_an_answer(thread: str, **given: Any) -> bool:
        await graph.ainvoke(Command(resume="yes"), thread_id="waits")
        return await inner(thread, **given)

    monkeypatch.setattr(saver, "delete_thread", after_an_answer)

    assert await delete_expired_threads(saver, older_than=NO_TIME, status="interrupted") == DeletedThreads(0, 0)
    assert (await graph.aget_state(thread_id="waits")).values == {"log": ["ask", "first", "yes"]}


async def test_a_thread_that_is_purged_meanwhile_does_not_stop_the_deletion_of_others(
    saver: Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = graph_on(saver)
    for name in ("a", "b"):
        await graph.ainvoke({"log": ["go"]}, thread_id=name)
    inner = saver.prune

    async def after_a_purge(thread: str, **given: Any) -> int:
        await saver.delete_thread("a", purge=True)
        return await inner(thread, **given)

    monkeypatch.setattr(saver, "prune", after_a_purge)

    assert await delete_expired_threads(saver, older_than=NO_TIME, keep_last=1) == DeletedThreads(0, 2)
    assert await listed(saver) == ["b"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "finished"},
        {"status": ["done", "deleted"]},
        {"older_than": timedelta(-1)},
        {"keep_last": -1},
        {"protect": timedelta(-1)},
        {"status": "damaged", "keep_last": 1},
    ],
    ids=str,
)
async def test_invalid_options_are_refused_before_anything_is_removed(
    saver: Checkpointer, wrong: dict[str, Any]
) -> None:
    await graph_on(saver).ainvoke({"log": ["go"]}, thread_id="a")

    with pytest.raises(InvalidOptionError):
        await delete_expired_threads(saver, **{"older_than": NO_TIME, **wrong})

    assert await listed(saver) == ["a"]
