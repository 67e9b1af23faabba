"""Nodes on executors: pools of processes and threads, lost processes, timeouts, cancellations, values that cross."""

import asyncio
import operator
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    END,
    START,
    Checkpointer,
    CompiledGraph,
    Durability,
    ExecutorFailedError,
    ExecutorImportError,
    ExecutorRaisedError,
    InMemoryCache,
    InvalidOptionError,
    MemorySaver,
    MessagesState,
    NodeExitedError,
    NodeTimeoutError,
    OutsideOfRunError,
    RetryPolicy,
    Send,
    StateGraph,
    StoredType,
    UnstorableValueError,
    UntrackedValue,
)
from durable_graph._runtime.entry import options
from durable_graph._runtime.request.run import Request
from durable_graph._runtime.task.executed import Reference
from durable_graph.graph.policies import CachePolicy
from tests.runtime import heavy
from tests.runtime.pools import Pools, context

pytestmark = pytest.mark.slow

AT_ONCE = RetryPolicy(initial_interval=0, jitter=False)


class State(TypedDict, total=False):
    n: int
    folder: str
    results: Annotated[list[int], operator.add]
    pids: Annotated[list[int], operator.add]
    point: heavy.Point
    anything: Any
    untracked: Annotated[Any, UntrackedValue]


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, mp_context=context()) as started:
        yield started


@pytest.fixture
def pools() -> Iterator[Pools]:
    made = Pools()
    yield made
    made.shutdown()


def graph_of(
    node: Callable[..., Any],
    executor: Executor | Callable[[], Executor],
    saver: Checkpointer | None = None,
    state: Any = State,
    types: Any = (),
    **options: Any,
) -> CompiledGraph[Any, Any, Any, Any]:
    """A graph of one node on the executor."""
    builder = StateGraph(state).add_node("heavy", node, executor=executor, **options).add_edge(START, "heavy")
    return builder.compile(saver, types=types)


async def until_exists(file: Path) -> None:
    while not file.exists():  # noqa: ASYNC110, ASYNC240  # another process makes it
        await asyncio.sleep(0.002)


# Results


async def test_a_node_runs_in_a_process_of_the_pool(
    saver: Checkpointer, durability: Durability, pool: ProcessPoolExecutor
) -> None:
    graph = graph_of(heavy.square, pool, saver)

    result = await graph.ainvoke({"n": 7}, thread_id="t", durability=durability)

    assert result["results"] == [49]
    assert os.getpid() not in result["pids"]
    snapshot = await graph.aget_state(thread_id="t")
    assert snapshot.values["results"] == [49]


async def test_tasks_of_a_fan_out_run_in_several_processes_and_are_applied_in_order(
    saver: Checkpointer, durability: Durability, pool: ProcessPoolExecutor
) -> None:
    builder = StateGraph(State).add_node("square", heavy.square, executor=pool)
    builder.add_conditional_edges(START, lambda state: [Send("square", {"n": n}) for n in range(20)], ["square"])

    result = await builder.compile(saver).ainvoke({}, thread_id="t", durability=durability)

    assert result["results"] == [n**2 for n in range(20)]


async def test_a_thread_pool_and_a_class_of_executors_are_executors(saver: Checkpointer) -> None:
    with ThreadPoolExecutor(1) as threads:
        in_thread = await graph_of(heavy.square, threads, saver).ainvoke({"n": 2}, thread_id="a")
    made = await graph_of(heavy.square, ThreadPoolExecutor, saver).ainvoke({"n": 3}, thread_id="b")

    assert (in_thread["results"], made["results"]) == ([4], [9])


@pytest.mark.parametrize("kind", ["processes", "threads"])
async def test_instances_of_classes_of_the_state_cross_both_ways(
    saver: Checkpointer, pool: ProcessPoolExecutor, kind: str
) -> None:
    with ThreadPoolExecutor(1) as threads:
        graph = graph_of(heavy.move, pool if kind == "processes" else threads, saver)

        result = await graph.ainvoke({"point": heavy.Point(1, 2)}, thread_id="t")

    assert result["point"] == heavy.Point(2, 2)


