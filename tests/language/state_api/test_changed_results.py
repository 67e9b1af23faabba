"""A graph that changed between a task's end and its superstep's: what the task came to is not lost, nor in the way."""

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


async def names_a_topic(state: Any) -> Update:
    return {"log": ["a"], "topic": "tea"}


async def names_none(state: Any) -> Update:
    return {"log": ["a"]}


async def asks(state: Any) -> Update:
    return {"log": [interrupt("?")]}


async def leaves(state: Any) -> Update:
    return {"log": ["left"]}


def beside_a_question(schema: Any, saver: Checkpointer, **nodes: Any) -> Any:
    """A graph of these nodes and one that asks, side by side."""
    builder = StateGraph(schema).add_node("ask", asks).add_edge(START, "ask")
    for name, node in nodes.items():
        builder.add_node(name, node)
        builder.add_edge(START, name)
    return builder.compile(saver)


@pytest.fixture(params=[Narrow, Retyped])
async def changed(request: pytest.FixtureRequest, saver: Checkpointer, durability: Durability) -> Any:
    """A graph that has lost, or retyped, a key that a task of its thread has written and not yet committed."""
    await beside_a_question(Wide, saver, a=names_a_topic).ainvoke({"log": []}, THREAD, durability=durability)
    return beside_a_question(request.param, saver, a=names_none)


@pytest.mark.parametrize("how", [None, Command(resume="yes"), Command(update={"log": ["more"]})])
async def test_a_result_that_cannot_be_read_is_named_and_nothing_is_lost(
    changed: Any, saver: Checkpointer, how: Any
) -> None:
    with pytest.raises(GraphChangedError, check=of_kind("result"), match=r"node 'a'.*'topic'.*aupdate_state") as raised:
        await changed.ainvoke(how, THREAD)

    assert (raised.value.thread_id, raised.value.name) == ("t", "a")
    was = beside_a_question(Wide, saver, a=names_a_topic)
    assert await was.ainvoke(Command(resume="yes"), THREAD) == {"log": ["a", "yes"], "topic": "tea"}


async def test_a_thread_with_such_a_result_can_be_read(changed: Any) -> None:
    state = await changed.aget_state(THREAD)

    assert (state.values, state.next) == ({"log": []}, ("a", "ask"))
    assert "'topic'" in state.tasks[0].error
    assert [each.value for each in state.interrupts] == ["?"]
    assert [each.values for each in await history(changed)] == [{"log": []}]


async def test_such_a_result_is_superseded_by_new_input(changed: Any) -> None:
    await changed.ainvoke({"log": ["new"]}, THREAD)

    superseded = {each.name: each for each in (await history(changed))[0].superseded}
    assert {name: each.outcome for name, each in superseded.items()} == {"a": "unmerged", "ask": "interrupted"}
    assert "'topic'" in (superseded["a"].error or "")
    assert await changed.ainvoke(Command(resume="yes"), THREAD) == {"log": ["new", "a", "yes"]}


async def test_such_a_result_is_superseded_by_an_update(changed: Any) -> None:
    await changed.aupdate_state(THREAD, {"log": ["by hand"]}, as_node="ask")

    state = await changed.aget_state(THREAD)
    assert (state.values, state.next) == ({"log": ["by hand"]}, ())
    assert [(each.name, each.outcome) for each in state.superseded] == [("a", "unmerged"), ("ask", "interrupted")]


async def test_such_a_result_of_a_nested_graph_is_named(saver: Checkpointer) -> None:
    def around(schema: Any, node: Any) -> Any:
        nested = beside_a_question(schema, None, a=node)  # type: ignore[arg-type]  # nested, it has that of the outer
        return StateGraph(Narrow).add_node("sub", nested).add_edge(START, "sub").compile(saver)

    await around(Wide, names_a_topic).ainvoke({"log": []}, THREAD)

    with pytest.raises(GraphChangedError, check=of_kind("result"), match="node 'a'"):
        await around(Narrow, names_none).ainvoke(Command(resume="yes"), THREAD)
    was = around(Wide, names_a_topic)
    assert (await was.ainvoke(None, THREAD))["log"] == ["a", "yes"]


async def test_a_node_that_a_finished_one_goes_to_and_that_is_gone_is_named(saver: Checkpointer) -> None:
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
async def test_a_finished_task_whose_router_chose_the_end_is_in_nobodys_way(saver: Checkpointer, how: Any) -> None:
    builder = StateGraph(Narrow).add_node("a", names_none).add_node("ask", asks).add_node("next", leaves)
    builder.add_edge(START, "a").add_edge(START, "ask").add_conditional_edges("a", lambda _: END, ["next", END])
    graph = builder.compile(saver)
    first = await graph.ainvoke({"log": []}, THREAD)

    result = await graph.ainvoke(how, THREAD)

    assert result == (first if how is None else {"log": ["a", "yes"]})


def waiting(saver: Checkpointer, name: str | None, *, defer: bool = True) -> Any:
    """A graph whose deferred node waits for a question."""
    builder = StateGraph(Narrow).add_node("a", names_none).add_node("ask", asks)
    builder.add_edge(START, "a").add_edge("a", "ask")
    if name is not None:
        builder.add_node(name, leaves, defer=defer)
        builder.add_edge("a", name)
    return builder.compile(saver)


@pytest.mark.parametrize("name", [None, "renamed"])
async def test_a_deferred_node_that_is_gone_while_it_waits_is_named(saver: Checkpointer, name: str | None) -> None:
    await waiting(saver, "late").ainvoke({"log": []}, THREAD)

    with pytest.raises(GraphChangedError, check=of_kind("node"), match="'late'"):
        await waiting(saver, name).ainvoke(Command(resume="yes"), THREAD)

    assert await waiting(saver, "late").ainvoke(Command(resume="yes"), THREAD) == {"log": ["a", "yes", "left"]}


async def test_a_deferred_node_that_is_gone_is_superseded_by_an_update(saver: Checkpointer) -> None:
    await waiting(saver, "late").ainvoke({"log": []}, THREAD)
    without = waiting(saver, None)

    await without.aupdate_state(THREAD, None, as_node="a")

    assert await without.ainvoke(None, THREAD) == {"log": ["a"], "__interrupt__": list(await open_in(without))}
    assert await without.ainvoke(Command(resume="yes"), THREAD) == {"log": ["a", "yes"]}


async def open_in(graph: Any) -> Any:
    return (await graph.aget_state(THREAD)).interrupts


async def test_a_deferred_node_that_is_deferred_no_more_runs_all_the_same(saver: Checkpointer) -> None:
    await waiting(saver, "late").ainvoke({"log": []}, THREAD)

    result = await waiting(saver, "late", defer=False).ainvoke(Command(resume="yes"), THREAD)

    assert result == {"log": ["a", "yes", "left"]}


async def test_a_failed_sibling_leaves_it_to_the_graph_as_it_was(saver: Checkpointer) -> None:
    """The result is recorded while a sibling runs that fails then: no question is open."""
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
