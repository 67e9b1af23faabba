"""`Command(graph=Command.PARENT)`: a nested node updates the graph around it and says where that one goes on."""

from typing import Any

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    Durability,
    InvalidCommandError,
    NodeError,
    ParentCommand,
    Send,
    StateGraph,
    UnknownNodeError,
    UnknownStateKeyError,
    interrupt,
    task,
)
from tests.language.trails import THREAD, Calls, Trail, history, questions

TO_PARENT = Command.PARENT


def commanding(command: Any, calls: Calls | None = None, **compiled: Any) -> Any:
    """A nested graph whose second node hands `command` to its parent."""

    async def hand_up(state: Trail) -> Any:
        return command

    return (calls or Calls()).chain("x", ("hand_up", hand_up)).compile(**compiled)


def with_target(calls: Calls, inner: Any) -> StateGraph[Trail]:
    builder = StateGraph(Trail)
    builder.add_node("inner", inner, destinations=("target",))
    builder.add_node("target", calls.leaves("target"))
    return builder.add_edge(START, "inner")


@pytest.mark.parametrize("persisted", [None, True, False])
async def test_it_updates_and_goes_where_it_says(
    saver: Checkpointer, durability: Durability, persisted: bool | None
) -> None:
    command: Command[Any] = Command(graph=TO_PARENT, goto="target", update={"value": ["up"]})
    graph = with_target(Calls(), commanding(command, checkpointer=persisted)).compile(saver)

    result = await graph.ainvoke({"value": ["in"]}, THREAD, durability=durability)

    # What the nested graph itself had written is not returned: the command is its output.
    assert result == {"value": ["in", "up", "target"]}


async def test_it_does_so_without_a_store() -> None:
    command: Command[Any] = Command(graph=TO_PARENT, goto="target", update={"value": ["up"]})

    assert await with_target(Calls(), commanding(command)).compile().ainvoke({"value": []}) == {
        "value": ["up", "target"]
    }


async def test_from_two_deep_it_goes_one_up(saver: Checkpointer) -> None:
    calls = Calls()
    innermost = commanding(Command(graph=TO_PARENT, goto="target", update={"value": ["up"]}))
    middle = with_target(calls, innermost).compile()
    graph = calls.chain(("middle", middle), "z").compile(saver)

    assert await graph.ainvoke({"value": []}, THREAD) == {"value": ["up", "target", "z"]}


async def test_the_last_superstep_of_the_nested_graph_is_not_committed(saver: Checkpointer) -> None:
    command: Command[Any] = Command(graph=TO_PARENT, goto="target")
    graph = with_target(Calls(), commanding(command)).compile(saver)
    await graph.ainvoke({"value": []}, THREAD)
    at_inner = next(each for each in await history(graph) if each.next == ("inner",))

    nested = await history(graph, at_inner.tasks[0].state)

    assert [each.next for each in nested] == [("hand_up",), ("x",)]


async def test_what_remembers_remembers_up_to_where_it_left(saver: Checkpointer) -> None:
    calls = Calls()
    command: Command[Any] = Command(graph=TO_PARENT, goto="target")
    graph = with_target(calls, commanding(command, calls, checkpointer=True)).compile(saver)

    for _ in range(2):
        await graph.ainvoke({"value": []}, THREAD)

    assert calls.taken() == ["x", "target", "x", "target"]


async def test_a_parents_command_after_a_question(saver: Checkpointer, durability: Durability) -> None:
    calls = Calls()

    async def ask_and_go(state: Trail) -> Any:
        return Command(graph=TO_PARENT, goto="target", update={"value": [interrupt("where?")]})

    graph = with_target(calls, calls.chain("x", ("ask_and_go", ask_and_go)).compile()).compile(saver)
    assert questions(await graph.ainvoke({"value": []}, THREAD, durability=durability)) == ["where?"]

    result = await graph.ainvoke(Command(resume="there"), THREAD, durability=durability)

    assert result == {"value": ["there", "target"]}
    assert calls.taken() == ["x", "target"]


# How it comes up


async def test_it_sends(saver: Checkpointer, durability: Durability) -> None:
    calls = Calls()

    async def sent(argument: Any) -> Trail:
        return {"value": [f"sent {argument}"]}

    command: Command[Any] = Command(graph=TO_PARENT, goto=[Send("sent", 1), "target", Send("sent", 2)])
    builder = StateGraph(Trail).add_node("inner", commanding(command), destinations=("sent", "target"))
    builder.add_node("sent", sent).add_node("target", calls.leaves("target")).add_edge(START, "inner")

    result = await builder.compile(saver).ainvoke({"value": []}, THREAD, durability=durability)

    assert result == {"value": ["target", "sent 1", "sent 2"]}


