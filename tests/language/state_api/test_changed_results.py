"""A graph changes between the end of a task and the end of its superstep: the result of the task is not lost."""

import asyncio
import operator
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    END,
    START,
    Checkpointer,
    Command,
    Durability,
    GraphChangedError,
    StateGraph,
    interrupt,
)
from tests.errors.kinds import of_kind
from tests.graphs import THREAD, history


class Wide(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    topic: str


class Narrow(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


class Retyped(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    topic: int


Update = dict[str, Any]


async def writes_topic(state: Any) -> Update:
    return {"log": ["a"], "topic": "tea"}


async def writes_no_topic(state: Any) -> Update:
    return {"log": ["a"]}


async def asks(state: Any) -> Update:
    return {"log": [interrupt("?")]}


async def leaves(state: Any) -> Update:
    return {"log": ["left"]}


def parallel_to_ask(schema: Any, saver: Checkpointer, **nodes: Any) -> Any:
    """A graph of these nodes and a parallel node `ask`, which interrupts."""
    builder = StateGraph(schema).add_node("ask", asks).add_edge(START, "ask")
    for name, node in nodes.items():
        builder.add_node(name, node)
        builder.add_edge(START, name)
    return builder.compile(saver)


@pytest.fixture(params=[Narrow, Retyped])
async def changed(request: pytest.FixtureRequest, saver: Checkpointer, durability: Durability) -> Any:
    """A graph without a key, or with another type of a key, that a finished task of its thread has written."""
    await parallel_to_ask(Wide, saver, a=writes_topic).ainvoke({"log": []}, THREAD, durability=durability)
    return parallel_to_ask(request.param, saver, a=writes_no_topic)


@pytest.mark.parametrize("how", [None, Command(resume="yes"), Command(update={"log": ["more"]})])
async def test_a_recorded_result_that_cannot_be_read_is_an_error_that_names_its_node_and_loses_nothing(
    changed: Any, saver: Checkpointer, how: Any
) -> None:
    with pytest.raises(GraphChangedError, check=of_kind("result"), match=r"node 'a'.*'topic'.*aupdate_state") as raised:
        await changed.ainvoke(how, THREAD)

    assert (raised.value.thread_id, raised.value.name) == ("t", "a")
    was = parallel_to_ask(Wide, saver, a=writes_topic)
    assert await was.ainvoke(Command(resume="yes"), THREAD) == {"log": ["a", "yes"], "topic": "tea"}


async def test_a_thread_with_an_unreadable_result_can_be_read(changed: Any) -> None:
    state = await changed.aget_state(THREAD)

    assert (state.values, state.next) == ({"log": []}, ("a", "ask"))
    assert "'topic'" in state.tasks[0].error
    assert [each.value for each in state.interrupts] == ["?"]
    assert [each.values for each in await history(changed)] == [{"log": []}]


async def test_an_unreadable_result_is_superseded_by_new_input(changed: Any) -> None:
    await changed.ainvoke({"log": ["new"]}, THREAD)

    superseded = {each.name: each for each in (await history(changed))[0].superseded}
    assert {name: each.outcome for name, each in superseded.items()} == {"a": "unmerged", "ask": "interrupted"}
    assert "'topic'" in (superseded["a"].error or "")
    assert await changed.ainvoke(Command(resume="yes"), THREAD) == {"log": ["new", "a", "yes"]}


async def test_an_unreadable_result_is_superseded_by_an_update(changed: Any) -> None:
    await changed.aupdate_state(THREAD, {"log": ["by hand"]}, as_node="ask")

    state = await changed.aget_state(THREAD)
    assert (state.values, state.next) == ({"log": ["by hand"]}, ())
    assert [(each.name, each.outcome) for each in state.superseded] == [("a", "unmerged"), ("ask", "interrupted")]


async def test_an_unreadable_result_of_a_nested_graph_is_an_error_that_names_its_node(saver: Checkpointer) -> None:
    def around(schema: Any, node: Any) -> Any:
        nested = parallel_to_ask(schema, None, a=node)  # type: ignore[arg-type]  # nested
        return StateGraph(Narrow).add_node("sub", nested).add_edge(START, "sub").compile(saver)

    await around(Wide, writes_topic).ainvoke({"log": []}, THREAD)

    with pytest.raises(GraphChangedError, check=of_kind("result"), match="node 'a'"):
        await around(Narrow, writes_no_topic).ainvoke(Command(resume="yes"), THREAD)
    was = around(Wide, writes_topic)
    assert (await was.ainvoke(None, THREAD))["log"] == ["a", "yes"]


async def test_a_removed_target_of_the_command_of_a_finished_task_is_an_error_that_names_the_target(
    saver: Checkpointer,
) -> None:
    async def goes(state: Any) -> Command[Any]:
        return Command(update={"log": ["a"]}, goto="next")

    async def goes_nowhere(state: Any) -> Command[Any]:
        return Command(update={"log": ["a"]}, goto=END)

    def graph(action: Any, name: str) -> Any:
        builder = StateGraph(Narrow).add_node("a", action, destinations=(name,)).add_node("ask", asks)
        builder.add_node(name, leaves)
        return builder.add_edge(START, "a").add_edge(START, "ask").add_edge("ask", END).compile(saver)

    await graph(goes, "next").ainvoke({"log": []}, THREAD)
    head = await graph(goes, "next").aget_state(THREAD)

    with pytest.raises(GraphChangedError, check=of_kind("node"), match=r"'next'.*a, ask, other") as raised:
        await graph(goes_nowhere, "other").ainvoke(Command(resume="yes"), THREAD)

    assert raised.value.name == "next"
    assert await graph(goes, "next").aget_state(THREAD) == head
    assert await graph(goes, "next").ainvoke(Command(resume="yes"), THREAD) == {"log": ["a", "yes", "left"]}


@pytest.mark.parametrize("how", [None, Command(resume="yes")])
async def test_a_finished_task_whose_router_chose_the_end_does_not_prevent_a_resume(
    saver: Checkpointer, how: Any
) -> None:
    builder = StateGraph(Narrow).add_node("a", writes_no_topic).add_node("ask", asks).add_node("next", leaves)
    builder.add_edge(START, "a").add_edge(START, "ask").add_conditional_edges("a", lambda _: END, ["next", END])
    graph = builder.compile(saver)
    first = await graph.ainvoke({"log": []}, THREAD)

    result = await graph.ainvoke(how, THREAD)

    assert result == (first if how is None else {"log": ["a", "yes"]})


def waiting(saver: Checkpointer, name: str | None, *, defer: bool = True) -> Any:
    """A graph whose deferred node waits for the node `ask`, which interrupts."""
    builder = StateGraph(Narrow).add_node("a", writes_no_topic).add_node("ask", asks)
    builder.add_edge(START, "a").add_edge("a", "ask")
    if name is not None:
        builder.add_node(name, leaves, defer=defer)
        builder.add_edge("a", name)
    return builder.compile(saver)


@pytest.mark.parametrize("name", [None, "renamed"])
async def test_a_deferred_node_that_was_removed_while_it_waited_is_an_error_that_names_it(
    saver: Checkpointer, name: str | None
) -> None:
    await waiting(saver, "late").ainvoke({"log": []}, THREAD)

    with pytest.raises(GraphChangedError, check=of_kind("node"), match="'late'"):
        await waiting(saver, name).ainvoke(Command(resume="yes"), THREAD)

    assert await waiting(saver, "late").ainvoke(Command(resume="yes"), THREAD) == {"log": ["a", "yes", "left"]}


async def test_a_removed_deferred_node_is_superseded_by_an_update(saver: Checkpointer) -> None:
    await waiting(saver, "late").ainvoke({"log": []}, THREAD)
    without = waiting(saver, None)

    await without.aupdate_state(THREAD, None, as_node="a")

    assert await without.ainvoke(None, THREAD) == {"log": ["a"], "__interrupt__": list(await interrupts_in(without))}
    assert await without.ainvoke(Command(resume="yes"), THREAD) == {"log": ["a", "yes"]}


async def interrupts_in(graph: Any) -> Any:
    return (await graph.aget_state(THREAD)).interrupts


async def test_a_waiting_deferred_node_that_is_no_longer_deferred_runs(saver: Checkpointer) -> None:
    await waiting(saver, "late").ainvoke({"log": []}, THREAD)

    result = await waiting(saver, "late", defer=False).ainvoke(Command(resume="yes"), THREAD)

    assert result == {"log": ["a", "yes", "left"]}


async def test_an_unreadable_result_of_a_failed_run_is_kept_for_the_original_graph(saver: Checkpointer) -> None:
    """The result is recorded before its sibling fails: no interrupt is pending."""
    is_failing = True
    has_finished = asyncio.Event()

    async def fails(state: Any) -> Update:
        if is_failing:
            await has_finished.wait()
            message = "not yet"
            raise ValueError(message)
        return {"log": ["b"]}

    async def first(state: Any) -> Update:
        asyncio.get_running_loop().call_soon(has_finished.set)
        return {"log": ["a"], "topic": "tea"}

    def graph(schema: Any) -> Any:
        builder = StateGraph(schema).add_node("a", first).add_node("b", fails)
        return builder.add_edge(START, "a").add_edge(START, "b").compile(saver)

    with pytest.raises(ValueError, match="not yet"):
        await graph(Wide).ainvoke({"log": []}, THREAD)
    is_failing = False

    with pytest.raises(GraphChangedError, check=of_kind("result"), match="node 'a'"):
        await graph(Narrow).ainvoke(None, THREAD)
    assert await graph(Wide).ainvoke(None, THREAD) == {"log": ["a", "b"], "topic": "tea"}
