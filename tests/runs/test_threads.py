"""`app.threads`: creating, finding, updating, copying and deleting threads, beside the runs that use them."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict
from uuid import UUID

import pytest

from durable_graph import (
    START,
    Checkpointer,
    CompiledGraph,
    InvalidOptionError,
    MemorySaver,
    StateGraph,
    ThreadBusyError,
    ThreadExistsError,
    ThreadFinishedError,
    UnknownThreadError,
    delete_expired_threads,
    interrupt,
    receive,
    sleep,
)
from durable_graph._runtime.commit.busy import only_run
from durable_graph.errors import MissingPowerError, RunFailedError
from durable_graph.runs import App, AppThreads, ThreadSummary
from durable_graph.runs.upkeep import Upkeep, read_retention
from durable_graph.testing import CrashingSaver, SimulatedCrashError, crash_points, move_clock
from tests.runs.test_app import reached

pytestmark = pytest.mark.every_store


class State(TypedDict, total=False):
    log: list[str]


class Gate:
    """A node that waits until the test opens it."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.opened = asyncio.Event()

    async def node(self, state: State) -> State:
        self.entered.set()
        await self.opened.wait()
        return {"log": [*state.get("log", []), "gate"]}


def graph(*nodes: Callable[[State], Awaitable[State]], **options: Any) -> CompiledGraph[Any, Any, Any, Any]:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    before = START
    for number, node in enumerate(nodes):
        builder.add_node(f"n{number}", node).add_edge(before, f"n{number}")
        before = f"n{number}"
    return builder.compile(**options)


async def add(state: State) -> State:
    return {"log": [*state.get("log", []), "add"]}


async def ask(state: State) -> State:
    return {"log": [interrupt("ok?")]}


async def wait(state: State) -> State:
    return {"log": [await receive("parcel")]}


async def doze(state: State) -> State:
    await sleep(timedelta(days=3))
    return {}


async def fail(state: State) -> State:
    message = "no stock"
    raise ValueError(message)


def app_on(saver: Checkpointer, *nodes: Callable[[State], Awaitable[State]], **others: Any) -> App:
    return App({"order": graph(*(nodes or (add,))), **others}, saver)


async def ids(app: App, **conditions: Any) -> list[str]:
    found = await app.threads.search(sort_by="thread_id", descending=False, **conditions)
    assert await app.threads.count(
        **{key: value for key, value in conditions.items() if key not in ("limit", "offset")}
    )
    return [each.thread_id for each in found]


# Creating and reading


async def test_a_thread_is_created_with_metadata_and_then_used_by_runs(saver: Checkpointer) -> None:
    app, before = app_on(saver), datetime.now(UTC)
    created = await app.threads.create("t", metadata={"user": "ann", "tags": ["a"]})
    assert created == ThreadSummary(
        "t", "idle", {"user": "ann", "tags": ["a"]}, None, created.created_at, created.created_at, (), None
    )
    assert before - timedelta(milliseconds=1) <= created.created_at <= datetime.now(UTC)
    assert (await app.graph("order").aget_state(thread_id="t")).values == {}

    assert await app.run("order", {}, thread_id="t") == {"log": ["add"]}
    assert await app.graph("order").ainvoke({}, thread_id="t", if_finished="run") == {"log": ["add", "add"]}

    found = await app.threads.get("t")
    assert (found.status, found.metadata, found.graph) == ("idle", {"user": "ann", "tags": ["a"]}, "order")
    assert found.created_at == created.created_at
    assert found.updated_at > created.updated_at


async def test_a_created_thread_is_no_finished_thread(saver: Checkpointer) -> None:
    app = app_on(saver)
    await app.threads.create("t")

    assert await app.graph("order").ainvoke({}, thread_id="t", if_finished="reject") == {"log": ["add"]}
    with pytest.raises(ThreadFinishedError):
        await app.graph("order").ainvoke({}, thread_id="t", if_finished="reject")