async def test_an_error_handler_hands_it_up(saver: Checkpointer, durability: Durability) -> None:
    calls = Calls()

    async def bad(state: Trail) -> Trail:
        raise ConnectionError

    async def handle(state: Trail, error: NodeError) -> Any:
        return Command(graph=TO_PARENT, goto="target", update={"value": [f"{error.node} failed"]})

    inner = StateGraph(Trail).add_node("bad", bad, error_handler=handle).add_edge(START, "bad").compile()

    result = await with_target(calls, inner).compile(saver).ainvoke({"value": []}, THREAD, durability=durability)

    assert result == {"value": ["bad failed", "target"]}


async def test_it_comes_up_through_a_task_and_no_except_exception_swallows_it(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Calls()
    inner = commanding(Command(graph=TO_PARENT, goto="target", update={"value": ["up"]}))

    @task
    async def tool() -> Any:
        return await inner.ainvoke({"value": []})

    async def call(state: Trail) -> Trail:
        try:
            await tool()
        except Exception:
            calls.note("swallowed")
        return {"value": ["went on"]}

    result = await with_target(calls, call).compile(saver).ainvoke({"value": []}, THREAD, durability=durability)

    assert result == {"value": ["up", "target"]}
    assert calls.taken() == ["target"]


async def test_a_node_that_calls_the_graph_may_catch_it(saver: Checkpointer) -> None:
    calls = Calls()
    command: Command[Any] = Command(graph=TO_PARENT, goto="target", update={"value": ["up"]})
    inner = commanding(command)
    caught: list[ParentCommand] = []

    async def call(state: Trail) -> Trail:
        try:
            await inner.ainvoke({"value": []})
        except ParentCommand as unwinding:
            caught.append(unwinding)
        return {"value": ["went on"]}

    assert await with_target(calls, call).compile(saver).ainvoke({"value": []}, THREAD) == {"value": ["went on"]}
    assert [each.command for each in caught] == [command]


async def test_it_is_not_done_again_where_the_outer_superstep_is_resumed(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Calls()
    is_failing = True

    async def hand_up(state: Trail) -> Any:
        calls.note("hand_up")
        return Command(graph=TO_PARENT, goto="target", update={"value": ["up"]})

    async def later(state: Trail) -> Trail:
        if is_failing:
            raise ConnectionError
        return {"value": ["later"]}

    builder = with_target(calls, calls.chain(("hand_up", hand_up)).compile())
    graph = builder.add_node("later", later).add_edge(START, "later").compile(saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({"value": []}, THREAD, durability=durability, max_concurrency=1)
    assert calls.taken() == ["hand_up"]
    is_failing = False

    result = await graph.ainvoke(None, THREAD, durability=durability)

    assert result == {"value": ["up", "later", "target"]}
    assert calls.taken() == ["target"]


async def test_what_waits_beside_it_inside_is_left_with_the_graph(saver: Checkpointer, durability: Durability) -> None:
    calls = Calls()

    async def hand_up(state: Trail) -> Any:
        return Command(graph=TO_PARENT, goto="target", update={"value": ["up"]})

    inner = StateGraph(Trail).add_node("ask", calls.asks("ask")).add_node("hand_up", hand_up)
    inner.add_edge(START, "ask").add_edge(START, "hand_up")
    graph = with_target(calls, inner.compile()).compile(saver)

    result = await graph.ainvoke({"value": []}, THREAD, durability=durability)

    assert result == {"value": ["up", "target"]}
    assert (await graph.aget_state(THREAD)).interrupts == ()


# What it cannot be


async def test_a_node_that_the_outer_graph_has_not_is_named(saver: Checkpointer) -> None:
    """P21."""
    graph = with_target(Calls(), commanding(Command(graph=TO_PARENT, goto="nowhere"))).compile(saver)

    with pytest.raises(UnknownNodeError, match=r"'inner' .* 'nowhere'; the graph has: inner, target"):
        await graph.ainvoke({"value": []}, THREAD)


async def test_a_key_that_the_outer_state_has_not_is_named(saver: Checkpointer) -> None:
    """P21."""
    graph = with_target(Calls(), commanding(Command(graph=TO_PARENT, update={"vlaue": []}))).compile(saver)

    with pytest.raises(UnknownStateKeyError, match="'inner' has the key 'vlaue'"):
        await graph.ainvoke({"value": []}, THREAD)


async def test_beside_other_results_it_is_refused(saver: Checkpointer) -> None:
    """They would be lost: what the nested graph did in this superstep is not committed."""
    results = [Command(graph=TO_PARENT, goto="target"), {"value": ["own"]}]
    graph = with_target(Calls(), commanding(results)).compile(saver)

    with pytest.raises(InvalidCommandError, match="return it alone"):
        await graph.ainvoke({"value": []}, THREAD)
