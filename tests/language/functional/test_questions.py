"""Interrupts of entrypoints and their tasks: raised one at a time, answered in order, and no finished call reruns."""

import asyncio
from typing import Any

import pytest

from durable_graph import Checkpointer, Command, Durability, entrypoint, interrupt, task
from tests.graphs import THREAD, Nodes, State, questions_of


@pytest.mark.parametrize("answers", [(True, True), (False, True)])
async def test_a_task_that_is_called_twice_interrupts_twice(saver: Checkpointer, answers: tuple[bool, bool]) -> None:
    @task
    async def add(name: str) -> str:
        return f"{'added' if interrupt(f'add {name}?') else 'left out'} {name}"

    @entrypoint(checkpointer=saver)
    async def flow(_: str) -> list[str]:
        return [await add("james"), await add("will")]

    first: Any = await flow.ainvoke("ignored", THREAD)
    assert questions_of(first) == ["add james?"]
    (waiting,) = (await flow.aget_state(THREAD)).tasks
    assert [each.value for each in waiting.interrupts] == ["add james?"]

    second: Any = await flow.ainvoke(Command(resume=answers[0]), THREAD)
    assert questions_of(second) == ["add will?"]
    (waiting,) = (await flow.aget_state(THREAD)).tasks
    assert [each.value for each in waiting.interrupts] == ["add will?"]
    assert first["__interrupt__"][0].id != second["__interrupt__"][0].id

    result = await flow.ainvoke(Command(resume=answers[1]), THREAD)
    assert result == [f"{'added' if answers[0] else 'left out'} james", "added will"]


async def test_tasks_defined_inside_the_entrypoint_interrupt_and_resume(saver: Checkpointer) -> None:
    @entrypoint(checkpointer=saver)
    async def flow(topics: int) -> list[str]:
        @task
        async def setup() -> int:
            return topics

        @task
        async def ask(question: str) -> str:
            return str(interrupt(question))

        return [await ask(f"topic {number + 1}?") for number in range(await setup())]

    assert questions_of(await flow.ainvoke(2, THREAD)) == ["topic 1?"]
    assert questions_of(await flow.ainvoke(Command(resume="first"), THREAD)) == ["topic 2?"]
    assert await flow.ainvoke(Command(resume="second"), THREAD) == ["first", "second"]


async def test_a_task_may_interrupt_after_several_other_tasks(saver: Checkpointer) -> None:
    @task
    async def plus(number: int) -> int:
        return number + 1

    @task
    async def twice(number: int) -> int:
        return number * 2

    @task
    async def ask(question: str) -> str:
        return str(interrupt(question))

    @entrypoint(checkpointer=saver)
    async def flow(number: int) -> list[Any]:
        result = await twice(await plus(number))
        return [result, await ask(f"{result}?")]

    assert questions_of(await flow.ainvoke(5, THREAD)) == ["12?"]
    assert await flow.ainvoke(Command(resume="go on"), THREAD) == [12, "go on"]


async def test_a_resume_does_not_write_the_records_of_finished_calls_again(saver: Checkpointer) -> None:
    @task
    async def setup(number: int) -> int:
        return number

    @task
    async def ask(question: str) -> str:
        return str(interrupt(question))

    @entrypoint(checkpointer=saver)
    async def flow(number: int) -> str:
        return await ask(f"{await setup(number)}?")

    await flow.ainvoke(1, THREAD)
    written: list[Any] = []
    saved = saver.save_writes

    async def watched(batch: Any) -> Any:
        written.extend((record.ns, record.born, record.ord) for record in batch.records)
        return await saved(batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saver, "save_writes", watched)
        assert await flow.ainvoke(Command(resume="yes"), THREAD) == "yes"

    # The answer, in the record of the entrypoint's task, and the result of the interrupted task.
    assert len(set(written)) == 2


