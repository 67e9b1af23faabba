"""Tasks on executors: their calls are recorded as all others are, and run in another process."""

import asyncio
import functools
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from durable_graph import (
    Checkpointer,
    Durability,
    ExecutorFailedError,
    ExecutorImportError,
    GraphValidationError,
    InMemoryCache,
    InvalidOptionError,
    NodeTimeoutError,
    RetryPolicy,
    Runtime,
    TimeoutPolicy,
    UnstorableValueError,
    entrypoint,
    task,
)
from durable_graph._runtime.entry import options
from durable_graph._runtime.request.run import Request
from durable_graph.graph.policies import CachePolicy
from tests.runtime import heavy
from tests.runtime.pools import Pools, context

pytestmark = pytest.mark.slow

AT_ONCE = RetryPolicy(initial_interval=0, jitter=False)


def unstarted() -> Executor:
    return ThreadPoolExecutor(1)


@task(executor=unstarted)
def doubled(n: int) -> int:
    """A decorated function: its module has the task under its name."""
    return 2 * n


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, mp_context=context()) as started:
        yield started


@pytest.fixture
def pools() -> Iterator[Pools]:
    made = Pools()
    yield made
    made.shutdown()


async def test_calls_run_in_processes_of_the_pool_beside_each_other(
    saver: Checkpointer, durability: Durability, pool: ProcessPoolExecutor
) -> None:
    cube = task(heavy.cube, executor=pool)

    @entrypoint(checkpointer=saver)
    async def flow(count: int) -> list[int]:
        return await asyncio.gather(*(cube(n, plus=1) for n in range(count)))

    assert await flow.ainvoke(5, thread_id="t", durability=durability) == [n**3 + 1 for n in range(5)]


async def test_a_recorded_call_is_not_repeated_and_needs_no_executor(
    saver: Checkpointer, durability: Durability
) -> None:
    threads = ThreadPoolExecutor(1)
    cube = task(heavy.cube, executor=threads)
    attempts: list[int] = []

    @entrypoint(checkpointer=saver)
    async def flow(n: int) -> int:
        result = await cube(n)
        attempts.append(result)
        if len(attempts) == 1:
            message = "after the call"
            raise ConnectionError(message)
        return result

    with pytest.raises(ConnectionError):
        await flow.ainvoke(5, thread_id="t", durability=durability)
    threads.shutdown()

    assert await flow.ainvoke(None, thread_id="t", durability=durability) == 125


async def test_a_decorated_function_is_found_below_its_task(saver: Checkpointer) -> None:
    @entrypoint(checkpointer=saver)
    async def flow(n: int) -> int:
        return await doubled(n)

    assert await flow.ainvoke(4, thread_id="t") == 8


async def test_a_decorated_function_is_found_by_a_process_of_a_pool(pools: Pools) -> None:
    decorated = heavy.cubed_on(pools)

    @entrypoint()
    async def flow(n: int) -> int:
        result: int = await decorated(n)
        return result

    assert await flow.ainvoke(3) == 27


async def test_a_killed_process_fails_the_call_and_a_retry_finishes_it(
    saver: Checkpointer, durability: Durability, pools: Pools, tmp_path: Path
) -> None:
    fragile = task(heavy.kill_itself_once, executor=pools, retry_policy=AT_ONCE)

    @entrypoint(checkpointer=saver)
    async def flow(n: int) -> Any:
        return (await fragile({"n": n, "folder": str(tmp_path)}))["results"]

    assert await flow.ainvoke(4, thread_id="t", durability=durability) == [4]


async def test_without_a_policy_the_caller_gets_the_error(pools: Pools) -> None:
    fragile = task(heavy.kill_itself, executor=pools)

    @entrypoint()
    async def flow(n: int) -> str:
        try:
            await fragile({})
        except ExecutorFailedError as error:
            return f"{error.where} {error.kind}"
        return ""

    assert await flow.ainvoke(1) == "task 'kill_itself' lost"


async def test_a_result_that_cannot_be_stored_is_an_error_that_names_the_task(pool: ProcessPoolExecutor) -> None:
    unlisted = task(heavy.return_unlisted, executor=pool)

    @entrypoint()
    async def flow(n: int) -> None:
        await unlisted({})

    with pytest.raises(UnstorableValueError, match="the result of task 'return_unlisted'"):
        await flow.ainvoke(1)


async def test_a_timeout_ends_an_attempt_and_the_next_one_is_no_cancellation(
    saver: Checkpointer, pool: ProcessPoolExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "Request", functools.partial(Request, grace=0.01))
    policy = RetryPolicy(initial_interval=0, jitter=False, max_attempts=2)
    waiting = task(heavy.wait_for_file, executor=pool, timeout=0.2, retry_policy=policy)

    @entrypoint(checkpointer=saver)
    async def flow(n: int) -> Any:
        return await waiting({"n": n, "folder": str(tmp_path)})

    with pytest.raises(NodeTimeoutError):
        await flow.ainvoke(4, thread_id="t")
    (tmp_path / "go").touch()
    result = await flow.ainvoke(None, thread_id="t")

    assert result["results"] == [4]


async def test_a_reply_within_the_grace_period_of_a_timeout_is_too_late(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as threads:
        waiting = task(heavy.wait_until_go, executor=threads, timeout=0.05, retry_policy=AT_ONCE)

        @entrypoint()
        async def flow(n: int) -> Any:
            return await waiting(str(tmp_path))

        # The first attempt returns after its timeout; the second one at once, because the file is there by then.
        assert await flow.ainvoke(4) == 2


async def test_results_come_from_a_cache(pools: Pools) -> None:
    cube = task(heavy.cube, executor=pools, cache_policy=CachePolicy())

    @entrypoint(cache=InMemoryCache())
    async def flow(n: int) -> int:
        return await cube(n)

    assert [await flow.ainvoke(2), await flow.ainvoke(2)] == [8, 8]


# Bad input


async def asynchronous() -> None: ...


def with_runtime(n: int, runtime: Runtime[None]) -> int:
    return n


def test_functions_that_an_executor_cannot_import_are_refused_when_they_are_decorated() -> None:
    def local(n: int) -> int:
        return n

    for function, why in [
        (local, "inside another function"),
        (asynchronous, "it is async"),
        (functools.partial(heavy.cube), "a partial"),
    ]:
        with pytest.raises(ExecutorImportError, match=why):
            task(function, executor=unstarted)  # type: ignore[call-overload]  # as said


async def test_a_function_whose_module_has_another_object_under_its_name_is_refused_by_the_first_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    renamed = task(heavy.cube, executor=unstarted)
    monkeypatch.setattr(heavy, "cube", heavy.square)

    @entrypoint()
    async def flow(n: int) -> int:
        return await renamed(n)

    with pytest.raises(ExecutorImportError, match=r"task 'cube' cannot run tests\.runtime\.heavy\.cube"):
        await flow.ainvoke(1)


def test_options_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(GraphValidationError, match="gets its arguments alone: remove the parameter 'runtime'"):
        task(with_runtime, executor=unstarted)
    with pytest.raises(GraphValidationError, match="give it a run_timeout alone"):
        task(heavy.cube, executor=unstarted, timeout=TimeoutPolicy(idle_timeout=1))
    with pytest.raises(InvalidOptionError, match=r"concurrent\.futures\.Executor"):
        task(heavy.cube, executor="processes")  # type: ignore[call-overload]  # as said
