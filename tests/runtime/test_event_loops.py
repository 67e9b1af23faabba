"""One saver in several event loops: sequential loops, concurrent loops, and a loop inside a plain node."""

import asyncio
import inspect
import operator
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    CheckpointerMisuseError,
    Command,
    CompiledGraph,
    InMemoryCache,
    InvalidCallError,
    MemorySaver,
    StateGraph,
    ThreadBusyError,
    interrupt,
    task,
)
from durable_graph._runtime.commit.busy import only_run
from durable_graph.testing.conformance.saver_under_test import commit, loaded, some_thread
from durable_graph.testing.rows import Step, state_of
from durable_graph_postgres import PostgresSaver
from durable_graph_sqlite import SqliteSaver
from tests.errors.kinds import of_kind
from tests.savers import SAVERS, dropped

SCHEMA = "event loops"


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


NewSaver = Callable[[], Checkpointer]


@pytest.fixture(params=SAVERS)
def new_saver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewSaver]:
    """Makes savers on one store; in memory they are one and the same saver."""
    if request.param == "memory":
        memory = MemorySaver()
        yield lambda: memory
    elif request.param == "sqlite":
        yield lambda: SqliteSaver(tmp_path / "runs.db")
    else:
        dsn = request.getfixturevalue("postgres")
        yield lambda: PostgresSaver(dsn, schema=SCHEMA, pool_size=4)
        asyncio.run(dropped(dsn, SCHEMA))


def graph_on(saver: Checkpointer) -> CompiledGraph[Any, Any, Any, Any]:
    return StateGraph(State).add_node("node", lambda state: {"log": ["ran"]}).add_edge(START, "node").compile(saver)


def test_one_graph_runs_in_sequential_event_loops(new_saver: NewSaver) -> None:
    saver = new_saver()
    graph = graph_on(saver)

    for times in range(1, 4):
        assert asyncio.run(graph.ainvoke({}, thread_id="t")) == {"log": ["ran"] * times}

    assert asyncio.run(graph.aget_state(thread_id="t")).values == {"log": ["ran"] * 3}
    asyncio.run(saver.aclose())
    asyncio.run(saver.aclose())
    with pytest.raises(CheckpointerMisuseError, check=of_kind("closed"), match="may be entered again"):
        asyncio.run(graph.ainvoke({}, thread_id="t"))


def test_async_with_may_be_entered_once_in_each_event_loop(new_saver: NewSaver) -> None:
    saver = new_saver()
    graph = graph_on(saver)

    async def use() -> Any:
        async with saver:
            return await graph.ainvoke({}, thread_id="t")

    for times in range(1, 4):
        assert asyncio.run(use()) == {"log": ["ran"] * times}
    with pytest.raises(CheckpointerMisuseError, check=of_kind("closed")):
        asyncio.run(graph.ainvoke({}, thread_id="t"))


async def test_entering_a_saver_while_it_closes_opens_it_again(new_saver: NewSaver) -> None:
    saver = new_saver()
    async with saver:
        await some_thread(saver)
    async with saver:
        closing = asyncio.create_task(saver.aclose())
        await asyncio.sleep(0)
        async with saver:
            assert (await loaded(saver, "thread")).thread.version == 3
        await closing


@pytest.mark.parametrize("turns", range(8))
def test_a_commit_in_progress_when_its_loop_shuts_down_is_settled_before_the_next_loop_reads(
    new_saver: NewSaver, turns: int
) -> None:
    saver = new_saver()
    writer = asyncio.run(some_thread(saver))
    unit = writer.unit(Step({"count": b"4"}, {"log": b"4,"}))

    async def begin() -> None:
        calls.append(asyncio.ensure_future(saver.commit(unit)))
        for _ in range(turns):
            await asyncio.sleep(0)

    calls: list[asyncio.Task[object]] = []
    # The loop cancels the call when it shuts down.
    asyncio.run(begin())
    found = asyncio.run(loaded(saver, "thread"))
    if found.thread.version == 4:
        writer.applied(unit)
    assert (found.thread, state_of(found)) == (writer.thread, writer.state())
    # The commit of the first loop writes nothing later.
    asyncio.run(commit(saver, writer, Step({"count": b"5"})))
    assert state_of(asyncio.run(loaded(saver, "thread"))) == writer.state()
    asyncio.run(saver.aclose())


