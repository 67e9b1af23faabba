"""The calls that a worker makes of claimed runs, and what is left of them in memory."""

import gc
from typing import Any, TypedDict

from durable_graph import START, CompiledGraph, InMemorySaver, StateGraph
from durable_graph._runtime.events.run_log import RunLog
from durable_graph._runtime.request.owned_run import OwnedRun
from durable_graph._runtime.request.run import RunControl
from durable_graph.checkpointing.run_store import RunStore
from durable_graph.run_records import Claim, NewWorker
from durable_graph.runs import App
from durable_graph.runs.claimed_request import ClaimedCalls


class State(TypedDict, total=False):
    number: int


def one_node(node: Any) -> CompiledGraph[Any, Any, Any, Any]:
    return StateGraph(State).add_node("step", node).add_edge(START, "step").compile()


async def step(state: State) -> State:
    return {"number": state["number"] + 1}


async def claimed(store: RunStore) -> list[Claim]:
    await store.register(NewWorker(1, 10_000_000, "a worker"))
    return await store.claim(1, ["one"], 10)


OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"durability": "exit", "recursion_limit": 7, "interrupt_before": ["step"], "debug": True, "events": "all"},
    {"config": {"tags": ["a"], "metadata": {"b": 1}, "configurable": {"c": 2}}},
)


async def test_each_run_is_called_with_its_own_options_whatever_run_was_called_before() -> None:
    app = App({"one": one_node(step)}, InMemorySaver())
    for number in range(8):
        # Pairs of equal options, each of them after each other.
        options = OPTIONS[(0, 0, 1, 1, 2, 2, 0, 1)[number]]
        await app.start("one", {"number": number}, thread_id=f"t{number}", **options)
    claims, calls = await claimed(app.store), ClaimedCalls(app.graph("one"), None)
    claims.sort(key=lambda claim: claim.thread)

    owned, control = OwnedRun(1, has_input=True), RunControl()
    found = [calls.of(claim, owned, control) for claim in claims]

    # As the first call of a worker, which has read none before.
    assert found == [ClaimedCalls(app.graph("one"), None).of(claim, owned, control) for claim in claims]
    assert [call.input for call, _ in found] == [{"number": number} for number in range(8)]
    assert [call.config["configurable"]["thread_id"] for call, _ in found] == [f"t{number}" for number in range(8)]
    assert [call.recursion_limit for call, _ in found] == [10_000, 10_000, 7, 7, 10_000, 10_000, 10_000, 7]
    assert [keeps_events for _, keeps_events in found] == [False, False, True, True, False, False, False, True]


async def test_a_change_of_the_config_in_a_node_is_not_seen_by_the_next_run() -> None:
    seen: list[tuple[str, bool, object]] = []

    async def marks(state: State, config: dict[str, Any]) -> State:
        seen.append((config["configurable"]["thread_id"], "mark" in config["configurable"], config.get("metadata")))
        config["configurable"]["mark"] = state["number"]
        config["metadata"] = {"mark": 1}
        return {}

    app = App({"one": one_node(marks)}, InMemorySaver())
    async with app.worker():
        for number in range(3):
            await (await app.start("one", {"number": number}, thread_id=f"t{number}")).result()

    assert [(thread, is_marked) for thread, is_marked, _ in seen] == [("t0", False), ("t1", False), ("t2", False)]
    assert [metadata for *_, metadata in seen] == [seen[0][2]] * 3


async def test_an_executed_run_is_freed_without_a_garbage_collection() -> None:
    app = App({"one": one_node(step)}, InMemorySaver())
    gc.collect()
    gc.disable()
    try:
        async with app.worker():
            for number in range(3):
                await (await app.start("one", {"number": number})).result()
        left = [type(each) for each in gc.get_objects() if type(each) in (RunLog, OwnedRun)]
    finally:
        gc.enable()

    assert left == []