async def test_a_state_that_is_a_dataclass_crosses_both_ways(saver: Checkpointer, pool: ProcessPoolExecutor) -> None:
    graph = graph_of(heavy.count, pool, saver, state=heavy.Counted)

    result = await graph.ainvoke(heavy.Counted(n=4), thread_id="t")

    assert result == {"n": 5, "seen": [4]}


async def test_listed_classes_and_stored_types_cross_both_ways(saver: Checkpointer, pool: ProcessPoolExecutor) -> None:
    types = [heavy.Point, StoredType(heavy.Unlisted, "unlisted", heavy.encode_unlisted, heavy.decode_unlisted)]
    graph = graph_of(heavy.return_anything, pool, saver, types=types)

    given = [heavy.Point(1, 2), heavy.Unlisted("kept")]
    result = await graph.ainvoke({"anything": given}, thread_id="t")

    assert result["anything"] == [heavy.Unlisted("kept"), heavy.Point(1, 2)]


async def test_messages_cross_both_ways(saver: Checkpointer, pool: ProcessPoolExecutor) -> None:
    graph = graph_of(heavy.answer, pool, saver, state=MessagesState)

    result = await graph.ainvoke({"messages": [("user", "hello")]}, thread_id="t")

    assert [message.content for message in result["messages"]] == ["hello", "hello!"]


async def test_commands_sends_and_overwrites_are_results(
    saver: Checkpointer, durability: Durability, pool: ProcessPoolExecutor
) -> None:
    builder = (
        StateGraph(State)
        .add_node(heavy.go_on, executor=pool, destinations=["collect"])
        .add_node("collect", heavy.collect, executor=pool)
    )
    builder.add_edge(START, "go_on").add_edge("collect", END)

    result = await builder.compile(saver).ainvoke({"results": [7, 8]}, thread_id="t", durability=durability)

    assert result["results"] == [1, 5]


async def test_a_function_on_an_executor_gets_a_copy_of_the_state(saver: Checkpointer) -> None:
    with ThreadPoolExecutor(1) as threads:
        result = await graph_of(heavy.change_argument, threads, saver).ainvoke({"results": [1]}, thread_id="t")

    assert result["results"] == [1]


async def test_a_graph_without_a_checkpointer_runs_nodes_on_executors(pool: ProcessPoolExecutor) -> None:
    result = await graph_of(heavy.square, pool).ainvoke({"n": 3})

    assert result["results"] == [9]


async def test_a_cached_result_needs_no_executor(pool: ProcessPoolExecutor) -> None:
    builder = StateGraph(State).add_node("square", heavy.square, executor=pool, cache_policy=CachePolicy())
    graph = builder.add_edge(START, "square").compile(MemorySaver(), cache=InMemoryCache())

    first = await graph.ainvoke({"n": 3}, thread_id="a")
    second = await graph.ainvoke({"n": 3}, thread_id="b")

    assert first == second


async def test_two_nodes_with_one_factory_share_its_executor(pools: Pools) -> None:
    builder = StateGraph(State).add_node("a", heavy.square, executor=pools).add_node("b", heavy.square, executor=pools)
    builder.add_edge(START, "a").add_edge("a", "b")

    result = await builder.compile().ainvoke({"n": 2})

    assert result["results"] == [4, 4]
    assert len(pools.made) == 1


# Errors of the function


async def test_an_exception_is_raised_with_its_class_and_the_traceback_of_its_process(
    saver: Checkpointer, pool: ProcessPoolExecutor
) -> None:
    with pytest.raises(ValueError, match="no 5") as raised:
        await graph_of(heavy.raise_value_error, pool, saver).ainvoke({"n": 5}, thread_id="t")

    assert "in raise_value_error" in str(raised.value.__cause__)


async def test_an_exception_whose_constructor_makes_its_message_is_rebuilt_with_its_attributes(
    pool: ProcessPoolExecutor,
) -> None:
    with pytest.raises(heavy.ClassifiedError) as raised:
        await graph_of(heavy.raise_classified, pool).ainvoke({})

    assert (raised.value.code, raised.value.args) == (7, ("code 7",))