async def test_a_thread_without_an_id_has_a_random_one(saver: Checkpointer) -> None:
    app = app_on(saver)
    created = [await app.threads.create() for _ in range(2)]

    assert len({UUID(each.thread_id) for each in created}) == 2
    assert [each.metadata for each in created] == [{}, {}]


async def test_a_thread_that_exists_is_refused_or_returned(saver: Checkpointer) -> None:
    app = app_on(saver)
    await app.run("order", {}, thread_id="ran")
    await app.threads.create("created", metadata={"user": "ann"})

    for thread in ("ran", "created"):
        with pytest.raises(ThreadExistsError, match=f"thread '{thread}' already exists"):
            await app.threads.create(thread)
        found = await app.threads.create(thread, metadata={"user": "bob"}, if_exists="return")
        assert found == await app.threads.get(thread)
    assert (await app.threads.get("created")).metadata == {"user": "ann"}


async def test_an_unknown_thread_raises(saver: Checkpointer) -> None:
    app = app_on(saver)
    await app.threads.create("deleted")
    await app.threads.delete("deleted")

    for thread in ("deleted", "unknown"):
        for call in (
            app.threads.get(thread),
            app.threads.update(thread, {}),
            app.threads.delete(thread),
            app.threads.copy(thread),
        ):
            with pytest.raises(UnknownThreadError, match=f"no thread '{thread}'"):
                await call


async def test_a_creation_and_a_start_at_the_same_time_both_succeed(saver: Checkpointer) -> None:
    app = app_on(saver)
    for number in range(10):
        calls = [
            app.threads.create(f"t{number}", metadata={"n": number}, if_exists="return"),
            app.start("order", {}, thread_id=f"t{number}"),
        ]
        await asyncio.gather(*(calls if number % 2 else reversed(calls)))
    async with app.worker():
        for status in await app.runs():
            await (await app.find(status.run_id)).result(20)
    assert await app.threads.count(status="idle", graph="order") == 10


# Status


async def test_the_status_follows_the_runs_of_a_thread(saver: Checkpointer) -> None:
    gate = Gate()
    app = App(
        {
            "gate": graph(gate.node),
            "ask": graph(ask),
            "wait": graph(wait),
            "doze": graph(doze),
            "fail": graph(fail),
            "stop": graph(add, interrupt_before=["n0"]),
        },
        saver,
    )
    handles = {name: await app.start(name, {}, thread_id=name) for name in app.graphs}
    assert await ids(app, status="busy") == sorted(handles)
    async with app.worker():
        await gate.entered.wait()
        for name in ("ask", "wait", "doze", "stop"):
            await reached(handles[name], "waiting")
        await reached(handles["fail"], "failed")
        found = {each.thread_id: each for each in await app.threads.search()}
        assert {name: each.status for name, each in found.items()} == {
            "gate": "busy",
            "ask": "interrupted",
            "wait": "busy",
            "doze": "busy",
            "fail": "error",
            "stop": "interrupted",
        }
        assert found["fail"].error == "ValueError('no stock')"
        assert (found["ask"].next, found["stop"].next) == (("n0",), ("n0",))
        gate.opened.set()
        await handles["gate"].result(20)
        await app.signal("wait", "parcel", "x")
        await app.answer("ask", "yes")
        await handles["ask"].result(20)
        await handles["wait"].result(20)
    await app.cancel(handles["doze"].run_id)
    assert await ids(app, status="idle") == ["ask", "doze", "gate", "wait"]
    assert await app.threads.count(status="busy") == 0


async def test_the_status_of_a_thread_that_calls_use_is_that_of_the_last_call(saver: Checkpointer) -> None:
    gate = Gate()
    app = App({"gate": graph(gate.node), "ask": graph(ask), "fail": graph(fail)}, saver)
    for name in app.graphs:
        await app.threads.create(name)
    call = asyncio.ensure_future(app.graph("gate").ainvoke({}, thread_id="gate"))
    await gate.entered.wait()
    await app.graph("ask").ainvoke({}, thread_id="ask")
    with pytest.raises(ValueError, match="no stock"):
        await app.graph("fail").ainvoke({}, thread_id="fail")

    statuses = {each.thread_id: each.status for each in await app.threads.search()}
    assert statuses["ask"] == "interrupted"
    assert statuses["fail"] == "error"
    gate.opened.set()
    await call
    assert (await app.threads.get("gate")).status == "idle"


