"""`recursion_limit`, `max_concurrency` and `step_timeout` in whole graphs."""

import asyncio
import threading
from typing import Any, TypedDict

import pytest

from durable_graph import (
    END,
    START,
    Checkpointer,
    Command,
    Durability,
    GraphRecursionError,
    InvalidOptionError,
    MemorySaver,
    Send,
    StateGraph,
    StepTimeoutError,
)
from tests.graphs import Nodes, State, chain, fan_out, questions_of


def chain_of_length(nodes: Nodes, length: int) -> StateGraph[State]:
    return chain(*((f"n{place}", nodes.noting(f"n{place}")) for place in range(length)))


async def test_a_recursion_limit_of_n_is_enough_for_n_supersteps(saver: Checkpointer, durability: Durability) -> None:
    """Reference P23: a run that had finished was an error."""
    graph = chain_of_length(Nodes(), 4).compile(saver)

    assert len((await graph.ainvoke({}, thread_id="t", recursion_limit=4, durability=durability))["log"]) == 4


async def test_a_run_stops_exactly_at_the_recursion_limit_and_the_error_names_the_pending_nodes(
    saver: Checkpointer, durability: Durability
) -> None:
    """Reference P23."""
    nodes = Nodes()
    graph = chain_of_length(nodes, 4).compile(saver)

    with pytest.raises(GraphRecursionError, match="n3") as raised:
        await graph.ainvoke({}, thread_id="t", recursion_limit=3, durability=durability)

    assert (raised.value.limit, raised.value.pending) == (3, ("n3",))
    assert nodes.calls == {"n0": 1, "n1": 1, "n2": 1}
    assert (await graph.aget_state(thread_id="t")).next == ("n3",)


async def test_a_resumed_run_has_the_same_recursion_limit(saver: Checkpointer, durability: Durability) -> None:
    """Reference P23: two more supersteps were allowed."""
    nodes = Nodes()
    graph = chain_of_length(nodes, 6).compile(saver)

    reached = []
    given: Any = {}
    for _ in range(2):
        with pytest.raises(GraphRecursionError):
            await graph.ainvoke(given, thread_id="t", recursion_limit=2, durability=durability)
        reached.append(sum(nodes.calls.values()))
        given = None
    await graph.ainvoke(None, thread_id="t", recursion_limit=2, durability=durability)

    assert reached == [2, 4]
    assert sum(nodes.calls.values()) == 6


async def test_a_loop_of_commands_ends_at_the_recursion_limit(saver: Checkpointer) -> None:
    """Reference P23."""

    async def again(state: State) -> Command[Any]:
        return Command(update={"log": ["again"]}, goto="again")

    builder = StateGraph(State)
    builder.add_node("again", again, destinations=("again",))
    builder.add_edge(START, "again")
    graph = builder.compile(saver)

    with pytest.raises(GraphRecursionError):
        await graph.ainvoke({}, thread_id="t", recursion_limit=7)

    assert (await graph.aget_state(thread_id="t")).values == {"log": ["again"] * 7}


async def test_an_interrupt_at_the_recursion_limit_is_returned(saver: Checkpointer) -> None:
    """Reference P23: the superstep of the interrupt is within the limit, and so is that of the resume."""
    nodes = Nodes()
    graph = chain(("a", nodes.noting("a")), ("ask", nodes.asking("ask", "sure?"))).compile(saver)

    assert questions_of(await graph.ainvoke({}, thread_id="t", recursion_limit=2)) == ["sure?"]
    assert await graph.ainvoke(Command(resume="yes"), thread_id="t", recursion_limit=1) == {"log": ["a", "ask:yes"]}


async def test_the_recursion_limit_may_come_in_the_config(saver: Checkpointer) -> None:
    graph = chain_of_length(Nodes(), 2).compile(saver)

    with pytest.raises(GraphRecursionError):
        await graph.ainvoke({}, {"configurable": {"thread_id": "t"}, "recursion_limit": 1})


