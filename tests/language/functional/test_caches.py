"""Cached tasks: a task runs once for the same arguments, in all runs."""

from typing import Any

from durable_graph import CachePolicy, Checkpointer, Command, InMemoryCache, entrypoint, interrupt, task
from tests.graphs import THREAD, Nodes


async def test_a_cached_task_runs_once_for_each_of_its_arguments(saver: Checkpointer) -> None:
    calls = Nodes()
    cache = InMemoryCache()

    @task(cache_policy=CachePolicy())
    async def double(number: int) -> int:
        calls.note(f"{number}")
        return number * 2

    @entrypoint(checkpointer=saver, cache=cache)
    async def flow(numbers: list[int]) -> list[int]:
        return [await double(number) for number in numbers]

    assert await flow.ainvoke([1, 1, 2], THREAD) == [2, 2, 4]
    assert calls.taken() == ["1", "2"]
    assert await flow.ainvoke([2, 1], thread_id="other") == [4, 2]
    assert calls.taken() == []


async def test_a_cleared_cache_is_filled_again(saver: Checkpointer) -> None:
    calls = Nodes()
    cache = InMemoryCache()

    @task(cache_policy=CachePolicy())
    async def double(number: int) -> int:
        calls.note(f"{number}")
        return number * 2

    @entrypoint(checkpointer=saver, cache=cache)
    async def flow(number: int) -> int:
        return await double(number)

    await flow.ainvoke(1, THREAD)
    await double.aclear_cache(cache)
    await flow.ainvoke(1, thread_id="other")

    assert calls.taken() == ["1", "1"]


async def test_a_cached_task_between_interrupts_runs_once(saver: Checkpointer) -> None:
    calls = Nodes()
    cache = InMemoryCache()

    @task(cache_policy=CachePolicy())
    async def double(number: int) -> int:
        calls.note(f"{number}")
        return number * 2

    @entrypoint(checkpointer=saver, cache=cache)
    async def flow(_: Any) -> list[Any]:
        return [each for number in (1, 1, 2) for each in (await double(number), interrupt("next?"))]

    for thread in ("one", "two"):
        await flow.ainvoke(0, thread_id=thread)
        await flow.ainvoke(Command(resume="a"), thread_id=thread)
        await flow.ainvoke(Command(resume="b"), thread_id=thread)
        assert await flow.ainvoke(Command(resume="c"), thread_id=thread) == [2, "a", 2, "b", 4, "c"]
    assert calls.taken() == ["1", "2"]