async def test_a_run_that_fails_before_it_begins_is_an_error_of_a_created_thread(saver: Checkpointer) -> None:
    app = app_on(saver)
    await app.threads.create("t")
    handle = await app.start("order", {}, thread_id="t", deadline=1)
    await move_clock(saver, timedelta(seconds=2))
    async with app.worker():
        with pytest.raises(RunFailedError):
            await handle.result(20)

    found = await app.threads.get("t")
    assert (found.status, found.error) == ("error", "its deadline has passed")
    assert await app.run("order", {}, thread_id="t") == {"log": ["add"]}
    assert (await app.threads.get("t")).status == "idle"


# Metadata


async def test_metadata_change_while_a_run_executes_and_stay(saver: Checkpointer) -> None:
    gate = Gate()
    app = app_on(saver, add, gate.node, add)
    await app.threads.create("t", metadata={"user": "ann", "title": None})
    async with app.worker():
        handle = await app.start("order", {}, {"metadata": {"user": "of the run"}}, thread_id="t")
        await gate.entered.wait()
        updated = await app.threads.update("t", {"title": "Order 7", "new": {"a": 1}})
        assert (updated.status, updated.graph) == ("busy", "order")
        gate.opened.set()
        assert await handle.result(20) == {"log": ["add", "gate", "add"]}

    assert (await handle.status()).attempt == 1
    assert (await app.threads.get("t")).metadata == {"user": "ann", "title": "Order 7", "new": {"a": 1}}
    assert await ids(app, metadata={"new": {"a": 1}, "user": "ann"}) == ["t"]


async def test_metadata_above_the_limit_are_refused_by_name(saver: Checkpointer) -> None:
    app = app_on(saver)
    with pytest.raises(
        InvalidOptionError, match=r"metadata='\d+ bytes of JSON' is not possible; it takes .* 65536 bytes"
    ):
        await app.threads.create("t", metadata={"key": "x" * 65536})
    with pytest.raises(UnknownThreadError):
        await app.threads.get("t")
    await app.threads.create("t", metadata={"key": "x" * 60_000})
    with pytest.raises(InvalidOptionError, match="65536 bytes"):
        await app.threads.update("t", {"other": "x" * 6000})
    assert list((await app.threads.get("t")).metadata) == ["key"]


# Copies and deletions


async def test_a_copy_has_the_state_and_the_metadata_and_no_runs(saver: Checkpointer) -> None:
    app = app_on(saver)
    await app.threads.create("t", metadata={"user": "ann"})
    await app.run("order", {}, thread_id="t")

    copy = await app.threads.copy("t", "u")
    other = await app.threads.copy("t")

    assert (copy.thread_id, copy.status, copy.metadata) == ("u", "idle", {"user": "ann"})
    assert UUID(other.thread_id)
    assert (await app.graph("order").aget_state(thread_id="u")).values == {"log": ["add"]}
    assert await app.runs(thread_id="u") == []
    await app.threads.create("v")
    with pytest.raises(ThreadExistsError):
        await app.threads.copy("t", "v")


async def test_a_thread_with_an_unfinished_run_is_not_deleted(saver: Checkpointer) -> None:
    gate = Gate()
    app = app_on(saver, gate.node)
    await app.threads.create("t", metadata={"user": "ann"})
    handle = await app.start("order", {}, thread_id="t")
    with pytest.raises(ThreadBusyError, match=handle.run_id):
        await app.threads.delete("t")
    async with app.worker():
        await gate.entered.wait()
        with pytest.raises(ThreadBusyError, match=handle.run_id) as refused:
            await app.threads.delete("t")
        assert refused.value.worker
        gate.opened.set()
        await handle.result(20)
    await app.threads.delete("t")
    assert await app.threads.search() == []
    assert await app.runs() == []


