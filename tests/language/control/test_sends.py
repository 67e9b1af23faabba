"""Sends: tasks with inputs of their own, in a fixed order."""

import asyncio
from typing import Any

import pytest

from durable_graph import (
    END,
    START,
    Checkpointer,
    Command,
    Durability,
    Send,
    StateGraph,
    UnknownNameError,
    interrupt,
)
from tests.errors.kinds import of_kind
from tests.graphs import Nodes, State, chain


class Sending:
    """LangGraph's example of Sends that send again: a worker logs its name and sends to the nodes in its argument."""

    def __init__(self) -> None:
        self.nodes = Nodes()
        self.interrupts_once = False

    async def worker(self, argument: Any) -> Command[Any]:
        self.nodes.calls["worker"] += 1
        goto = [Send(node, {"name": name, "goto": []}) for node, name in argument["goto"]]
        return Command(update={"log": [f"worker {argument['name']}"]}, goto=goto)

    async def flaky(self, argument: Any) -> State:
        self.nodes.calls["flaky"] += 1
        if self.interrupts_once:
            interrupt("go on?")
        return {"log": [f"flaky {argument['name']}"]}

    def graph(self) -> StateGraph[State]:
        """`plan` sends to two workers, each of which sends once more, and runs `beside`; `last` follows each worker."""

        def plan(state: State) -> list[Send | str]:
            return [
                Send("worker", {"name": "one", "goto": [("worker", "three")]}),
                Send("worker", {"name": "two", "goto": [("flaky", "four")]}),
                "beside",
            ]

        builder = StateGraph(State)
        builder.add_node("plan", self.nodes.noting("plan"))
        builder.add_node("beside", self.nodes.noting("beside"))
        builder.add_node("worker", self.worker, destinations=("worker", "flaky", "last"))
        builder.add_node("flaky", self.flaky)
        builder.add_node("last", self.nodes.noting("last"))
        builder.add_edge(START, "plan")
        builder.add_conditional_edges("plan", plan, ["worker", "beside"])
        builder.add_edge("worker", "last")
        return builder


async def test_sent_tasks_may_send_again_and_their_edges_are_followed_once_per_superstep(
    saver: Checkpointer, durability: Durability
) -> None:
    result = await Sending().graph().compile(saver).ainvoke({}, thread_id="t", durability=durability)

    assert result["log"] == [
        "plan",
        "beside",
        "worker one",
        "worker two",
        "last",
        "worker three",
        "flaky four",
        "last",
    ]


async def test_finished_sends_do_not_run_again_after_an_interrupt_of_another_send(
    saver: Checkpointer, durability: Durability
) -> None:
    sending = Sending()
    sending.interrupts_once = True
    graph = sending.graph().compile(saver)

    await graph.ainvoke({}, thread_id="t", durability=durability)
    assert sending.nodes.calls == {"plan": 1, "beside": 1, "worker": 3, "last": 1, "flaky": 1}
    result = await graph.ainvoke(Command(resume="yes"), thread_id="t", durability=durability)

    assert result["log"][-4:] == ["last", "worker three", "flaky four", "last"]
    assert sending.nodes.calls == {"plan": 1, "beside": 1, "worker": 3, "last": 2, "flaky": 2}


async def test_history_shows_the_pending_sends_of_each_superstep(saver: Checkpointer) -> None:
    graph = Sending().graph().compile(saver)
    await graph.ainvoke({}, thread_id="t")

    history = [each.next async for each in graph.aget_state_history(thread_id="t")]

    assert history == [
        (),
        ("last",),
        ("last", "worker", "flaky"),
        ("beside", "worker", "worker"),
        ("plan",),
    ]


async def test_a_breakpoint_stops_sends_and_the_other_nodes_of_their_superstep(saver: Checkpointer) -> None:
    sending = Sending()
    graph = sending.graph().compile(saver, interrupt_before=["beside"])

    assert (await graph.ainvoke({}, thread_id="t"))["log"] == ["plan"]
    assert sending.nodes.calls == {"plan": 1}
    assert len((await graph.ainvoke(None, thread_id="t"))["log"]) == 8