async def test_an_exception_that_cannot_be_pickled_is_an_error_with_its_texts(pool: ProcessPoolExecutor) -> None:
    with pytest.raises(ExecutorRaisedError) as raised:
        await graph_of(heavy.raise_locked, pool).ainvoke({})

    error = raised.value
    assert (error.where, error.type_name) == ("node 'heavy'", "tests.runtime.heavy.LockedError")
    assert error.message == "the file is locked"
    assert "in raise_locked" in error.traceback


async def test_an_exception_whose_class_raises_when_it_is_rebuilt_is_an_error_with_its_texts(
    pool: ProcessPoolExecutor,
) -> None:
    with pytest.raises(ExecutorRaisedError, match="lost on the way"):
        await graph_of(heavy.raise_stubborn, pool).ainvoke({})


async def test_a_function_that_exits_is_a_failed_node(pool: ProcessPoolExecutor) -> None:
    with pytest.raises(NodeExitedError) as raised:
        await graph_of(heavy.exit_process, pool).ainvoke({})

    assert (raised.value.node, raised.value.code) == ("heavy", 3)


@pytest.mark.parametrize("kind", ["processes", "threads"])
@pytest.mark.parametrize("function", [heavy.ask, heavy.write_to_stream, heavy.call_task])
async def test_a_function_on_an_executor_is_outside_of_the_run(
    pool: ProcessPoolExecutor, kind: str, function: Callable[..., Any]
) -> None:
    with ThreadPoolExecutor(1) as threads, pytest.raises(OutsideOfRunError) as raised:
        await graph_of(function, pool if kind == "processes" else threads).ainvoke({})

    assert raised.value.__notes__[:1] == ["node 'heavy' runs on an executor, which has no access to the run"]