class Crowd:
    """A graph that counts how many of its tasks run at the same time."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0

    async def work(self, number: Any) -> State:
        self.running += 1
        self.most = max(self.most, self.running)
        for _ in range(3):
            await asyncio.sleep(0)
        self.running -= 1
        return {"log": [str(number)]}

    def graph(self, width: int) -> StateGraph[State]:
        builder = chain(("plan", Nodes().noting("plan")))
        builder.add_node("work", self.work)
        builder.add_node("last", Nodes().noting("last"))
        builder.add_conditional_edges("plan", lambda _: [Send("work", number) for number in range(width)], ["work"])
        builder.add_conditional_edges("work", lambda _: "last", ["last"])
        return builder


async def test_all_tasks_run_concurrently_without_a_limit(saver: Checkpointer) -> None:
    crowd = Crowd()

    result = await crowd.graph(100).compile(saver).ainvoke({}, thread_id="t")

    assert result["log"] == ["plan", *map(str, range(100)), "last"]
    assert (crowd.most, crowd.running) == (100, 0)


@pytest.mark.parametrize("limit", [1, 10])
async def test_no_more_tasks_run_concurrently_than_max_concurrency(
    saver: Checkpointer, durability: Durability, limit: int
) -> None:
    crowd = Crowd()

    config = {"configurable": {"thread_id": "t"}, "max_concurrency": limit}
    result = await crowd.graph(100).compile(saver).ainvoke({}, config, durability=durability)

    assert result["log"] == ["plan", *map(str, range(100)), "last"]
    assert (crowd.most, crowd.running) == (limit, 0)


async def test_nested_graphs_do_not_deadlock_with_a_max_concurrency_of_one(saver: Checkpointer) -> None:
    """Reference P9: with a limit of one, a node that awaited a nested graph waited for ever."""
    inner = chain(("a", Nodes().noting("a"))).compile()

    async def call(state: State) -> State:
        return {"log": (await inner.ainvoke({}))["log"]}

    graph = fan_out(("one", call), ("two", call)).compile(saver)

    assert await graph.ainvoke({}, thread_id="t", max_concurrency=1) == {"log": ["a", "a"]}


# step_timeout


def quick_and_slow(
    nodes: Nodes, hanging: list[bool], entered: asyncio.Event | None = None
) -> tuple[StateGraph[State], list[str]]:
    """A graph of `quick`, which finishes, and `slow`, which hangs if `hanging[0]`; and the names of cancelled nodes."""
    cancelled: list[str] = []

    async def slow(state: State) -> State:
        nodes.calls["slow"] += 1
        if entered is not None:
            entered.set()
        if hanging[0]:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append("slow")
                raise
        return {"log": ["slow"]}

    return fan_out(("quick", nodes.noting("quick")), ("slow", slow)), cancelled


async def test_a_superstep_that_times_out_is_an_error_and_keeps_finished_results(
    saver: Checkpointer, durability: Durability
) -> None:
    """Reference P29: as in LangGraph, the sibling's result is kept; here the error also names the node."""
    nodes, hanging = Nodes(), [True]
    builder, cancelled = quick_and_slow(nodes, hanging)
    graph = builder.compile(saver)
    graph.step_timeout = 0.02

    with pytest.raises(StepTimeoutError, match="slow") as raised:
        await graph.ainvoke({}, thread_id="t", durability=durability)

    assert isinstance(raised.value, TimeoutError)
    assert (raised.value.limit, raised.value.nodes) == (0.02, ("slow",))
    assert cancelled == ["slow"]
    snapshot = await graph.aget_state(thread_id="t")
    assert (snapshot.values, snapshot.next) == ({"log": ["quick"]}, ("slow",))
    hanging[0] = False
    assert await graph.ainvoke(None, thread_id="t", durability=durability) == {"log": ["quick", "slow"]}
    assert nodes.calls == {"quick": 1, "slow": 2}


async def test_a_task_stopped_by_step_timeout_has_no_error_of_its_own(saver: Checkpointer) -> None:
    """Reference P29: the task was recorded as failed, with `CancelledError()`."""
    builder, _ = quick_and_slow(Nodes(), [True])
    graph = builder.compile(saver)
    graph.step_timeout = 0.02
    with pytest.raises(StepTimeoutError):
        await graph.ainvoke({}, thread_id="t")

    snapshot = await graph.aget_state(thread_id="t")

    assert [(task.name, task.error) for task in snapshot.tasks] == [("quick", None), ("slow", None)]


async def test_a_cancelled_task_has_no_error_of_its_own(saver: Checkpointer, durability: Durability) -> None:
    """Reference P29."""
    nodes, hanging = Nodes(), [True]
    entered = asyncio.Event()
    builder, cancelled = quick_and_slow(nodes, hanging, entered)
    graph = builder.compile(saver)
    running = asyncio.create_task(graph.ainvoke({}, thread_id="t", durability=durability))
    await entered.wait()

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert cancelled == ["slow"]
    snapshot = await graph.aget_state(thread_id="t")
    assert [(task.name, task.error) for task in snapshot.tasks] == [("quick", None), ("slow", None)]
    assert snapshot.next == ("slow",)
    hanging[0] = False
    assert await graph.ainvoke(None, thread_id="t") == {"log": ["quick", "slow"]}