async def test_results_of_sends_are_in_sending_order_and_not_in_finishing_order(
    saver: Checkpointer, durability: Durability
) -> None:
    gates = [asyncio.Event() for _ in range(4)]

    async def work(number: Any) -> State:
        if number < 3:
            await gates[number + 1].wait()
        gates[number].set()
        return {"log": [str(number)]}

    builder = StateGraph(State)
    builder.add_node("work", work)
    builder.add_conditional_edges(START, lambda _: [Send("work", number) for number in range(4)], ["work"])

    result = await builder.compile(saver).ainvoke({}, thread_id="t", durability=durability)

    assert result == {"log": ["0", "1", "2", "3"]}


async def test_results_of_sends_of_two_senders_are_in_the_order_of_the_senders(saver: Checkpointer) -> None:
    async def work(number: Any) -> State:
        return {"log": [f"work {number}"]}

    nodes = Nodes()
    builder = StateGraph(State)
    for name in ("b", "a", "beside", "last"):
        builder.add_node(name, nodes.noting(name))
    builder.add_node("work", work)
    builder.add_edge(START, "a")
    builder.add_edge(START, "b")
    builder.add_conditional_edges("a", lambda _: [Send("work", 1), Send("work", 2), "beside"], ["work", "beside"])
    builder.add_conditional_edges("b", lambda _: [Send("work", 3), Send("work", 4)], ["work"])
    builder.add_conditional_edges("work", lambda _: "last", ["last"])

    result = await builder.compile(saver).ainvoke({}, thread_id="t")

    assert result["log"] == ["a", "b", "beside", "work 1", "work 2", "work 3", "work 4", "last"]


async def test_a_thousand_sends_run_within_max_concurrency(saver: Checkpointer) -> None:
    running = most = 0

    async def work(number: Any) -> State:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return {"log": [str(number)]}

    async def plan(state: State) -> Command[Any]:
        return Command(goto=[Send("work", number) for number in range(1000)])

    builder = StateGraph(State)
    builder.add_node("plan", plan, destinations=("work",))
    builder.add_node("work", work)
    builder.add_edge(START, "plan")

    result = await builder.compile(saver).ainvoke({}, thread_id="t", max_concurrency=10)

    assert result["log"] == [str(number) for number in range(1000)]
    assert (running, most) == (0, 10)


async def test_a_send_takes_any_argument_that_can_be_stored(saver: Checkpointer, durability: Durability) -> None:
    taken: list[object] = []
    failing = True

    async def work(argument: Any) -> State:
        if failing:
            message = "not yet"
            raise ValueError(message)
        taken.append(argument)
        return {}

    arguments: list[Any] = [None, 0, "", (1, 2), {"a": (1,)}, [b"bytes"]]
    builder = StateGraph(State)
    builder.add_node("work", work)
    builder.add_conditional_edges(START, lambda _: [Send("work", each) for each in arguments], ["work"])
    graph = builder.compile(saver)
    with pytest.raises(ValueError, match="not yet"):
        await graph.ainvoke({}, thread_id="t", durability=durability)
    failing = False

    await graph.ainvoke(None, thread_id="t", durability=durability)

    assert taken == arguments
    assert [type(each) for each in taken] == [type(each) for each in arguments]


async def test_a_send_of_a_router_to_an_unknown_node_is_an_error_and_loses_no_result(
    saver: Checkpointer, durability: Durability
) -> None:
    """Reference P21: the Send was dropped and the run "succeeded"."""
    target = "nowhere"
    nodes = Nodes()
    builder = chain(("a", nodes.noting("a")))
    builder.add_node("b", nodes.noting("b"))
    builder.add_conditional_edges("a", lambda _: [Send("b", {}), Send(target, {})])
    graph = builder.compile(saver)

    with pytest.raises(UnknownNameError, check=of_kind("send"), match=r"'nowhere'.*the graph has: a, b"):
        await graph.ainvoke({}, thread_id="t", durability=durability)
    assert (await graph.aget_state(thread_id="t")).values == {"log": ["a"]}
    target = "b"

    assert await graph.ainvoke(None, thread_id="t", durability=durability) == {"log": ["a", "b", "b"]}
    assert nodes.calls == {"a": 1, "b": 2}


async def test_a_send_of_a_router_to_the_end_is_an_error(saver: Checkpointer) -> None:
    builder = chain(("a", Nodes().noting("a")))
    builder.add_conditional_edges("a", lambda _: [Send(END, {})])

    with pytest.raises(UnknownNameError, check=of_kind("send"), match="__end__"):
        await builder.compile(saver).ainvoke({}, thread_id="t")
