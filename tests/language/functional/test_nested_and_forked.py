"""Tasks and entrypoints in nested graphs and on forks: finished tasks do not run again."""

from typing import Any

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    CompiledGraph,
    Durability,
    ReplayMismatchError,
    RetryPolicy,
    StateGraph,
    entrypoint,
    interrupt,
    task,
)
from tests.graphs import THREAD, Nodes, State, checkpoint_before, history, nested_state, newest_before, questions_of

AT_ONCE = RetryPolicy(max_attempts=3, initial_interval=0, jitter=False)


class Payments:
    """A nested graph with a node that pays the amounts `pays` and then interrupts. It fails while `is_failing`."""

    def __init__(self, saver: Checkpointer, memory: bool | None) -> None:
        self.calls = Nodes()
        self.pays = [1, 2]
        self.is_failing = False
        self._saver = saver
        self._memory = memory

        @task
        async def pay(amount: int) -> str:
            self.calls.note(f"pay {amount}")
            return f"paid {amount}"

        self._pay = pay

    async def _node(self, state: State) -> State:
        paid = [await self._pay(amount) for amount in self.pays]
        if self.is_failing:
            raise ConnectionError
        return {"log": [*paid, interrupt("ok?")]}

    def built(self) -> CompiledGraph[Any]:
        """The graph, rebuilt as in another process."""
        inner = self.calls.chain("x", ("node", self._node), "y").compile(checkpointer=self._memory)
        return self.calls.chain(("inner", inner), "z").compile(self._saver)


@pytest.fixture(params=[None, True])
async def payments(request: pytest.FixtureRequest, saver: Checkpointer) -> Payments:
    return Payments(saver, request.param)


async def test_tasks_of_a_nested_node_run_once_over_failures_and_restarts(
    payments: Payments, durability: Durability
) -> None:
    payments.is_failing = True
    with pytest.raises(ConnectionError):
        await payments.built().ainvoke({"log": []}, THREAD, durability=durability)
    payments.is_failing = False

    assert questions_of(await payments.built().ainvoke(None, THREAD, durability=durability)) == ["ok?"]
    result = await payments.built().ainvoke(Command(resume="yes"), THREAD, durability=durability)

    assert result == {"log": ["x", "paid 1", "paid 2", "yes", "y", "z"]}
    assert payments.calls.taken() == ["x", "pay 1", "pay 2", "y", "z"]


async def test_changed_calls_in_a_nested_node_are_an_error_after_a_restart(payments: Payments) -> None:
    """P10."""
    await payments.built().ainvoke({"log": []}, THREAD)
    payments.pays = [3, 2]

    with pytest.raises(ReplayMismatchError, match="'pay'"):
        await payments.built().ainvoke(Command(resume="yes"), THREAD)
    payments.pays = [1, 2]

    assert (await payments.built().ainvoke(None, THREAD))["log"][-3:] == ["yes", "y", "z"]
    assert payments.calls.taken() == ["x", "pay 1", "pay 2", "y", "z"]


async def test_a_fork_from_before_a_nested_node_calls_its_tasks_again(payments: Payments) -> None:
    graph = payments.built()
    await graph.ainvoke({"log": []}, THREAD)
    inside = (await nested_state(graph)).config
    await graph.ainvoke(Command(resume="first"), THREAD)
    payments.calls.taken()

    # The fork may make other calls, since no calls are recorded on its branch.
    payments.pays = [7]
    edited = await graph.aupdate_state(inside, {"log": ["edited"]}, as_node="x")
    assert questions_of(await graph.ainvoke(None, edited)) == ["ok?"]
    result = await graph.ainvoke(Command(resume="second"), THREAD)

    assert result == {"log": ["x", "edited", "paid 7", "second", "y", "z"]}
    assert payments.calls.taken() == ["pay 7", "y", "z"]


async def test_a_replay_from_after_a_nested_node_keeps_the_results_of_its_tasks(payments: Payments) -> None:
    graph = payments.built()
    await graph.ainvoke({"log": []}, THREAD)
    inside = (await nested_state(graph)).config["configurable"]["checkpoint_ns"]
    await graph.ainvoke(Command(resume="yes"), THREAD)
    payments.calls.taken()
    within = {"configurable": {"thread_id": "t", "checkpoint_ns": inside}}

    result = await graph.ainvoke(None, newest_before(await history(graph, within), "y").config)

    assert result == {"log": ["x", "paid 1", "paid 2", "yes", "y", "z"]}
    assert payments.calls.taken() == ["y", "z"]