async def test_a_thread_that_a_call_of_this_process_executes_is_not_deleted(saver: Checkpointer) -> None:
    gate = Gate()
    app = app_on(saver, gate.node)
    call = asyncio.ensure_future(app.graph("order").ainvoke({}, thread_id="t"))
    await gate.entered.wait()
    with pytest.raises(ThreadBusyError, match="another call in this process"):
        await app.threads.delete("t")
    gate.opened.set()
    assert await call == {"log": ["gate"]}


async def test_a_thread_is_deleted_while_a_worker_still_holds_it_after_the_end_of_its_run(saver: Checkpointer) -> None:
    app = app_on(saver)
    await app.run("order", {}, thread_id="t")
    # As the execution of a run holds it, whose end a caller may see before the execution leaves.
    async with only_run(saver, "t", "wait", is_of_run=True):
        await app.threads.delete("t")
    assert await app.threads.search() == []


async def test_a_thread_is_created_again_after_its_deletion(saver: Checkpointer) -> None:
    app = app_on(saver)
    await app.threads.create("t", metadata={"user": "ann"})
    await app.run("order", {}, thread_id="t", key="once")
    await app.threads.delete("t")

    assert (await app.threads.create("t", metadata={"user": "bob"})).metadata == {"user": "bob"}
    assert await app.threads.search(metadata={"user": "ann"}) == []
    assert await app.run("order", {}, thread_id="t", key="once") == {"log": ["add"]}


async def test_upkeep_deletes_created_threads_as_threads_that_are_done(saver: Checkpointer) -> None:
    app = app_on(saver)
    await app.threads.create("created", metadata={"user": "ann"})
    await app.threads.create("started", metadata={"user": "ann"})
    await app.start("order", {}, thread_id="started", delay=timedelta(days=3))
    default, all_done = read_retention(timedelta(0), None), read_retention(None, timedelta(0))

    assert (await Upkeep(saver, app.store, default).once()).threads == 0
    assert (await Upkeep(saver, app.store, all_done).once()).threads == 1
    assert await ids(app, metadata={"user": "ann"}) == ["started"]
    assert (await delete_expired_threads(saver, older_than=timedelta(0))).threads == 0


# Searching


async def test_searches_beside_runs_find_each_thread_exactly_once(saver: Checkpointer) -> None:
    gate = Gate()
    app = app_on(saver, gate.node, *[add] * 5)
    threads = [f"a/{number}" for number in range(12)]
    for thread in [*threads, "b/1"]:
        await app.threads.create(thread, metadata={"user": thread[0]})
    seen: set[str] = set()
    async with app.worker():
        handles = [await app.start("order", {}, thread_id=thread) for thread in threads]
        ended = asyncio.ensure_future(asyncio.gather(*(handle.result(60) for handle in handles)))
        while not ended.done():
            found = await app.threads.search(prefix="a/", metadata={"user": "a"}, sort_by="status", limit=100)
            assert sorted(each.thread_id for each in found) == sorted(threads)
            assert [each.status for each in found] == sorted((each.status for each in found), reverse=True)
            seen |= {each.status for each in found}
            gate.opened.set()
            # A search in memory does not suspend.
            await asyncio.sleep(0)
            for status in ("busy", "idle"):
                assert {each.status for each in await app.threads.search(prefix="a/", status=status)} <= {status}
        await ended
    assert seen <= {"busy", "idle"}
    assert "busy" in seen
    assert await app.threads.count(prefix="a/", status="idle") == 12


async def test_threads_of_a_page_are_in_the_order_that_was_asked_for(saver: Checkpointer) -> None:
    app = app_on(saver)
    for thread in ("c", "a", "b"):
        await app.threads.create(thread)
    await app.run("order", {}, thread_id="a")

    assert [each.thread_id for each in await app.threads.search()] == ["a", "b", "c"]
    assert [each.thread_id for each in await app.threads.search(limit=1, offset=1)] == ["b"]
    found = await app.threads.search(sort_by="created_at", descending=False)
    assert [each.thread_id for each in found] == ["c", "a", "b"]
    assert await ids(app, ids=["b", "a"], prefix="a") == ["a"]
    assert await app.threads.search(ids=[]) == []


