"""`Command(graph=Command.PARENT)`: a nested node updates the state of the parent graph and chooses its next nodes."""

from typing import Any

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    Durability,
    InvalidUpdateError,
    NodeError,
    ParentCommand,
    Send,
    StateGraph,
    StateKeyError,
    UnknownNameError,
    interrupt,
    task,
)
from tests.errors.kinds import of_kind
from tests.graphs import THREAD, Nodes, State, history, questions_of

TO_PARENT = Command.PARENT


def commanding(command: Any, calls: Nodes | None = None, **compiled: Any) -> Any:
    """A nested graph whose second node returns `command`."""

    async def hand_up(state: State) -> Any:
        return command

    return (calls or Nodes()).chain("x", ("hand_up", hand_up)).compile(**compiled)


def with_target(calls: Nodes, inner: Any) -> StateGraph[State]:
    builder = StateGraph(State)
    builder.add_node("inner", inner, destinations=("target",))
    builder.add_node("target", calls.noting("target"))
    return builder.add_edge(START, "inner")


@pytest.mark.parametrize("persisted", [None, True, False])
async def test_a_parent_command_updates_the_parent_state_and_runs_its_target(
    saver: Checkpointer, durability: Durability, persisted: bool | None
) -> None:
    command: Command[Any] = Command(graph=TO_PARENT, goto="target", update={"log": ["up"]})
    graph = with_target(Nodes(), commanding(command, checkpointer=persisted)).compile(saver)

    result = await graph.ainvoke({"log": ["in"]}, THREAD, durability=durability)

    # The nested graph does not return its own writes: the command is its output.
    assert result == {"log": ["in", "up", "target"]}


async def test_a_parent_command_works_without_a_checkpointer() -> None:
    command: Command[Any] = Command(graph=TO_PARENT, goto="target", update={"log": ["up"]})

    assert await with_target(Nodes(), commanding(command)).compile().ainvoke({"log": []}) == {"log": ["up", "target"]}


async def test_a_parent_command_from_two_levels_deep_reaches_the_next_outer_graph(saver: Checkpointer) -> None:
    calls = Nodes()
    innermost = commanding(Command(graph=TO_PARENT, goto="target", update={"log": ["up"]}))
    middle = with_target(calls, innermost).compile()
    graph = calls.chain(("middle", middle), "z").compile(saver)

    assert await graph.ainvoke({"log": []}, THREAD) == {"log": ["up", "target", "z"]}


async def test_the_last_superstep_of_the_nested_graph_is_not_committed(saver: Checkpointer) -> None:
    command: Command[Any] = Command(graph=TO_PARENT, goto="target")
    graph = with_target(Nodes(), commanding(command)).compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    at_inner = next(each for each in await history(graph) if each.next == ("inner",))

    nested = await history(graph, at_inner.tasks[0].state)

    assert [each.next for each in nested] == [("hand_up",), ("x",)]


async def test_a_nested_graph_with_memory_starts_over_after_its_parent_command(saver: Checkpointer) -> None:
    calls = Nodes()
    command: Command[Any] = Command(graph=TO_PARENT, goto="target")
    graph = with_target(calls, commanding(command, calls, checkpointer=True)).compile(saver)

    for _ in range(2):
        await graph.ainvoke({"log": []}, THREAD)

    assert calls.taken() == ["x", "target", "x", "target"]


