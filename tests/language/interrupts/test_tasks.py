"""Tasks and entrypoints interrupt; finished tasks do not run again."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from durable_graph import Checkpointer, Command, Durability, InterruptAnsweredError, entrypoint, interrupt, task
from tests.graphs import State, chain, interrupt_ids, questions_of


async def test_an_entrypoint_interrupts_between_its_tasks(saver: Checkpointer, durability: Durability) -> None:
    calls: Counter[str] = Counter()

    @task
    async def shout(text: str) -> str:
        calls[text] += 1
        return text.upper()

    @entrypoint(checkpointer=saver)
    async def program(text: str) -> list[str]:
        first = await shout(text)
        answer = interrupt(f"after {first}?")
        return [first, answer, await shout(answer)]

    assert questions_of(await program.ainvoke("a", thread_id="t", durability=durability)) == ["after A?"]
    result = await program.ainvoke(Command(resume="b"), thread_id="t", durability=durability)

    assert result == ["A", "b", "B"]
    assert calls == {"a": 1, "b": 1}


async def test_a_task_interrupts(saver: Checkpointer, durability: Durability) -> None:
    calls: Counter[str] = Counter()

    @task
    async def prepare(text: str) -> str:
        calls["prepare"] += 1
        return text + "!"

    @task
    async def ask(text: str) -> str:
        calls["ask"] += 1
        return f"{text}{interrupt('what?')}"

    @entrypoint(checkpointer=saver)
    async def program(text: str) -> str:
        return await ask(await prepare(text))

    assert questions_of(await program.ainvoke("a", thread_id="t", durability=durability)) == ["what?"]
    assert await program.ainvoke(Command(resume="b"), thread_id="t", durability=durability) == "a!b"
    assert calls == {"prepare": 1, "ask": 2}


async def test_sequential_calls_of_one_task_interrupt_one_at_a_time(saver: Checkpointer) -> None:
    @task
    async def add(name: str) -> str:
        return f"{name} {'added' if interrupt(f'add {name}?') else 'left out'}"

    @entrypoint(checkpointer=saver)
    async def program(_: object) -> list[str]:
        return [await add("James"), await add("Will")]

    first = await program.ainvoke("go", thread_id="t")
    second = await program.ainvoke(Command(resume=True), thread_id="t")
    third = await program.ainvoke(Command(resume=False), thread_id="t")

    assert (questions_of(first), questions_of(second)) == (["add James?"], ["add Will?"])
    assert third == ["James added", "Will left out"]


async def test_an_interrupt_of_a_task_is_reported_once(saver: Checkpointer) -> None:
    @task
    async def add(name: str) -> Any:
        return interrupt(f"add {name}?")

    @entrypoint(checkpointer=saver)
    async def program(_: object) -> Any:
        return await add("James")

    parts = [part async for part in program.astream("go", thread_id="t")]

    assert [questions_of(part) for part in parts if "__interrupt__" in part] == [["add James?"]]
    snapshot = await program.aget_state(thread_id="t")
    assert [questions_of(each.interrupts) for each in snapshot.tasks] == [["add James?"]]


async def test_tasks_between_interrupts_run_once_each(saver: Checkpointer, durability: Durability) -> None:
    calls: Counter[int] = Counter()

    @task
    async def double(number: int) -> int:
        calls[number] += 1
        return 2 * number

    @entrypoint(checkpointer=saver)
    async def program(_: object) -> list[Any]:
        values: list[Any] = []
        for number in (1, 2, 3):
            values += [await double(number), interrupt(f"{number}?")]
        return values

    result = await program.ainvoke("go", thread_id="t", durability=durability)
    for answer in "abc":
        result = await program.ainvoke(Command(resume=answer), thread_id="t", durability=durability)

    assert result == [2, "a", 4, "b", 6, "c"]
    assert calls == {1: 1, 2: 1, 3: 1}


async def test_parallel_tasks_interrupt_together_and_are_answered_separately(
    saver: Checkpointer, durability: Durability
) -> None:
    calls: Counter[str] = Counter()

    @task
    async def ask(name: str) -> str:
        calls[name] += 1
        return f"{name}:{interrupt(f'{name}?')}"

    @entrypoint(checkpointer=saver)
    async def program(_: object) -> list[str]:
        return list(await asyncio.gather(ask("a"), ask("b")))

    found = interrupt_ids(await program.ainvoke("go", thread_id="t", durability=durability))
    assert list(found) == ["a?", "b?"]
    partly = await program.ainvoke(Command(resume={found["b?"]: 2}), thread_id="t", durability=durability)
    assert questions_of(partly) == ["a?"]
    result = await program.ainvoke(Command(resume={found["a?"]: 1}), thread_id="t", durability=durability)

    assert result == ["a:1", "b:2"]
    # The entrypoint runs again with every answer, and of its tasks only those without a result: b finishes first.
    assert calls == {"a": 3, "b": 2}


async def test_a_task_that_returned_none_does_not_run_again(saver: Checkpointer) -> None:
    calls: Counter[str] = Counter()

    @task
    async def a() -> None:
        calls["a"] += 1
        interrupt("a?")

    @task
    async def b() -> Any:
        calls["b"] += 1
        return interrupt("b?")

    @entrypoint(checkpointer=saver)
    async def program(_: object) -> list[Any]:
        return list(await asyncio.gather(a(), b()))

    found = interrupt_ids(await program.ainvoke("go", thread_id="t"))
    await program.ainvoke(Command(resume={found["a?"]: "x"}), thread_id="t")
    result = await program.ainvoke(Command(resume={found["b?"]: "y"}), thread_id="t")

    assert result == [None, "y"]
    assert calls == {"a": 2, "b": 3}


async def test_a_task_of_a_node_interrupts(saver: Checkpointer, durability: Durability) -> None:
    calls: Counter[str] = Counter()

    @task
    async def price(item: str) -> int:
        calls[f"price {item}"] += 1
        return len(item)

    @task
    async def approve(item: str, cost: int) -> bool:
        calls[f"approve {item}"] += 1
        return bool(interrupt(f"{item} for {cost}?"))

    async def buy(state: State) -> State:
        calls["buy"] += 1
        bought = [item for item in ("tea", "milk") if await approve(item, await price(item))]
        return {"log": bought}

    graph = chain(("buy", buy)).compile(saver)

    assert questions_of(await graph.ainvoke({}, thread_id="t", durability=durability)) == ["tea for 3?"]
    assert questions_of(await graph.ainvoke(Command(resume=True), thread_id="t", durability=durability)) == [
        "milk for 4?"
    ]
    assert await graph.ainvoke(Command(resume=False), thread_id="t", durability=durability) == {"log": ["tea"]}
    assert calls == {"buy": 3, "price tea": 1, "price milk": 1, "approve tea": 2, "approve milk": 2}


async def test_a_second_answer_to_a_task_is_refused_with_the_first(saver: Checkpointer) -> None:
    @task
    async def ask(name: str) -> Any:
        return interrupt(f"{name}?")

    @entrypoint(checkpointer=saver)
    async def program(_: object) -> list[Any]:
        return [await ask("a"), await ask("b")]

    first = interrupt_ids(await program.ainvoke("go", thread_id="t"))["a?"]
    await program.ainvoke(Command(resume={first: 1}), thread_id="t")

    with pytest.raises(InterruptAnsweredError) as refused:
        await program.ainvoke(Command(resume={first: 2}), thread_id="t")

    assert refused.value.answer == 1
