"""`@task`: a function whose calls are recorded: kinds of functions, calls, cancellation and errors."""

import asyncio
import functools
from typing import Any

import pytest

from durable_graph import (
    Checkpointer,
    Command,
    Durability,
    OutsideOfRunError,
    Runtime,
    UnstorableValueError,
    entrypoint,
    get_runtime,
    interrupt,
    task,
)
from tests.graphs import THREAD, Nodes, questions_of


async def test_tasks_run_concurrently_and_are_gathered(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()
    both_began = asyncio.Barrier(2)

    @task()
    async def mapper(number: int) -> str:
        calls.note(f"{number}")
        await both_began.wait()
        return str(number) * 2

    @entrypoint(checkpointer=saver)
    async def flow(numbers: list[int]) -> list[str]:
        mapped = await asyncio.gather(*[mapper(number) for number in numbers])
        answer = interrupt("question")
        return [each + answer for each in mapped]

    async with asyncio.timeout(20):
        assert questions_of(await flow.ainvoke([0, 1], THREAD, durability=durability)) == ["question"]
    assert sorted(calls.taken()) == ["0", "1"]

    assert await flow.ainvoke(Command(resume="!"), THREAD, durability=durability) == ["00!", "11!"]
    assert calls.taken() == []


async def test_a_task_starts_when_it_is_called_and_not_when_it_is_awaited(saver: Checkpointer) -> None:
    began = asyncio.Event()

    @task
    async def works() -> str:
        began.set()
        return "done"

    @entrypoint(checkpointer=saver)
    async def flow(given: Any) -> str:
        result = works()
        async with asyncio.timeout(20):
            await began.wait()
        return await result

    assert await flow.ainvoke(1, THREAD) == "done"


async def test_tasks_call_tasks(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()

    @task
    async def inner(number: int) -> str:
        calls.note(f"inner {number}")
        return str(number)

    @task
    async def outer(number: int) -> str:
        calls.note(f"outer {number}")
        return await inner(number) * 2

    @entrypoint(checkpointer=saver)
    async def flow(numbers: list[int]) -> list[str]:
        results = [await outer(number) for number in numbers]
        interrupt("question")
        return results

    await flow.ainvoke([0, 1], THREAD, durability=durability)
    assert calls.taken() == ["outer 0", "inner 0", "outer 1", "inner 1"]

    assert await flow.ainvoke(Command(resume=True), THREAD, durability=durability) == ["00", "11"]
    assert calls.taken() == []


async def test_plain_functions_may_be_tasks(saver: Checkpointer) -> None:
    @task
    def double(number: int) -> int:
        return number * 2

    @entrypoint(checkpointer=saver)
    async def flow(number: int) -> int:
        return await double(number)

    assert await flow.ainvoke(21, THREAD) == 42


async def test_a_task_has_the_name_of_its_function_or_a_given_name() -> None:
    class Foo:
        async def foo(self, value: str) -> str:
            return value + "foo"

        def __call__(self, value: str) -> str:
            return value + "|called"

    async def baz(update: str, value: str) -> str:
        return f"{value}|{update}"

    method, again = task(Foo().foo, name="custom_foo"), task(Foo().foo, name="other_foo")
    unnamed = task(functools.partial(baz, "baz"))
    named = task(functools.partial(baz, "named"), name="custom_baz")
    called = task(Foo(), name="called")

    @task(name="custom_bar")
    async def bar(value: str) -> str:
        return value + "|bar"

    @entrypoint()
    async def flow(value: str) -> str:
        await again(value)
        return await called(await named(await unnamed(await bar(await method(value)))))

    assert [chunk async for chunk in flow.astream("", stream_mode="updates")] == [
        {"other_foo": "foo"},
        {"custom_foo": "foo"},
        {"custom_bar": "foo|bar"},
        {"baz": "foo|bar|baz"},
        {"custom_baz": "foo|bar|baz|named"},
        {"called": "foo|bar|baz|named|called"},
        {"flow": "foo|bar|baz|named|called"},
    ]


@pytest.mark.parametrize("result", [False, None, 0, "", [], {}])
async def test_a_falsy_result_is_recorded_like_any_other(saver: Checkpointer, result: Any) -> None:
    calls = Nodes()

    @task
    async def falsy() -> Any:
        calls.note("falsy")
        return result

    @entrypoint(checkpointer=saver)
    async def flow(given: int) -> Any:
        found = await falsy()
        interrupt("question")
        return [found]

    await flow.ainvoke(1, THREAD)
    assert await flow.ainvoke(Command(resume=True), THREAD) == [result]
    assert calls.taken() == ["falsy"]


async def test_an_error_is_raised_where_the_task_is_awaited(saver: Checkpointer, durability: Durability) -> None:
    @task
    async def fine(number: int) -> int:
        return number * 2

    @task
    async def bad(number: int) -> int:
        raise ConnectionError(f"no {number}")

    @entrypoint(checkpointer=saver)
    async def flow(number: int) -> str:
        await fine(number)
        try:
            await bad(number)
        except ConnectionError as error:
            return f"caught {error}, then {await fine(number)}"
        return "never"

    assert await flow.ainvoke(1, THREAD, durability=durability) == "caught no 1, then 2"


async def test_an_uncaught_error_of_a_task_fails_the_run(saver: Checkpointer) -> None:
    calls = Nodes()
    is_failing = True

    @task
    async def fine() -> str:
        calls.note("fine")
        return "fine"

    @task
    async def bad() -> str:
        calls.note("bad")
        if is_failing:
            raise ConnectionError
        return "bad"

    @entrypoint(checkpointer=saver)
    async def flow(given: int) -> list[str]:
        return [await fine(), await bad()]

    with pytest.raises(ConnectionError) as raised:
        await flow.ainvoke(1, THREAD)
    assert "'bad'" in "\n".join(raised.value.__notes__)
    is_failing = False

    assert await flow.ainvoke(None, THREAD) == ["fine", "bad"]
    assert calls.taken() == ["fine", "bad", "bad"]


async def test_a_task_may_be_cancelled_and_the_others_continue(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()
    began = asyncio.Event()

    @task()
    async def mapper(number: int) -> str:
        calls.note(f"{number}")
        if number == 1:
            try:
                began.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                calls.note("cancelled")
                raise
        return str(number) * 2

    @entrypoint(checkpointer=saver)
    async def flow(numbers: list[int]) -> list[str]:
        futures = [mapper(number) for number in numbers]
        await began.wait()
        futures.pop().cancel()
        mapped = await asyncio.gather(*futures)
        answer = interrupt("question")
        return [each + answer for each in mapped]

    async with asyncio.timeout(20):
        assert questions_of(await flow.ainvoke([0, 1], THREAD, durability=durability)) == ["question"]
        assert calls.taken() == ["0", "1", "cancelled"]
        began.clear()
        # A cancelled call has no result, so it starts, and is cancelled, again.
        assert await flow.ainvoke(Command(resume="!"), THREAD, durability=durability) == ["00!"]
        assert calls.taken() == ["1", "cancelled"]


async def test_the_error_of_result_on_an_unfinished_call_says_to_await_the_call(saver: Checkpointer) -> None:
    @task
    async def double(number: int) -> int:
        return number * 2

    @entrypoint(checkpointer=saver)
    async def flow(given: int) -> int:
        call: Any = double(given)
        with pytest.raises(asyncio.InvalidStateError, match=r"task 'double'.* has not finished: await the call"):
            call.result()
        assert await call == call.result()
        return given

    assert await flow.ainvoke(1, THREAD) == 1


async def test_an_unawaited_task_ends_with_its_run(saver: Checkpointer) -> None:
    calls = Nodes()

    @task
    async def forgotten() -> None:
        await asyncio.sleep(0)
        calls.note("ended")

    @entrypoint(checkpointer=saver)
    async def flow(given: int) -> str:
        forgotten()
        return "done"

    async with asyncio.timeout(20):
        assert await flow.ainvoke(1, THREAD) == "done"
    assert calls.taken() in (["ended"], [])
    assert len([each for each in asyncio.all_tasks() if not each.done()]) == 1


async def test_a_task_has_the_runtime_and_the_config(saver: Checkpointer) -> None:
    seen: list[Any] = []

    @task
    async def looks(value: str, runtime: Runtime[Any], config: dict[str, Any]) -> str:
        seen.append((runtime.execution_info.thread_id, config["configurable"]["thread_id"]))
        return value

    @entrypoint(checkpointer=saver)
    async def flow(given: str) -> str:
        return await looks(given)  # type: ignore[call-arg]  # the others are injected

    assert await flow.ainvoke("in", THREAD) == "in"
    assert seen == [("t", "t")]


@pytest.mark.parametrize("given", [None, "given"])
async def test_a_passed_argument_is_not_replaced_by_injection(saver: Checkpointer, given: Any) -> None:
    @task
    async def looks(config: Any, runtime: Any) -> list[Any]:
        return [config, runtime]

    @entrypoint(checkpointer=saver)
    async def flow(_: int) -> list[Any]:
        return await looks(config=given, runtime=given)

    assert await flow.ainvoke(1, THREAD) == [given, given]


async def test_each_call_has_an_idempotency_key_that_a_resume_does_not_change(saver: Checkpointer) -> None:
    keys: list[str] = []
    is_failing = True

    @task
    async def pays(amount: int) -> int:
        keys.append(get_runtime().execution_info.task_id)
        if is_failing and amount == 2:
            raise ConnectionError
        return amount

    @entrypoint(checkpointer=saver)
    async def flow(_: int) -> int:
        return await pays(1) + await pays(2)

    with pytest.raises(ConnectionError):
        await flow.ainvoke(1, THREAD)
    is_failing = False
    await flow.ainvoke(None, THREAD)

    assert len(keys) == 3
    assert keys[0] != keys[1] == keys[2]


async def test_a_task_called_outside_of_a_run_is_an_error_that_names_it() -> None:
    @task
    async def lonely() -> None: ...

    with pytest.raises(OutsideOfRunError, match="lonely"):
        await lonely()


async def test_an_unstorable_result_of_a_task_is_refused(saver: Checkpointer) -> None:
    @task
    async def odd() -> Any:
        return object()

    @entrypoint(checkpointer=saver)
    async def flow(_: int) -> Any:
        return await odd()

    with pytest.raises(UnstorableValueError, match="odd"):
        await flow.ainvoke(1, THREAD)