# Crashes and bad calls


async def test_a_crash_at_any_call_leaves_a_thread_or_none(saver: Checkpointer) -> None:
    async def use(given: Checkpointer, thread: str) -> None:
        threads = app_on(given).threads
        await threads.create(thread, metadata={"user": "ann"}, if_exists="return")
        await threads.update(thread, {"tags": 1})
        await threads.copy(thread, f"{thread} copy")
        await threads.delete(thread)

    counting = CrashingSaver(saver)
    await use(counting, "counted")
    assert counting.names == ["create", "update", "copy_thread", "find", "delete"]
    for number, point in enumerate(crash_points(counting.calls)):
        thread = f"t{number}"
        # After the last call nothing is refused.
        with suppress(SimulatedCrashError):
            await use(CrashingSaver(saver, point), thread)
        app = app_on(saver)
        known = {each.thread_id: each.metadata for each in await app.threads.search(prefix=thread + " ")}
        known |= {each.thread_id: each.metadata for each in await app.threads.search(ids=[thread])}
        assert all(each in ({"user": "ann"}, {"user": "ann", "tags": 1}) for each in known.values())
        if f"{thread} copy" in known:
            await app.threads.delete(f"{thread} copy")
        await use(saver, thread)
        assert (await app.threads.get(f"{thread} copy")).metadata == {"user": "ann", "tags": 1}


ODD: list[Any] = [-1, 1.5, float("nan"), True, "\ud800", b"x", object(), timedelta(-1)]


def unlike_true(value: Any) -> Any:
    """The value, unless it is possible."""
    return "yes" if value is True else value


CALLS: dict[str, Callable[[AppThreads, Any], Awaitable[Any]]] = {
    "id of a creation": lambda threads, value: threads.create(value),
    "metadata": lambda threads, value: threads.create(metadata=value),
    "value of metadata": lambda threads, value: threads.create(metadata={"key": {1: value}}),
    "if_exists": lambda threads, value: threads.create(if_exists=value),
    "id": lambda threads, value: threads.get(value),
    "id of an update": lambda threads, value: threads.update(value, {}),
    "metadata of an update": lambda threads, value: threads.update("t", value),
    "id of a deletion": lambda threads, value: threads.delete(value),
    "id of a copy": lambda threads, value: threads.copy("t", value),
    "metadata of a search": lambda threads, value: threads.search(metadata=value),
    "status": lambda threads, value: threads.search(status=value),
    "ids": lambda threads, value: threads.search(ids=value),
    "an id": lambda threads, value: threads.search(ids=[value]),
    "prefix": lambda threads, value: threads.search(prefix=value),
    "graph": lambda threads, value: threads.count(graph=value),
    "sort_by": lambda threads, value: threads.search(sort_by=value),
    "descending": lambda threads, value: threads.search(descending=unlike_true(value)),
    "limit": lambda threads, value: threads.search(limit=value),
    "offset": lambda threads, value: threads.search(offset=value),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_value_that_makes_no_sense_is_refused_by_name(saver: Checkpointer, name: str) -> None:
    app = app_on(saver)
    await app.threads.create("t")
    for value in ODD:
        if "id" in name.split() and isinstance(value, int) and not isinstance(value, bool):
            # A whole number is an id.
            continue
        with pytest.raises(InvalidOptionError) as refused:
            await CALLS[name](app.threads, value)
        assert len(str(refused.value)) <= 400
    assert await ids(app) == ["t"]


def test_a_saver_without_a_directory_is_refused() -> None:
    class WithoutDirectory(MemorySaver):
        def __init__(self) -> None:
            super().__init__()
            del self.directory

    with pytest.raises(MissingPowerError, match="'directory'"):
        _ = app_on(WithoutDirectory()).threads