async def test_a_failed_attempt_is_retried_by_its_policy(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    policy = RetryPolicy(initial_interval=0, jitter=False, retry_on=heavy.ClassifiedError)
    graph = graph_of(heavy.fail_once, pool, MemorySaver(), retry_policy=policy)

    result = await graph.ainvoke({"folder": str(tmp_path)}, thread_id="t")

    assert result["results"] == [1]


async def test_an_error_handler_runs_in_the_process_of_the_run(pool: ProcessPoolExecutor) -> None:
    def handle(state: State, error: Any) -> State:
        return {"results": [os.getpid()], "anything": repr(error.error)}

    graph = graph_of(heavy.raise_value_error, pool, MemorySaver(), error_handler=handle)

    result = await graph.ainvoke({"n": 1}, thread_id="t")

    assert (result["results"], result["anything"]) == ([os.getpid()], "ValueError('no 1')")


# Values that cannot cross


async def test_a_result_that_cannot_be_stored_is_an_error_with_its_path(
    saver: Checkpointer, durability: Durability, pool: ProcessPoolExecutor
) -> None:
    graph = graph_of(heavy.return_unlisted, pool, saver)

    with pytest.raises(UnstorableValueError) as raised:
        await graph.ainvoke({"n": 1}, thread_id="t", durability=durability)

    assert (raised.value.channel, raised.value.path) == ("the result of node 'heavy'", "['anything'][0]")
    assert (await graph.aget_state(thread_id="t")).next == ("heavy",)


async def test_an_input_that_cannot_be_encoded_is_an_error_with_its_path(pool: ProcessPoolExecutor) -> None:
    with pytest.raises(UnstorableValueError, match="the input of node 'heavy'") as raised:
        await graph_of(heavy.square, pool).ainvoke({"n": 1, "untracked": heavy.Unlisted("no")})

    assert raised.value.path.endswith("['untracked']")


@dataclass
class Hidden:
    n: int


Hidden.__qualname__ = "elsewhere.Hidden"


async def test_an_argument_whose_class_the_other_process_cannot_import_is_an_error_that_names_it(
    pool: ProcessPoolExecutor,
) -> None:
    graph = graph_of(heavy.return_anything, pool, types=[Hidden])

    with pytest.raises(ExecutorImportError, match=r"elsewhere\.Hidden"):
        await graph.ainvoke({"anything": [Hidden(1)]})


# Functions that cannot be imported


async def test_a_function_that_is_missing_in_the_executors_process_is_an_error_that_names_it() -> None:
    class Elsewhere(ThreadPoolExecutor):
        """A pool whose threads have another version of the program."""

        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            reference, *others = args
            return super().submit(fn, Reference(reference.module, "gone"), *others, **kwargs)

    with Elsewhere(1) as pool, pytest.raises(ExecutorImportError) as raised:
        await graph_of(heavy.square, pool).ainvoke({"n": 1})

    assert raised.value.function == "tests.runtime.heavy.square"
    assert "no attribute 'gone'" in raised.value.why


# Lost processes


async def test_a_killed_process_is_a_failure_and_a_retry_on_a_new_pool_finishes(
    saver: Checkpointer, durability: Durability, pools: Pools, tmp_path: Path
) -> None:
    graph = graph_of(heavy.kill_itself_once, pools, saver, retry_policy=AT_ONCE)

    result = await graph.ainvoke({"n": 6, "folder": str(tmp_path)}, thread_id="t", durability=durability)

    assert result["results"] == [6]
    assert len(pools.made) == 2


async def test_every_task_of_a_fan_out_finishes_although_a_process_is_killed(
    saver: Checkpointer, durability: Durability, tmp_path: Path
) -> None:
    pools = Pools(2)
    builder = StateGraph(State).add_node("heavy", heavy.kill_itself_once, executor=pools, retry_policy=AT_ONCE)
    folder = str(tmp_path)
    builder.add_conditional_edges(
        START, lambda _: [Send("heavy", {"n": n, "folder": folder}) for n in range(30)], ["heavy"]
    )

    result = await builder.compile(saver).ainvoke({}, thread_id="t", durability=durability)
    pools.shutdown()

    assert result["results"] == list(range(30))
    assert len(pools.made) == 2


@pytest.mark.every_store
async def test_without_a_policy_a_killed_process_fails_the_run_and_a_resume_finishes_it(
    saver: Checkpointer, durability: Durability, pools: Pools, tmp_path: Path
) -> None:
    graph = graph_of(heavy.kill_itself_once, pools, saver)

    with pytest.raises(ExecutorFailedError) as raised:
        await graph.ainvoke({"n": 6, "folder": str(tmp_path)}, thread_id="t", durability=durability)
    result = await graph.ainvoke(None, thread_id="t", durability=durability)

    assert (raised.value.where, raised.value.kind, raised.value.has_factory) == ("node 'heavy'", "lost", True)
    assert "retry_policy" in str(raised.value)
    assert result["results"] == [6]


async def test_a_broken_executor_that_no_factory_replaces_is_an_error_that_names_the_remedy(
    saver: Checkpointer, tmp_path: Path
) -> None:
    with ProcessPoolExecutor(1, mp_context=context()) as broken:
        graph = graph_of(heavy.kill_itself_once, broken, saver, retry_policy=AT_ONCE)

        with pytest.raises(ExecutorFailedError, match="pass a factory") as raised:
            await graph.ainvoke({"n": 6, "folder": str(tmp_path)}, thread_id="t")

    assert (raised.value.kind, raised.value.has_factory) == ("refused", False)


async def test_an_executor_that_is_shut_down_is_an_error(pool: ProcessPoolExecutor) -> None:
    threads = ThreadPoolExecutor(1)
    threads.shutdown()

    with pytest.raises(ExecutorFailedError, match="after shutdown") as raised:
        await graph_of(heavy.square, threads).ainvoke({"n": 1})

    assert raised.value.kind == "refused"


async def test_an_executor_that_raises_another_error_than_pools_is_replaced_by_its_factory() -> None:
    made: list[Executor] = []

    class Away(ThreadPoolExecutor):
        def submit(self, *args: Any, **kwargs: Any) -> Future[Any]:
            message = "the scheduler is away"
            raise ConnectionError(message)

    def make() -> Executor:
        made.append(ThreadPoolExecutor(1) if made else Away(1))
        return made[-1]

    with pytest.raises(ExecutorFailedError, match="the scheduler is away") as raised:
        await graph_of(heavy.square, Away).ainvoke({"n": 1})
    result = await graph_of(heavy.square, make).ainvoke({"n": 2})

    assert (raised.value.kind, raised.value.has_factory) == ("refused", True)
    assert (result["results"], len(made)) == ([4], 2)


async def test_an_executor_that_cancels_a_call_has_lost_it(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as threads:
        builder = StateGraph(State).add_node("heavy", heavy.wait_for_file, executor=threads)
        builder.add_conditional_edges(
            START, lambda _: [Send("heavy", {"n": n, "folder": str(tmp_path)}) for n in range(2)], ["heavy"]
        )
        running = asyncio.ensure_future(builder.compile(MemorySaver()).ainvoke({}, thread_id="t"))
        await until_exists(tmp_path / "running")
        await asyncio.to_thread(until_queued, threads)
        threads.shutdown(wait=False, cancel_futures=True)
        (tmp_path / "go").touch()

        with pytest.raises(ExecutorFailedError) as raised:
            await running

    assert raised.value.kind == "lost"


def until_queued(threads: ThreadPoolExecutor) -> None:
    while threads._work_queue.empty():
        pass


async def test_a_factory_that_raises_is_a_failure_that_is_retried() -> None:
    calls: list[int] = []

    def make() -> Executor:
        calls.append(1)
        if len(calls) == 1:
            message = "the cluster is away"
            raise ConnectionError(message)
        return ThreadPoolExecutor(1)

    with pytest.raises(ExecutorFailedError, match="the cluster is away") as raised:
        await graph_of(heavy.square, make).ainvoke({"n": 1})
    result = await graph_of(heavy.square, make, retry_policy=AT_ONCE).ainvoke({"n": 2})

    assert raised.value.kind == "factory"
    assert result["results"] == [4]


async def test_a_factory_that_returns_no_executor_is_an_error() -> None:
    def make() -> Any:
        return "a pool"

    with pytest.raises(InvalidOptionError, match=r"concurrent\.futures\.Executor"):
        await graph_of(heavy.square, make).ainvoke({"n": 1})


FORKED = """
import asyncio, os, warnings
from concurrent.futures import ThreadPoolExecutor
from durable_graph import START, StateGraph
from tests.runtime import heavy

def make():
    return ThreadPoolExecutor(1)

graph = StateGraph(dict).add_node(heavy.square, executor=make).add_edge(START, "square").compile()
print(asyncio.run(graph.ainvoke({"n": 2}))["results"], flush=True)
warnings.simplefilter("ignore")
if (child := os.fork()) == 0:
    print(asyncio.run(graph.ainvoke({"n": 3}))["results"], flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""
"""A server that has run a graph before it forks its processes."""


def test_a_forked_process_makes_an_executor_of_its_own() -> None:
    ran = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60, check=True)

    assert ran.stdout.split() == ["[4]", "[9]"]


# Timeouts and cancellations


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled calls are waited for hardly at all."""
    monkeypatch.setattr(options, "Request", partial(Request, grace=0.01))


@pytest.mark.usefixtures("short_grace")
async def test_a_timeout_gives_up_a_call_whose_late_result_is_dropped(
    saver: Checkpointer, pool: ProcessPoolExecutor, tmp_path: Path
) -> None:
    graph = graph_of(heavy.wait_for_file, pool, saver, timeout=0.05)

    with pytest.raises(NodeTimeoutError) as raised:
        await graph.ainvoke({"n": 1, "folder": str(tmp_path)}, thread_id="t")
    (tmp_path / "go").touch()

    assert (raised.value.node, raised.value.kind) == ("heavy", "run")
    snapshot = await graph.aget_state(thread_id="t")
    assert (snapshot.next, snapshot.values.get("results", [])) == (("heavy",), [])


async def test_a_failure_within_the_grace_period_of_a_timeout_is_too_late(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as threads:
        graph = graph_of(heavy.fail_late, threads, MemorySaver(), timeout=0.05)

        with pytest.raises(NodeTimeoutError):
            await graph.ainvoke({"folder": str(tmp_path)}, thread_id="t")


async def test_a_failure_within_the_grace_period_of_a_cancellation_is_a_cancellation(
    saver: Checkpointer, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(1) as threads:
        graph = graph_of(heavy.fail_late, threads, saver)
        running = asyncio.ensure_future(graph.ainvoke({"folder": str(tmp_path)}, thread_id="t"))
        await until_exists(tmp_path / "running")
        running.cancel()

        with pytest.raises(asyncio.CancelledError):
            await running
    snapshot = await graph.aget_state(thread_id="t")
    assert (snapshot.next, snapshot.tasks[0].error) == (("heavy",), None)


@pytest.mark.usefixtures("short_grace")
async def test_a_timeout_of_a_send_applies_to_a_node_on_an_executor(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    builder = StateGraph(State).add_node("heavy", heavy.wait_for_file, executor=pool)
    given = {"n": 1, "folder": str(tmp_path)}
    builder.add_conditional_edges(START, lambda _: [Send("heavy", given, timeout=0.05)], ["heavy"])

    with pytest.raises(NodeTimeoutError):
        await builder.compile(MemorySaver()).ainvoke({}, thread_id="t")
    (tmp_path / "go").touch()


async def test_a_cancelled_run_waits_for_a_running_call_and_keeps_its_result(
    saver: Checkpointer, pool: ProcessPoolExecutor, tmp_path: Path
) -> None:
    graph = graph_of(heavy.wait_for_file, pool, saver)
    running = asyncio.ensure_future(graph.ainvoke({"n": 8, "folder": str(tmp_path)}, thread_id="t"))
    await until_exists(tmp_path / "running")
    running.cancel()
    (tmp_path / "go").touch()

    with pytest.raises(asyncio.CancelledError):
        await running
    result = await graph.ainvoke(None, thread_id="t")

    assert result["results"] == [8]


async def test_a_cancelled_run_does_not_begin_calls_that_wait_for_a_process(
    saver: Checkpointer, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(1) as threads:
        occupied = threads.submit(heavy.wait_for_file, {"n": 0, "folder": str(tmp_path)})
        graph = graph_of(heavy.count_calls, threads, saver)
        running = asyncio.ensure_future(graph.ainvoke({"n": 8, "folder": str(tmp_path)}, thread_id="t"))
        await asyncio.to_thread(until_queued, threads)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        (tmp_path / "go").touch()
        occupied.result()

    assert not (tmp_path / "called").exists()
    assert (await graph.aget_state(thread_id="t")).next == ("heavy",)


@pytest.mark.usefixtures("short_grace")
async def test_a_call_that_outlives_the_grace_period_is_dropped(saver: Checkpointer, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as threads:
        graph = graph_of(heavy.wait_for_file, threads, saver)
        given = {"n": 8, "folder": str(tmp_path)}
        running = asyncio.ensure_future(graph.ainvoke(given, thread_id="t"))
        await until_exists(tmp_path / "running")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        (tmp_path / "go").touch()

    assert (await graph.aget_state(thread_id="t")).next == ("heavy",)


async def test_waiting_for_many_calls_takes_one_thread_beside_those_of_the_executor(tmp_path: Path) -> None:
    before = heavy.thread_idents()
    with ThreadPoolExecutor(1) as threads:
        builder = StateGraph(State).add_node("heavy", heavy.wait_for_file, executor=threads)
        folder = str(tmp_path)
        builder.add_conditional_edges(
            START, lambda _: [Send("heavy", {"n": n, "folder": folder}) for n in range(100)], ["heavy"]
        )
        running = asyncio.ensure_future(builder.compile().ainvoke({}))
        await until_exists(tmp_path / "running")

        in_threads = heavy.thread_idents()
        (tmp_path / "go").touch()
        await running

    assert len(in_threads - before) <= 2