_CLOSED_BY_HAND = """
import asyncio, sys
from durable_graph.testing.conformance.saver_under_test import commit, loaded, some_thread
from durable_graph.testing.rows import Step, state_of
from durable_graph_postgres import PostgresSaver
from durable_graph_sqlite import SqliteSaver

kind, place, schema = sys.argv[1:]
for turns in range(8):
    saver = SqliteSaver(place) if kind == "sqlite" else PostgresSaver(place, schema=schema)
    thread = f"thread {turns}"
    first = asyncio.new_event_loop()
    writer = first.run_until_complete(some_thread(saver, thread))
    unit = writer.unit(Step({"count": b"4"}, {"log": b"4,"}))

    async def begin():
        call = asyncio.ensure_future(saver.commit(unit))
        for _ in range(turns):
            await asyncio.sleep(0)
        return call

    call = first.run_until_complete(begin())
    # The call is neither cancelled nor notified.
    first.close()
    found = asyncio.run(loaded(saver, thread))
    if found.thread.version == 4:
        writer.applied(unit)
    assert (found.thread, state_of(found)) == (writer.thread, writer.state())
    asyncio.run(commit(saver, writer, Step({"count": b"5"})))
    asyncio.run(saver.aclose())
    print(turns)
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_commit_in_progress_in_a_loop_closed_by_hand_is_settled_before_the_next_loop_reads(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    place = str(tmp_path / "runs.db") if kind == "sqlite" else request.getfixturevalue("postgres")
    # In a process of its own: asyncio's reports about abandoned tasks are not the subject of this test.
    command = [sys.executable, "-c", _CLOSED_BY_HAND, kind, place, SCHEMA]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if kind == "postgres":
        asyncio.run(dropped(place, SCHEMA))

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(turns) for turns in range(8)]


async def test_savers_with_connections_refuse_a_second_running_loop(new_saver: NewSaver) -> None:
    async with new_saver() as saver:
        graph = graph_on(saver)
        await graph.ainvoke({}, thread_id="t")
        elsewhere = asyncio.to_thread(lambda: asyncio.run(graph.ainvoke({}, thread_id="t")))
        if isinstance(saver, MemorySaver):
            assert await elsewhere == {"log": ["ran", "ran"]}
        else:
            with pytest.raises(
                CheckpointerMisuseError, check=of_kind("loop"), match="open a separate saver for each loop"
            ):
                await elsewhere
            assert await graph.ainvoke({}, thread_id="t") == {"log": ["ran", "ran"]}


def test_event_loops_in_several_threads_may_share_a_memory_saver() -> None:
    saver = MemorySaver()
    graph = graph_on(saver)
    failures: list[BaseException] = []

    async def run_many(name: str) -> None:
        for number in range(10):
            await graph.ainvoke({}, thread_id=f"{name} {number}")
            await graph.ainvoke({}, thread_id="shared", if_busy="wait")

    def loop_of_its_own(name: str) -> None:
        try:
            asyncio.run(run_many(name))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=loop_of_its_own, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert asyncio.run(graph.aget_state(thread_id="shared")).values == {"log": ["ran"] * 40}
    assert len(asyncio.run(saver.list_threads())) == 41


def test_every_call_of_a_memory_saver_takes_its_lock() -> None:
    calls = {
        name: call
        for name, call in vars(MemorySaver).items()
        if inspect.isfunction(call) and not name.startswith("_") and name != "aclose"
    }

    assert {"load", "commit", "prune"} <= calls.keys()
    # These two take the lock themselves.
    assert [name for name, call in calls.items() if not hasattr(call, "__wrapped__")] == ["commit", "save_writes"]


def test_writes_to_a_memory_saver_wait_for_calls_in_other_threads() -> None:
    saver = MemorySaver()
    writer = asyncio.run(some_thread(saver))

    async def commit_one() -> None:
        await saver.commit(writer.unit())

    async def save_one() -> None:
        await saver.save_writes(writer.batch(writer.record()))

    for write in (commit_one, save_one):
        with saver._lock:
            other = threading.Thread(target=asyncio.run, args=[write()])
            other.start()
            other.join(0.1)
            assert other.is_alive()
        other.join()


def test_event_loops_in_several_threads_may_share_an_in_memory_cache() -> None:
    cache = InMemoryCache(max_entries=3)
    failures: list[BaseException] = []

    async def use() -> None:
        for number in range(2000):
            key = (("node",), str(number % 7))
            await cache.aset({key: (b"value", None)})
            assert (await cache.aget([key])).get(key) in (None, b"value")

    def loop_of_its_own() -> None:
        try:
            asyncio.run(use())
        except BaseException as error:
            failures.append(error)

    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=loop_of_its_own) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switching)

    assert failures == []


def test_a_loop_that_was_closed_during_a_call_does_not_keep_the_thread_busy() -> None:
    saver = MemorySaver()
    first = asyncio.new_event_loop()
    holding, waiting = only_run(saver, "t", "reject"), only_run(saver, "t", "wait")

    async def hold_and_wait() -> None:
        await holding.__aenter__()
        # Referenced by the test, so that the garbage collector does not clean up after it.
        left.append(asyncio.ensure_future(waiting.__aenter__()))
        await asyncio.sleep(0)

    left: list[Awaitable[None]] = []
    first.run_until_complete(hold_and_wait())

    async def is_busy() -> bool:
        try:
            async with only_run(saver, "t", "reject"):
                return False
        except ThreadBusyError:
            return True

    assert asyncio.run(is_busy())
    first.close()
    assert not asyncio.run(is_busy())
    del left[:]


# A plain node with an event loop of its own


@task
async def doubled(number: int) -> int:
    return 2 * number


class Number(TypedDict, total=False):
    number: int


def asking_child() -> CompiledGraph[Any, Any, Any, Any]:
    async def count(state: Number) -> Number:
        return {"number": state["number"] + 5}

    def ask(state: Number) -> Number:
        return {"number": state["number"] + interrupt("how many more?")}

    builder = StateGraph(Number).add_node("count", count).add_node("ask", ask)
    return builder.add_edge(START, "count").add_edge("count", "ask").compile()


def around(node: Callable[[Number], Any], saver: Checkpointer) -> CompiledGraph[Any, Any, Any, Any]:
    return StateGraph(Number).add_node("node", node).add_edge(START, "node").compile(saver)


async def test_a_plain_node_may_run_a_nested_graph_and_tasks_in_an_event_loop_of_its_own(saver: Checkpointer) -> None:
    child = asking_child()

    async def call() -> Number:
        made = await child.ainvoke({"number": 1})
        return {"number": await doubled(made["number"])}

    graph = around(lambda state: asyncio.run(call()), saver)

    stopped = await graph.ainvoke({}, thread_id="t")
    assert [each.value for each in stopped["__interrupt__"]] == ["how many more?"]
    nested = (await graph.aget_state(thread_id="t", subgraphs=True)).tasks[0].state
    assert nested is not None
    assert nested.values == {"number": 6}
    assert await graph.ainvoke(Command(resume=3), thread_id="t") == {"number": 18}


async def test_a_nested_graph_in_an_event_loop_of_a_plain_node_is_cancelled_with_its_call(saver: Checkpointer) -> None:
    begun, cancelled = threading.Event(), threading.Event()

    async def endless(state: Number) -> Number:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return {}

    child = StateGraph(Number).add_node("endless", endless).add_edge(START, "endless").compile()

    async def call() -> Number:
        calling = asyncio.ensure_future(child.ainvoke({}))
        await asyncio.to_thread(begun.wait)
        calling.cancel()
        await asyncio.wait([calling])
        return {"number": 1 if cancelled.is_set() else 0}

    assert await around(lambda state: asyncio.run(call()), saver).ainvoke({}, thread_id="t") == {"number": 1}


async def test_streaming_a_nested_graph_in_an_event_loop_of_a_plain_node_is_refused_with_a_remedy(
    saver: Checkpointer,
) -> None:
    child = asking_child()

    async def read() -> Number:
        return {"number": len([chunk async for chunk in child.astream({"number": 1})])}

    with pytest.raises(InvalidCallError, check=of_kind("stream"), match="make the node `async def`"):
        await around(lambda state: asyncio.run(read()), saver).ainvoke({}, thread_id="t")

    # The remedy.
    async def node(state: Number) -> Number:
        return await read()

    stopped = await around(node, saver).ainvoke({}, thread_id="u")
    assert [each.value for each in stopped["__interrupt__"]] == ["how many more?"]
