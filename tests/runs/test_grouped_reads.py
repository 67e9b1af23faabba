"""Runs that are claimed together share the statements that load their threads and read their inboxes."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import START, Checkpointer, CompiledGraph, RunFailedError, StateGraph, receive, sleep
from durable_graph.checkpointing.run_store import KeepsRuns
from durable_graph.records import StoredCheckpoint
from durable_graph.runs import App
from durable_graph.runs.grouped_reads import Group, GroupedReads
from durable_graph.testing import run_app

pytestmark = pytest.mark.every_store

RUNS = 20


def joined(old: list[Any], new: list[Any]) -> list[Any]:
    return [*old, *new]


class State(TypedDict, total=False):
    log: Annotated[list[Any], joined]


async def receives(state: State) -> State:
    return {"log": [await receive("parcel")]}


async def sleeps(state: State) -> State:
    await sleep(timedelta(days=1))
    return {"log": ["woken"]}


async def returns(state: State) -> State:
    return {"log": ["done"]}


def graph_of(node: Any) -> CompiledGraph[Any, Any, Any, Any]:
    return StateGraph(State).add_node("node", node).add_edge(START, "node").compile()


def noting(saver: Checkpointer, patch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The reads of threads and inboxes from now on, each with its number of threads."""
    reads: list[tuple[str, int]] = []

    def note(owner: Any, name: str) -> None:
        inner = getattr(owner, name)

        async def call(wanted: Any, *given: Any) -> Any:
            reads.append((name, 1 if isinstance(wanted, str) else len(wanted)))
            return await inner(wanted, *given)

        patch.setattr(owner, name, call)

    assert isinstance(saver, KeepsRuns)
    note(saver, "load")
    for name in ("load_many", "inboxes", "inbox"):
        note(saver.runs, name)
    return reads


async def test_runs_that_are_due_together_are_loaded_in_one_call(
    saver: Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = App({"order": graph_of(sleeps)}, saver)
    handles = [await app.start("order", {}, thread_id=f"t {number}") for number in range(RUNS)]
    async with run_app(app, concurrency=RUNS) as running:
        await running.settle()
        reads = noting(saver, monkeypatch)
        await running.move(timedelta(days=2))
        await running.settle()

        assert reads == [("load_many", RUNS)]
        assert await handles[0].result(20) == {"log": ["woken"]}


async def test_inboxes_of_runs_that_receive_together_are_read_in_one_call(
    saver: Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = App({"order": graph_of(receives)}, saver)
    handles = [await app.start("order", {}, thread_id=f"t {number}") for number in range(RUNS)]
    async with run_app(app, concurrency=RUNS) as running:
        await running.settle()
    for number in range(RUNS):
        await app.signal(f"t {number}", "parcel", number)
    reads = noting(saver, monkeypatch)
    async with run_app(app, concurrency=RUNS) as running:
        await running.settle()

        # Each run is loaded again once its message is recorded as taken.
        assert reads[:2] == [("load_many", RUNS), ("inboxes", RUNS)]
        assert {name for name, _ in reads[2:]} == {"load_many"}
        assert [(await each.result(20))["log"] for each in handles] == [[number] for number in range(RUNS)]


async def test_a_run_of_a_new_thread_loads_nothing(saver: Checkpointer, monkeypatch: pytest.MonkeyPatch) -> None:
    app = App({"order": graph_of(returns)}, saver)
    handle = await app.start("order", {}, key="order 7")
    reads = noting(saver, monkeypatch)
    async with run_app(app, concurrency=RUNS) as running:
        await running.settle()

        assert reads == []
    assert await handle.result(20) == {"log": ["done"]}


async def test_a_thread_that_cannot_be_loaded_fails_its_own_run_only(
    saver: Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = App({"order": graph_of(sleeps)}, saver)
    damaged, sound = [await app.start("order", {}, thread_id=thread) for thread in ("damaged", "sound")]
    async with run_app(app, concurrency=RUNS) as running:
        await running.settle()
        assert isinstance(saver, KeepsRuns)
        load, load_many = saver.load, saver.runs.load_many

        async def refuses(thread: str, *place: Any) -> StoredCheckpoint | None:
            if thread == "damaged":
                message = "a row of it is damaged"
                raise ValueError(message)
            return await load(thread, *place)

        async def leaves_out(threads: list[str], most: int) -> dict[str, StoredCheckpoint]:
            return {name: each for name, each in (await load_many(threads, most)).items() if name != "damaged"}

        monkeypatch.setattr(saver, "load", refuses)
        monkeypatch.setattr(saver.runs, "load_many", leaves_out)
        await running.move(timedelta(days=2))
        await running.settle()

        assert await sound.result(20) == {"log": ["woken"]}
        with pytest.raises(RunFailedError, match="damaged"):
            await damaged.result(20)


@pytest.mark.parametrize("number", [1, 64, 65, 200])
async def test_calls_of_one_turn_are_grouped_up_to_a_limit(number: int) -> None:
    groups: list[int] = []

    async def call(wanted: Mapping[str, int]) -> Mapping[str, int]:
        groups.append(len(wanted))
        await asyncio.sleep(0)
        return {name: value + 1 for name, value in wanted.items() if value}

    group: Group[int, int] = Group(call)

    async def ask(value: int) -> int | None:
        return await group.ask(f"t {value}", value)

    answers = await asyncio.gather(*map(ask, range(number)))

    assert answers == [None, *range(2, number + 1)]
    assert sum(groups) == number
    assert len(groups) == -(-number // 64)


async def test_a_thread_that_is_asked_for_twice_is_read_twice() -> None:
    groups: list[list[str]] = []

    async def call(wanted: Mapping[str, None]) -> Mapping[str, int]:
        groups.append(list(wanted))
        return dict.fromkeys(wanted, len(groups))

    group: Group[None, int] = Group(call)

    assert await asyncio.gather(*(group.ask(name, None) for name in ("a", "b", "a"))) == [1, 1, 2]
    assert groups == [["a", "b"], ["a"]]


async def test_an_error_of_a_grouped_call_is_raised_to_each_caller() -> None:
    async def call(wanted: Mapping[str, None]) -> Mapping[str, int]:
        message = "the store is gone"
        raise ValueError(message)

    group: Group[None, int] = Group(call)

    found = await asyncio.gather(*(group.ask(name, None) for name in "ab"), return_exceptions=True)

    assert [str(each) for each in found] == ["the store is gone"] * 2


async def test_a_caller_that_is_cancelled_leaves_the_other_calls_of_its_group() -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def call(wanted: Mapping[str, None]) -> Mapping[str, int]:
        begun.set()
        await may_end.wait()
        return dict.fromkeys(wanted, 7)

    group: Group[None, int] = Group(call)
    first, second = group.ask("a", None), group.ask("b", None)
    await begun.wait()
    first.cancel()
    may_end.set()

    assert await second == 7


async def test_a_thread_without_a_row_is_loaded_as_none(saver: Checkpointer) -> None:
    assert isinstance(saver, KeepsRuns)
    reads = GroupedReads(saver, saver.runs)

    assert await reads.load("unknown") is None
    assert await reads.inbox("unknown", ["parcel"]) == []