async def test_a_parent_command_may_follow_an_interrupt(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()

    async def ask_and_go(state: State) -> Any:
        return Command(graph=TO_PARENT, goto="target", update={"log": [interrupt("where?")]})

    graph = with_target(calls, calls.chain("x", ("ask_and_go", ask_and_go)).compile()).compile(saver)
    assert questions_of(await graph.ainvoke({"log": []}, THREAD, durability=durability)) == ["where?"]

    result = await graph.ainvoke(Command(resume="there"), THREAD, durability=durability)

    assert result == {"log": ["there", "target"]}
    assert calls.taken() == ["x", "target"]


# Propagation


async def test_a_parent_command_may_send(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()

    async def sent(argument: Any) -> State:
        return {"log": [f"sent {argument}"]}

    command: Command[Any] = Command(graph=TO_PARENT, goto=[Send("sent", 1), "target", Send("sent", 2)])
    builder = StateGraph(State).add_node("inner", commanding(command), destinations=("sent", "target"))
    builder.add_node("sent", sent).add_node("target", calls.noting("target")).add_edge(START, "inner")

    result = await builder.compile(saver).ainvoke({"log": []}, THREAD, durability=durability)

    assert result == {"log": ["target", "sent 1", "sent 2"]}


async def test_an_error_handler_may_return_a_parent_command(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()

    async def bad(state: State) -> State:
        raise ConnectionError

    async def handle(state: State, error: NodeError) -> Any:
        return Command(graph=TO_PARENT, goto="target", update={"log": [f"{error.node} failed"]})

    inner = StateGraph(State).add_node("bad", bad, error_handler=handle).add_edge(START, "bad").compile()

    result = await with_target(calls, inner).compile(saver).ainvoke({"log": []}, THREAD, durability=durability)

    assert result == {"log": ["bad failed", "target"]}


async def test_a_parent_command_passes_a_task_and_is_not_swallowed_by_except_exception(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()
    inner = commanding(Command(graph=TO_PARENT, goto="target", update={"log": ["up"]}))

    @task
    async def tool() -> Any:
        return await inner.ainvoke({"log": []})

    async def call(state: State) -> State:
        try:
            await tool()
        except Exception:
            calls.note("swallowed")
        return {"log": ["went on"]}

    result = await with_target(calls, call).compile(saver).ainvoke({"log": []}, THREAD, durability=durability)

    assert result == {"log": ["up", "target"]}
    assert calls.taken() == ["target"]


async def test_a_node_that_calls_the_graph_may_catch_a_parent_command(saver: Checkpointer) -> None:
    calls = Nodes()
    command: Command[Any] = Command(graph=TO_PARENT, goto="target", update={"log": ["up"]})
    inner = commanding(command)
    caught: list[ParentCommand] = []

    async def call(state: State) -> State:
        try:
            await inner.ainvoke({"log": []})
        except ParentCommand as unwinding:
            caught.append(unwinding)
        return {"log": ["went on"]}

    assert await with_target(calls, call).compile(saver).ainvoke({"log": []}, THREAD) == {"log": ["went on"]}
    assert [each.command for each in caught] == [command]


async def test_a_parent_command_is_not_run_again_when_the_outer_superstep_is_resumed(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()
    is_failing = True

    async def hand_up(state: State) -> Any:
        calls.note("hand_up")
        return Command(graph=TO_PARENT, goto="target", update={"log": ["up"]})

    async def later(state: State) -> State:
        if is_failing:
            raise ConnectionError
        return {"log": ["later"]}

    builder = with_target(calls, calls.chain(("hand_up", hand_up)).compile())
    graph = builder.add_node("later", later).add_edge(START, "later").compile(saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({"log": []}, THREAD, durability=durability, max_concurrency=1)
    assert calls.taken() == ["hand_up"]
    is_failing = False

    result = await graph.ainvoke(None, THREAD, durability=durability)

    assert result == {"log": ["up", "later", "target"]}
    assert calls.taken() == ["target"]


async def test_a_parent_command_drops_the_interrupt_of_a_parallel_node(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()

    async def hand_up(state: State) -> Any:
        return Command(graph=TO_PARENT, goto="target", update={"log": ["up"]})

    inner = StateGraph(State).add_node("ask", calls.asking("ask")).add_node("hand_up", hand_up)
    inner.add_edge(START, "ask").add_edge(START, "hand_up")
    graph = with_target(calls, inner.compile()).compile(saver)

    result = await graph.ainvoke({"log": []}, THREAD, durability=durability)

    assert result == {"log": ["up", "target"]}
    assert (await graph.aget_state(THREAD)).interrupts == ()


# Refused commands


async def test_an_unknown_node_of_the_outer_graph_is_an_error_that_names_it(saver: Checkpointer) -> None:
    """P21."""
    graph = with_target(Nodes(), commanding(Command(graph=TO_PARENT, goto="nowhere"))).compile(saver)

    with pytest.raises(
        UnknownNameError, check=of_kind("route"), match=r"'inner' .* 'nowhere'; the graph has: inner, target"
    ):
        await graph.ainvoke({"log": []}, THREAD)


async def test_an_unknown_key_of_the_outer_state_is_an_error_that_names_it(saver: Checkpointer) -> None:
    """P21."""
    graph = with_target(Nodes(), commanding(Command(graph=TO_PARENT, update={"vlaue": []}))).compile(saver)

    with pytest.raises(StateKeyError, check=of_kind("unknown"), match="'inner' has the key 'vlaue'"):
        await graph.ainvoke({"log": []}, THREAD)


async def test_a_parent_command_in_a_list_with_other_results_is_refused(saver: Checkpointer) -> None:
    """The other results would be lost, since this superstep of the nested graph is not committed."""
    results = [Command(graph=TO_PARENT, goto="target"), {"log": ["own"]}]
    graph = with_target(Nodes(), commanding(results)).compile(saver)

    with pytest.raises(InvalidUpdateError, match="return it alone"):
        await graph.ainvoke({"log": []}, THREAD)
