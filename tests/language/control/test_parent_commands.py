"""`Command(graph=Command.PARENT)`: a nested graph ends, and its parent graph applies the Command."""

import asyncio
import operator
from typing import Annotated, Any, Literal, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    Durability,
    InvalidNodeResultError,
    InvalidUpdateError,
    RetryPolicy,
    Send,
    StateGraph,
    UnknownNameError,
)
from tests.errors.kinds import of_kind
from tests.graphs import Nodes, State, chain

Memory = Literal[True] | None
MEMORIES = pytest.mark.parametrize("memory", [None, True], ids=["per call", "per thread"])


def around(inner: Any, nodes: Nodes) -> StateGraph[State]:
    """A graph of the node `inner`, and of a node to which only its Command leads."""
    builder = StateGraph(State)
    builder.add_node("inner", inner, destinations=("after",))
    builder.add_node("after", nodes.noting("after"))
    builder.add_edge(START, "inner")
    return builder


def leaving(command: Command[Any], *, memory: Memory = None) -> Any:
    """A nested graph that logs its first node and then returns this Command."""

    async def leave(state: State) -> Command[Any]:
        return command

    return chain(("first", Nodes().noting("first")), ("leave", leave)).compile(checkpointer=memory)


@MEMORIES
async def test_the_parent_runs_the_target_of_a_parent_command(
    saver: Checkpointer, durability: Durability, memory: Memory
) -> None:
    command: Command[Any] = Command(graph=Command.PARENT, goto="after", update={"log": ["left"]})
    graph = around(leaving(command, memory=memory), Nodes()).compile(saver)

    result = await graph.ainvoke({"log": ["in"]}, thread_id="t", durability=durability)

    assert result == {"log": ["in", "left", "after"]}


@MEMORIES
async def test_the_parent_applies_an_update_of_keys_that_the_nested_graph_does_not_have(
    saver: Checkpointer, memory: Memory
) -> None:
    class Person(TypedDict, total=False):
        log: Annotated[list[str], operator.add]
        name: str

    command: Command[Any] = Command(graph=Command.PARENT, update={"name": "Meow"})
    builder = StateGraph(Person)
    builder.add_node("inner", leaving(command, memory=memory))
    builder.add_edge(START, "inner")
    graph = builder.compile(saver)

    assert await graph.ainvoke({"log": ["in"]}, thread_id="t") == {"log": ["in"], "name": "Meow"}
    assert (await graph.aget_state(thread_id="t")).next == ()


async def test_a_parent_command_may_contain_sends(saver: Checkpointer) -> None:
    async def work(job: Any) -> State:
        return {"log": [job]}

    command: Command[Any] = Command(graph=Command.PARENT, goto=[Send("work", job) for job in "xy"])
    builder = StateGraph(State)
    builder.add_node("inner", leaving(command), destinations=("work",))
    builder.add_node("work", work)
    builder.add_edge(START, "inner")

    assert await builder.compile(saver).ainvoke({}, thread_id="t") == {"log": ["x", "y"]}


async def test_the_edges_of_the_calling_node_are_followed_as_well(saver: Checkpointer) -> None:
    nodes = Nodes()
    builder = around(leaving(Command(graph=Command.PARENT, goto="after")), nodes)
    builder.add_node("edge", nodes.noting("edge"))
    builder.add_edge("inner", "edge")

    assert await builder.compile(saver).ainvoke({}, thread_id="t") == {"log": ["after", "edge"]}


async def test_the_calling_node_ends_at_a_parent_command(saver: Checkpointer, durability: Durability) -> None:
    inner = leaving(Command(graph=Command.PARENT, goto="after"))
    continued = False

    async def call(state: State) -> State:
        nonlocal continued
        await inner.ainvoke({})
        continued = True
        return {"log": ["went on"]}

    graph = around(call, Nodes()).compile(saver)

    assert await graph.ainvoke({"log": ["in"]}, thread_id="t", durability=durability) == {"log": ["in", "after"]}
    assert not continued


async def test_except_exception_does_not_swallow_a_parent_command(saver: Checkpointer) -> None:
    """Reference P18."""
    inner = leaving(Command(graph=Command.PARENT, goto="after"))

    async def call(state: State) -> State:
        try:
            await inner.ainvoke({})
        except Exception:
            return {"log": ["swallowed"]}
        raise AssertionError

    assert await around(call, Nodes()).compile(saver).ainvoke({}, thread_id="t") == {"log": ["after"]}