async def test_an_entrypoint_in_a_nested_graph_is_resumed_and_replayed(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()

    @task
    async def pay(amount: int) -> str:
        calls.note(f"pay {amount}")
        return f"paid {amount}"

    @entrypoint()
    async def flow(amount: int) -> list[str]:
        return [await pay(amount), interrupt("ok?"), await pay(amount + 1)]

    async def node(state: State) -> State:
        return {"log": await flow.ainvoke(1)}

    inner = calls.chain("x", ("node", node)).compile()
    graph = calls.chain("a", ("inner", inner), "z").compile(saver)
    await graph.ainvoke({"log": []}, THREAD, durability=durability)
    result = await graph.ainvoke(Command(resume="yes"), THREAD, durability=durability)

    assert result["log"][-4:] == ["paid 1", "yes", "paid 2", "z"]
    assert calls.taken() == ["a", "x", "pay 1", "pay 2", "z"]
    if durability == "exit":
        return
    replayed = await graph.ainvoke(None, await checkpoint_before(graph, "inner"), durability=durability)
    assert questions_of(replayed) == ["ok?"]
    result = await graph.ainvoke(Command(resume="no"), THREAD, durability=durability)
    assert result["log"][-4:] == ["paid 1", "no", "paid 2", "z"]
    assert calls.taken() == ["x", "pay 1", "pay 2", "z"]


async def test_a_checkpoint_of_an_entrypoint_that_a_node_calls_can_be_resumed(saver: Checkpointer) -> None:
    calls = Nodes()

    @task
    async def pay(amount: int) -> str:
        calls.note(f"pay {amount}")
        return f"paid {amount}"

    @entrypoint()
    async def flow(amount: int) -> list[str]:
        return [await pay(amount), interrupt("ok?")]

    async def node(state: State) -> State:
        return {"log": await flow.ainvoke(1)}

    graph = calls.chain("a", ("node", node), "z").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    inside = await nested_state(graph)
    assert (inside.next, [each.value for each in inside.interrupts]) == (("flow",), ["ok?"])
    await graph.ainvoke(Command(resume="yes"), THREAD)
    calls.taken()

    assert questions_of(await graph.ainvoke(None, inside.config)) == ["ok?"]
    assert await graph.ainvoke(Command(resume="no"), THREAD) == {"log": ["a", "paid 1", "no", "z"]}
    assert calls.taken() == ["pay 1", "z"]


async def test_a_replayed_entrypoint_gets_the_previous_value_of_its_checkpoint(saver: Checkpointer) -> None:
    seen: list[Any] = []

    @entrypoint(checkpointer=saver)
    async def adds(number: int, *, previous: int | None = None) -> Any:
        seen.append(previous)
        return entrypoint.final(value=number, save=(previous or 0) + number)

    for number in (1, 2, 3):
        await adds.ainvoke(number, THREAD)
    begun = [each for each in await history(adds) if each.next]

    assert await adds.ainvoke(None, begun[1].config) == 2
    await adds.ainvoke(10, THREAD)

    assert seen == [None, 1, 3, 1, 3]


async def test_an_entrypoint_with_memory_in_a_replayed_node_gets_the_previous_value_of_its_checkpoint(
    saver: Checkpointer,
) -> None:
    seen: list[Any] = []

    @entrypoint(checkpointer=True)
    async def remembers(turn: int, *, previous: int | None = None) -> int:
        seen.append(previous)
        return turn

    turns = iter(range(10))

    async def node(state: State) -> State:
        return {"log": [f"{await remembers.ainvoke(next(turns))}"]}

    graph = Nodes().chain("a", ("node", node)).compile(saver)
    for _ in range(3):
        await graph.ainvoke({"log": []}, THREAD)
    second = [each for each in await history(graph) if each.next == ("node",)][1]

    await graph.ainvoke(None, second.config)

    assert seen == [None, 0, 1, 0]


async def test_attempts_of_a_nested_task_are_counted_apart_from_those_of_the_calling_node(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()
    task_fails, node_fails = iter([True, True, False]), iter([True, False])

    @task(retry_policy=AT_ONCE)
    async def flaky() -> str:
        calls.note("flaky")
        if next(task_fails):
            raise ConnectionError
        return "done"

    async def works(state: State) -> State:
        return {"log": [await flaky()]}

    async def bad(state: State) -> State:
        if next(node_fails):
            raise ConnectionError
        return {"log": ["bad"]}

    inner = calls.chain(("works", works), ("bad", bad)).compile()

    async def call(state: State) -> State:
        calls.note("call")
        return {"log": (await inner.ainvoke({"log": []}))["log"]}

    builder = StateGraph(State).add_node("call", call, retry_policy=AT_ONCE).add_edge(START, "call")

    result = await builder.compile(saver).ainvoke({"log": []}, THREAD, durability=durability)

    assert result == {"log": ["done", "bad"]}
    assert calls.taken() == ["call", "flaky", "flaky", "flaky", "call"]


async def test_a_breakpoint_stops_an_entrypoint_before_it_starts(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()

    @entrypoint(checkpointer=saver)
    async def flow(number: int) -> int:
        calls.note("flow")
        return number

    assert await flow.ainvoke(1, THREAD, durability=durability, interrupt_before="*") is None
    assert ((await flow.aget_state(THREAD)).next, calls.taken()) == (("flow",), [])

    assert await flow.ainvoke(None, THREAD, durability=durability) == 1
