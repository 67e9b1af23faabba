"""`Command(graph=Command.PARENT)`: a nested node updates the graph around it and says where that one goes on."""

from typing import Any

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    StateGraph,
    interrupt,
)
from durable_graph._runtime.run import Durability
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