async def test_an_interrupt_in_a_task_is_not_swallowed_by_except_exception(saver: Checkpointer) -> None:
    """P18."""

    @task
    async def ask() -> Any:
        try:
            return interrupt("well?")
        except Exception:  # must not catch the interrupt
            return "swallowed"

    @entrypoint(checkpointer=saver)
    async def flow(_: int) -> Any:
        try:
            return await ask()
        except Exception:  # must not catch the interrupt
            return "swallowed outside"

    assert questions_of(await flow.ainvoke(1, THREAD)) == ["well?"]
    assert await flow.ainvoke(Command(resume="yes"), THREAD) == "yes"


# Interrupts and errors


def _asking_and_failing(has_asked: asyncio.Event) -> tuple[Any, Any]:
    """Two tasks: the first interrupts immediately, the second fails after the caller of the first was unwound."""

    @task
    async def asks() -> Any:
        return interrupt("sure?")

    @task
    async def fails() -> str:
        await has_asked.wait()
        raise ConnectionError

    return asks, fails


async def test_a_caught_error_of_a_task_does_not_prevent_a_later_interrupt(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()

    @task
    async def pay() -> str:
        calls.note("pay")
        raise ConnectionError

    @entrypoint(checkpointer=saver)
    async def flow(_: int) -> str:
        try:
            return await pay()
        except ConnectionError:
            answer: str = interrupt("it failed, what now?")
            return answer

    assert questions_of(await flow.ainvoke(1, THREAD, durability=durability)) == ["it failed, what now?"]
    assert await flow.ainvoke(Command(resume="by cash"), THREAD, durability=durability) == "by cash"
    # A failed call is not recorded, so it runs again.
    assert calls.taken() == ["pay", "pay"]


async def test_errors_that_gather_returns_as_results_do_not_prevent_a_later_interrupt(saver: Checkpointer) -> None:
    @task
    async def pay(amount: int) -> None:
        raise ConnectionError(amount)

    async def node(state: State) -> State:
        failures = await asyncio.gather(pay(1), pay(2), return_exceptions=True)
        return {"log": [f"{len(failures)} failed, {interrupt('what now?')}"]}

    graph = Nodes().chain(("node", node)).compile(saver)

    assert questions_of(await graph.ainvoke({"log": []}, THREAD)) == ["what now?"]
    assert await graph.ainvoke(Command(resume="by cash"), THREAD) == {"log": ["2 failed, by cash"]}


async def test_an_error_caught_while_another_task_interrupts_does_not_fail_the_run(saver: Checkpointer) -> None:
    has_asked = asyncio.Event()
    asks, fails = _asking_and_failing(has_asked)

    async def fails_or_else() -> str:
        try:
            result: str = await fails()
        except ConnectionError:
            return "or else"
        return result

    @entrypoint(checkpointer=saver)
    async def flow(_: int) -> Any:
        try:
            return await asyncio.gather(asks(), fails_or_else())
        finally:
            has_asked.set()

    assert questions_of(await flow.ainvoke(1, THREAD)) == ["sure?"]
    assert await flow.ainvoke(Command(resume="yes"), THREAD) == ["yes", "or else"]


async def test_an_error_that_is_lost_because_another_task_interrupts_fails_the_run(saver: Checkpointer) -> None:
    """`gather` propagates the interrupt and drops later errors."""
    has_asked = asyncio.Event()
    asks, fails = _asking_and_failing(has_asked)

    @entrypoint(checkpointer=saver)
    async def flow(_: int) -> Any:
        try:
            return await asyncio.gather(asks(), fails())
        finally:
            has_asked.set()

    with pytest.raises(ConnectionError):
        await flow.ainvoke(1, THREAD)


async def test_an_error_of_an_unawaited_task_before_an_interrupt_fails_the_run(saver: Checkpointer) -> None:
    @task
    async def pay() -> None:
        raise ConnectionError

    begun: list[Any] = []

    @entrypoint(checkpointer=saver)
    async def flow(_: int) -> Any:
        begun.append(pay())
        await asyncio.wait(begun)
        return interrupt("sure?")

    with pytest.raises(ConnectionError):
        await flow.ainvoke(1, THREAD)
