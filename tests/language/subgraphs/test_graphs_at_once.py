"""Concurrent child runs of one node, in asyncio tasks of the node, end with the node in whichever way it ends."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from durable_graph import (
    Checkpointer,
    Command,
    Durability,
    ReplayMismatchError,
    interrupt,
    task,
)
from tests.graphs import LONG_CHAIN, THREAD, Nodes, State, graph_calling, interrupts_of, questions_of


class Late:
    """A graph that continues for a while after another graph has ended."""

    def __init__(self, calls: Nodes) -> None:
        self.may_go = asyncio.Event()
        self.graph = calls.chain(("waits", self.waits), *LONG_CHAIN).compile()

    async def waits(self, state: State) -> State:
        await self.may_go.wait()
        return {}


async def test_an_interrupt_of_a_child_run_waits_for_its_concurrent_sibling(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()
    late = Late(calls)

    async def ask(state: State) -> State:
        late.may_go.set()
        return {"log": [interrupt("ask?")]}

    asking = calls.chain(("ask", ask)).compile()

    async def call() -> list[Any]:
        return list(await asyncio.gather(asking.ainvoke({"log": []}), late.graph.ainvoke({"log": []})))

    graph = graph_calling(call, saver)

    assert questions_of(await graph.ainvoke({"log": []}, THREAD, durability=durability)) == ["ask?"]
    assert calls.taken() == list(LONG_CHAIN)

    result = await graph.ainvoke(Command(resume="yes"), THREAD, durability=durability)
    assert result == {"log": ["yes", *LONG_CHAIN]}
    assert calls.taken() == []


async def test_interrupts_of_concurrent_child_runs_are_reported_together_and_answered_separately(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()
    one, other = calls.chain("a?").compile(), calls.chain(*LONG_CHAIN, "b?").compile()

    async def call() -> list[Any]:
        return list(await asyncio.gather(one.ainvoke({"log": []}), other.ainvoke({"log": []})))

    graph = graph_calling(call, saver)

    found = {
        each.value: each.id for each in interrupts_of(await graph.ainvoke({"log": []}, THREAD, durability=durability))
    }
    assert list(found) == ["a?", "b?"]
    assert calls.taken() == ["a", *LONG_CHAIN, "b"]

    partly = await graph.ainvoke(Command(resume={found["b?"]: "2"}), THREAD, durability=durability)
    assert questions_of(partly) == ["a?"]
    result = await graph.ainvoke(Command(resume={found["a?"]: "1"}), THREAD, durability=durability)

    assert result == {"log": ["a=1", *LONG_CHAIN, "b=2"]}
    assert set(calls.taken()) == {"a", "b"}


@pytest.mark.parametrize("within", ["node", "task"])
async def test_a_failing_child_run_ends_its_sibling_before_the_run_fails(
    saver: Checkpointer, durability: Durability, within: str
) -> None:
    calls = Nodes()
    is_waiting, is_mended = asyncio.Event(), False

    async def fails(state: State) -> State:
        await is_waiting.wait()
        if not is_mended:
            message = "no"
            raise ValueError(message)
        return {"log": ["mended"]}

    async def waits(state: State) -> State:
        is_waiting.set()
        try:
            if not is_mended:
                await asyncio.Event().wait()
        finally:
            calls.note("ended")
        return {"log": ["waited"]}

    failing, waiting = calls.chain(("fails", fails)).compile(), calls.chain("x", ("waits", waits)).compile()

    async def call() -> list[Any]:
        return list(await asyncio.gather(failing.ainvoke({"log": []}), waiting.ainvoke({"log": []})))

    graph = graph_calling(task(call) if within == "task" else call, saver)

    with pytest.raises(ValueError, match="no"):
        await graph.ainvoke({"log": []}, THREAD, durability=durability)
    assert calls.taken() == ["x", "ended"]

    is_mended = True
    assert await graph.ainvoke(None, THREAD, durability=durability) == {"log": ["mended", "x", "waited"]}
    assert calls.taken() == ["ended"]


async def test_a_parent_command_of_a_child_run_ends_its_sibling_before_it_takes_effect(saver: Checkpointer) -> None:
    calls = Nodes()
    is_waiting = asyncio.Event()

    async def hand_up(state: State) -> Any:
        await is_waiting.wait()
        return Command(graph=Command.PARENT, update={"log": ["up"]})

    async def waits(state: State) -> State:
        is_waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            calls.note("ended")
        return {}

    commanding, waiting = calls.chain(("hand_up", hand_up)).compile(), calls.chain(("waits", waits)).compile()

    async def call() -> list[Any]:
        return list(await asyncio.gather(commanding.ainvoke({"log": []}), waiting.ainvoke({"log": []})))

    assert await graph_calling(call, saver).ainvoke({"log": []}, THREAD) == {"log": ["up"]}
    assert calls.taken() == ["ended"]


async def test_cancelling_a_run_leaves_no_child_run_running(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()
    is_waiting = asyncio.Event()

    async def waits(state: State) -> State:
        is_waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            calls.note("ended")
        return {}

    inner = calls.chain("x", ("waits", waits)).compile()
    begun: list[asyncio.Task[Any]] = []

    async def call() -> list[Any]:
        begun.append(asyncio.create_task(inner.ainvoke({"log": []})))
        await asyncio.Event().wait()
        return []

    run = asyncio.create_task(graph_calling(call, saver).ainvoke({"log": []}, THREAD, durability=durability))
    await is_waiting.wait()
    run.cancel()

    with pytest.raises(asyncio.CancelledError):
        await run
    assert calls.taken() == ["x", "ended"]
    assert begun[0].cancelled()


async def test_a_call_after_a_cancellation_does_not_take_the_place_of_an_earlier_call(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()
    one, other = calls.chain("x").compile(), calls.chain("y").compile()

    @task
    async def first() -> dict[str, list[str]]:
        return {"log": ["first"]}

    @task
    def second() -> dict[str, list[str]]:
        return {"log": ["second"]}

    async def called(what: Callable[[], Awaitable[Any]]) -> Any:
        return await what()

    runs: list[asyncio.Task[Any]] = []

    async def call() -> list[Any]:
        begun = [
            asyncio.create_task(called(what))
            for what in (
                lambda: one.ainvoke({"log": []}),
                first,
                lambda: other.ainvoke({"log": []}),
                second,
            )
        ]
        if len(runs) == 1:
            # The first two calls are being awaited here, so they are cancelled before they start.
            runs[0].cancel()
            runs.append(runs[0])
            await asyncio.gather(*begun[:2])
        return [await each for each in begun]

    graph = graph_calling(call, saver)
    runs.append(asyncio.create_task(graph.ainvoke({"log": []}, THREAD, durability=durability)))
    with pytest.raises(asyncio.CancelledError):
        await runs[0]
    assert calls.taken() == []

    assert await graph.ainvoke(None, THREAD, durability=durability) == {"log": ["x", "first", "y", "second"]}
    assert sorted(calls.taken()) == ["x", "y"]


async def test_another_graph_among_concurrent_child_runs_is_an_error_after_all_have_ended(saver: Checkpointer) -> None:
    calls = Nodes()
    graphs = [calls.chain("ask?").compile(), calls.chain("x").compile(), calls.chain("same").compile()]

    async def call() -> list[Any]:
        return list(await asyncio.gather(*(graph.ainvoke({"log": []}) for graph in graphs)))

    graph = graph_calling(call, saver)
    await graph.ainvoke({"log": []}, THREAD)
    graphs[1] = calls.chain("y").compile()

    with pytest.raises(ReplayMismatchError, match="with x") as raised:
        await graph.ainvoke(Command(resume="yes"), THREAD)
    assert raised.value.kind == "unclaimed"


async def test_cancelling_a_run_with_an_open_interrupt_leaves_no_child_run_running(saver: Checkpointer) -> None:
    calls = Nodes()
    is_waiting = asyncio.Event()

    async def ask(state: State) -> State:
        await is_waiting.wait()
        return {"log": [interrupt("ask?")]}

    async def waits(state: State) -> State:
        is_waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            calls.note("ended")
        return {}

    asking, waiting = calls.chain(("ask", ask)).compile(), calls.chain(("waits", waits)).compile()
    has_asked = asyncio.Event()

    async def call() -> list[Any]:
        try:
            return list(await asyncio.gather(asking.ainvoke({"log": []}), waiting.ainvoke({"log": []})))
        finally:
            has_asked.set()

    run = asyncio.create_task(graph_calling(call, saver).ainvoke({"log": []}, THREAD))
    await has_asked.wait()
    run.cancel()

    with pytest.raises(asyncio.CancelledError):
        await run
    assert calls.taken() == ["ended"]