async def test_a_single_task_is_stopped_by_step_timeout(saver: Checkpointer) -> None:
    async def slow(state: State) -> State:
        await asyncio.Event().wait()
        return {}

    graph = chain(("slow", slow)).compile(saver)
    graph.step_timeout = 0.02

    with pytest.raises(StepTimeoutError, match="slow"):
        await graph.ainvoke({}, thread_id="t")


@pytest.mark.parametrize("is_alone", [True, False])
@pytest.mark.parametrize("where", ["in its routers", "in a thread"])
async def test_a_node_result_is_kept_if_step_timeout_expires_in_its_router_or_its_thread(
    saver: Checkpointer, where: str, is_alone: bool
) -> None:
    nodes, hanging = Nodes(), [True]
    loop, is_late = asyncio.get_running_loop(), threading.Event()

    def in_a_thread(state: State) -> State:
        nodes.calls["slow"] += 1
        loop.call_soon_threadsafe(loop.call_later, 0.1, is_late.set)
        assert is_late.wait(10)
        return {"log": ["slow"]}

    async def choose(state: State) -> str:
        if hanging[0]:
            await asyncio.Event().wait()
        return END

    slow: Any = in_a_thread if where == "in a thread" else nodes.noting("slow")
    builder = chain(("slow", slow)) if is_alone else fan_out(("quick", nodes.noting("quick")), ("slow", slow))
    if where == "in its routers":
        builder.add_conditional_edges("slow", choose, [END])
    graph = builder.compile(saver)
    graph.step_timeout = 0.02

    with pytest.raises(StepTimeoutError) as raised:
        await graph.ainvoke({}, thread_id="t")

    assert raised.value.nodes == ("slow",)
    hanging[0] = False
    result = await graph.ainvoke(None, thread_id="t")
    assert result == {"log": ["slow"] if is_alone else ["quick", "slow"]}
    assert nodes.calls["slow"] == 1


async def test_step_timeout_starts_again_at_each_superstep() -> None:
    graph = chain_of_length(Nodes(), 50).compile(MemorySaver())
    graph.step_timeout = 5.0

    assert len((await graph.ainvoke({}, thread_id="t"))["log"]) == 50


async def test_an_interrupt_stays_pending_if_a_sibling_times_out(saver: Checkpointer) -> None:
    nodes, hanging = Nodes(), [True]
    builder, _ = quick_and_slow(nodes, hanging)
    builder.add_node("ask", nodes.asking("ask", "sure?"))
    builder.add_edge(START, "ask")
    graph = builder.compile(saver)
    graph.step_timeout = 0.02
    with pytest.raises(StepTimeoutError):
        await graph.ainvoke({}, thread_id="t")

    assert questions_of((await graph.aget_state(thread_id="t")).interrupts) == ["sure?"]


# without a checkpointer


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_a_durability_without_a_checkpointer_has_no_effect(durability: Durability) -> None:
    """Reference P27: `'AsyncPregelLoop' object has no attribute '_put_checkpoint_fut'`."""

    class Text(TypedDict):
        text: str

    async def shout(state: Text) -> Text:
        return {"text": state["text"].upper()}

    builder = StateGraph(Text)
    builder.add_node("shout", shout)
    builder.add_edge(START, "shout")
    builder.add_edge("shout", END)

    assert await builder.compile().ainvoke({"text": "a"}, durability=durability) == {"text": "A"}


async def test_a_nested_graph_has_its_own_step_timeout(saver: Checkpointer, durability: Durability) -> None:
    nodes, hanging = Nodes(), [True]
    builder, cancelled = quick_and_slow(nodes, hanging)
    inner = builder.compile()
    inner.step_timeout = 0.02
    graph = chain(("inner", inner)).compile(saver)

    with pytest.raises(StepTimeoutError, match="slow"):
        await graph.ainvoke({}, thread_id="t", durability=durability)

    assert cancelled == ["slow"]
    hanging[0] = False
    assert await graph.ainvoke(None, thread_id="t", durability=durability) == {"log": ["quick", "slow"]}
    assert nodes.calls == {"quick": 1, "slow": 2}


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "1", True])
async def test_an_invalid_step_timeout_is_refused_when_it_is_set(seconds: Any) -> None:
    graph = chain(("a", Nodes().noting("a"))).compile()

    with pytest.raises(InvalidOptionError, match=r"step_timeout=.* seconds above 0"):
        graph.step_timeout = seconds

    assert graph.step_timeout is None
    graph.step_timeout = 5
    assert graph.with_config({"recursion_limit": 3}).step_timeout == 5.0