async def test_a_parent_command_raised_in_a_task_group_is_unwrapped(saver: Checkpointer) -> None:
    inner = leaving(Command(graph=Command.PARENT, goto="after"))

    async def call(state: State) -> State:
        async with asyncio.TaskGroup() as group:
            group.create_task(inner.ainvoke({}))
        raise AssertionError

    assert await around(call, Nodes()).compile(saver).ainvoke({}, thread_id="t") == {"log": ["after"]}


@pytest.mark.parametrize("jump", [1, 2])
async def test_either_of_two_nested_calls_may_end_with_a_parent_command(saver: Checkpointer, jump: int) -> None:
    async def maybe(state: State) -> Command[Any] | State:
        return Command(graph=Command.PARENT, goto="after") if state["log"] == ["jump"] else {"log": ["stayed"]}

    inner = chain(("maybe", maybe)).compile()
    reached: list[int] = []

    async def call(state: State) -> State:
        for place in (1, 2):
            reached.append(place)
            await inner.ainvoke({"log": ["jump" if place == jump else "stay"]})
        raise AssertionError

    result = await around(call, Nodes()).compile(saver).ainvoke({}, thread_id="t")

    assert result == {"log": ["after"]}
    assert reached == list(range(1, jump + 1))


async def test_a_parent_command_applies_to_the_direct_parent_only(saver: Checkpointer) -> None:
    nodes = Nodes()
    innermost = leaving(Command(graph=Command.PARENT, goto="after", update={"log": ["left"]}))
    middle = around(innermost, nodes).compile()

    async def outer(state: State) -> State:
        return {"log": [f"outer({','.join((await middle.ainvoke({}))['log'])})"]}

    graph = chain(("outer", outer)).compile(saver)

    assert await graph.ainvoke({}, thread_id="t") == {"log": ["outer(left,after)"]}


async def test_a_parent_command_is_not_retried(saver: Checkpointer) -> None:
    nodes = Nodes()
    inner = leaving(Command(graph=Command.PARENT, goto="after"))

    async def call(state: State) -> State:
        nodes.calls["call"] += 1
        await inner.ainvoke({})
        raise AssertionError

    builder = StateGraph(State)
    builder.add_node("call", call, destinations=("after",), retry_policy=RetryPolicy(initial_interval=0, jitter=False))
    builder.add_node("after", nodes.noting("after"))
    builder.add_edge(START, "call")

    assert await builder.compile(saver).ainvoke({}, thread_id="t") == {"log": ["after"]}
    assert nodes.calls == {"call": 1, "after": 1}


async def test_a_parent_command_without_a_parent_is_an_error(saver: Checkpointer, durability: Durability) -> None:
    """LangGraph raises an internal exception that contains the Command."""

    async def leave(state: State) -> Command[Any]:
        return Command(graph=Command.PARENT, goto="after")

    graph = chain(("leave", leave)).compile(saver)

    with pytest.raises(InvalidNodeResultError, check=of_kind("parent"), match="'leave'") as raised:
        await graph.ainvoke({}, thread_id="t", durability=durability)

    assert raised.value.node == "leave"
    assert (await graph.aget_state(thread_id="t")).next == ("leave",)


async def test_an_unknown_target_in_the_parent_is_an_error_that_names_it(saver: Checkpointer) -> None:
    """Reference P21."""
    graph = around(leaving(Command(graph=Command.PARENT, goto="first")), Nodes()).compile(saver)

    with pytest.raises(UnknownNameError, check=of_kind("route"), match=r"'first'.*the graph has: after, inner"):
        await graph.ainvoke({}, thread_id="t")

    assert (await graph.aget_state(thread_id="t")).next == ("inner",)


async def test_a_parent_command_together_with_other_results_is_refused(saver: Checkpointer) -> None:
    """LangGraph applies the first Command for the parent and drops the other results."""

    async def leave(state: State) -> list[Command[Any]]:
        return [Command(update={"log": ["here"]}), Command(graph=Command.PARENT, goto="after")]

    graph = around(chain(("leave", leave)).compile(), Nodes()).compile(saver)

    with pytest.raises(InvalidUpdateError, match="parent"):
        await graph.ainvoke({}, thread_id="t")
