"""Retries and timeouts of tasks; a retry never runs finished tasks again."""

import asyncio

import pytest

from durable_graph import (
    Checkpointer,
    Command,
    Durability,
    NodeTimeoutError,
    ReplayMismatchError,
    RetryPolicy,
    entrypoint,
    get_runtime,
    interrupt,
    task,
)
from tests.graphs import THREAD, Nodes, questions_of

AT_ONCE = RetryPolicy(max_attempts=3, initial_interval=0, jitter=False)


async def test_a_task_is_retried_as_its_policy_says(saver: Checkpointer) -> None:
    attempts: list[int] = []

    @task(retry_policy=AT_ONCE)
    async def flaky() -> str:
        attempts.append(get_runtime().execution_info.node_attempt)
        if len(attempts) < 3:
            raise ConnectionError
        return "done"

    @entrypoint(checkpointer=saver)
    async def flow(_: int) -> str:
        return await flaky()

    assert await flow.ainvoke(1, THREAD) == "done"
    assert attempts == [1, 2, 3]


async def test_an_error_that_the_policy_does_not_name_is_not_retried(saver: Checkpointer) -> None:
    calls = Nodes()

    @task(retry_policy=RetryPolicy(max_attempts=3, initial_interval=0, jitter=False, retry_on=ConnectionError))
    async def bad() -> str:
        calls.note("bad")
        raise ValueError

    @entrypoint(checkpointer=saver)
    async def flow(_: int) -> str:
        return await bad()

    with pytest.raises(ValueError):  # noqa: PT011  # raised by the test itself
        await flow.ainvoke(1, THREAD)
    assert calls.taken() == ["bad"]


async def test_finished_tasks_do_not_run_again_when_their_entrypoint_is_retried(
    saver: Checkpointer, durability: Durability
) -> None:
    """P8."""
    calls = Nodes()

    @task
    async def work(number: int) -> int:
        calls.note(f"{number}")
        return number

    failures = iter([True, True, False])

    @entrypoint(checkpointer=saver, retry_policy=AT_ONCE)
    async def flow(_: int) -> list[int]:
        calls.note("flow")
        results = [await work(number) for number in range(3)]
        if next(failures):
            raise ConnectionError
        return results

    assert await flow.ainvoke(1, THREAD, durability=durability) == [0, 1, 2]
    assert calls.taken() == ["flow", "0", "1", "2", "flow", "flow"]


async def test_finished_tasks_do_not_run_again_when_their_entrypoint_is_retried_without_a_checkpointer() -> None:
    """P8."""
    calls = Nodes()

    @task
    async def work() -> None:
        calls.note("work")

    failures = iter([True, False])

    @entrypoint(retry_policy=AT_ONCE)
    async def flow(_: int) -> str:
        await work()
        if next(failures):
            raise ConnectionError
        return "done"

    assert await flow.ainvoke(1) == "done"
    assert calls.taken() == ["work"]


async def test_finished_tasks_of_a_task_do_not_run_again_when_it_is_retried(saver: Checkpointer) -> None:
    """P8."""
    calls = Nodes()
    failures = iter([True, False])

    @task
    async def inner() -> str:
        calls.note("inner")
        return "inner"

    @task(retry_policy=AT_ONCE)
    async def outer() -> str:
        calls.note("outer")
        result = await inner()
        if next(failures):
            raise ConnectionError
        return result

    @entrypoint(checkpointer=saver)
    async def flow(_: int) -> str:
        return await outer()

    assert await flow.ainvoke(1, THREAD) == "inner"
    assert calls.taken() == ["outer", "inner", "outer"]


async def test_changed_calls_in_a_retry_are_a_mismatch(saver: Checkpointer) -> None:
    """P8, P10."""
    attempts = iter([1, 2])

    @task
    async def work(number: int) -> int:
        return number

    @entrypoint(checkpointer=saver, retry_policy=RetryPolicy(max_attempts=2, initial_interval=0, jitter=False))
    async def flow(_: int) -> None:
        await work(next(attempts))
        raise ConnectionError

    with pytest.raises(ReplayMismatchError):
        await flow.ainvoke(1, THREAD)


async def test_a_retry_does_not_raise_an_answered_interrupt_again(saver: Checkpointer) -> None:
    failures = iter([True, False])

    @entrypoint(checkpointer=saver, retry_policy=AT_ONCE)
    async def flow(_: int) -> str:
        answer: str = interrupt("well?")
        if next(failures):
            raise ConnectionError
        return answer

    assert questions_of(await flow.ainvoke(1, THREAD)) == ["well?"]
    assert await flow.ainvoke(Command(resume="yes"), THREAD) == "yes"


async def test_the_timeout_of_a_task_is_raised_where_the_task_is_awaited(saver: Checkpointer) -> None:
    @task(timeout=0.01)
    async def slow() -> str:
        await asyncio.Event().wait()
        return "never"

    @entrypoint(checkpointer=saver)
    async def flow(_: int) -> str:
        try:
            return await slow()
        except NodeTimeoutError as error:
            return f"{error.node} {error.kind}"

    async with asyncio.timeout(20):
        assert await flow.ainvoke(1, THREAD) == "slow run"


async def test_an_entrypoint_that_times_out_keeps_the_results_of_its_tasks(saver: Checkpointer) -> None:
    calls = Nodes()
    is_slow = True

    @task
    async def work() -> str:
        calls.note("work")
        return "done"

    @entrypoint(checkpointer=saver, timeout=0.5)
    async def flow(_: int) -> str:
        result = await work()
        if is_slow:
            await asyncio.Event().wait()
        return result

    async with asyncio.timeout(20):
        with pytest.raises(NodeTimeoutError):
            await flow.ainvoke(1, THREAD)
        is_slow = False
        assert await flow.ainvoke(None, THREAD) == "done"
    assert calls.taken() == ["work"]
