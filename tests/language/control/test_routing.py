"""Routers that fail, that choose an unknown node or that are the entry point: the thread can be resumed afterwards."""

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
    InvalidNodeResultError,
    ReducerError,
    StateGraph,
    UnknownNameError,
)
from tests.errors.kinds import of_kind
from tests.graphs import Nodes, State, chain


def routed(nodes: Nodes, router: Any) -> StateGraph[State]:
    """A graph of `a`, whose router chooses among `b`, `c` and the end."""
    builder = chain(("a", nodes.noting("a")))
    builder.add_node("b", nodes.noting("b"))
    builder.add_node("c", nodes.noting("c"))
    builder.add_conditional_edges("a", router)
    return builder


async def test_a_router_that_failed_runs_again_on_resume(saver: Checkpointer, durability: Durability) -> None:
    """Reference P11: the resume "succeeded" and ran no node."""
    failing = True
    nodes = Nodes()

    async def router(state: State) -> str:
        nodes.calls["router"] += 1
        if failing:
            raise ConnectionError
        return "b"

    graph = routed(nodes, router).compile(saver)
    with pytest.raises(ConnectionError) as raised:
        await graph.ainvoke({}, thread_id="t", durability=durability)
    assert any("node 'a'" in note for note in raised.value.__notes__)
    snapshot = await graph.aget_state(thread_id="t")
    assert (snapshot.values, snapshot.next) == ({"log": ["a"]}, ("a",))
    failing = False

    result = await graph.ainvoke(None, thread_id="t", durability=durability)

    assert result == {"log": ["a", "b"]}
    assert nodes.calls == {"a": 1, "router": 2, "b": 1}


async def test_a_command_of_the_node_is_kept_when_its_router_runs_again(saver: Checkpointer) -> None:
    """Reference P11."""
    failing = True
    nodes = Nodes()

    async def a(state: State) -> Command[Any]:
        nodes.calls["a"] += 1
        return Command(update={"log": ["a"]}, goto="c")

    def router(state: State) -> str:
        if failing:
            raise ConnectionError
        return "b"

    builder = StateGraph(State)
    builder.add_node("a", a, destinations=("c",))
    builder.add_node("b", nodes.noting("b"))
    builder.add_node("c", nodes.noting("c"))
    builder.add_edge(START, "a")
    builder.add_conditional_edges("a", router, ["b"])
    graph = builder.compile(saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({}, thread_id="t")
    failing = False

    assert await graph.ainvoke(None, thread_id="t") == {"log": ["a", "b", "c"]}
    assert nodes.calls == {"a": 1, "b": 1, "c": 1}


async def test_a_router_sees_the_writes_of_its_node_and_not_those_of_siblings(saver: Checkpointer) -> None:
    seen: list[list[str]] = []

    def router(state: State) -> str:
        seen.append(state["log"])
        return END

    nodes = Nodes()
    builder = StateGraph(State)
    for name in "ab":
        builder.add_node(name, nodes.noting(name))
        builder.add_edge(START, name)
        builder.add_conditional_edges(name, router)
    await builder.compile(saver).ainvoke({"log": ["in"]}, thread_id="t")

    assert sorted(seen) == [["in", "a"], ["in", "b"]]


async def test_a_choice_of_an_unknown_node_is_an_error_that_names_it(
    saver: Checkpointer, durability: Durability
) -> None:
    """Reference P21: the run ended "successfully"."""
    choice = "nowhere"
    nodes = Nodes()
    graph = routed(nodes, lambda _: choice).compile(saver)

    with pytest.raises(UnknownNameError, check=of_kind("route"), match=r"'nowhere'.*the graph has: a, b, c"):
        await graph.ainvoke({}, thread_id="t", durability=durability)
    choice = "c"

    assert await graph.ainvoke(None, thread_id="t", durability=durability) == {"log": ["a", "c"]}
    assert nodes.calls == {"a": 1, "c": 1}


async def test_a_choice_outside_of_the_path_map_is_an_error_that_names_it(saver: Checkpointer) -> None:
    builder = chain(("a", Nodes().noting("a")))
    builder.add_node("b", Nodes().noting("b"))
    builder.add_conditional_edges("a", lambda _: "right", {"left": "b", "stop": END})

    with pytest.raises(
        UnknownNameError, check=of_kind("route"), match=r"'right'; its path_map or annotation has: left, stop"
    ):
        await builder.compile(saver).ainvoke({}, thread_id="t")


@pytest.mark.parametrize("choice", [None, {}, object()])
async def test_a_choice_of_an_invalid_type_is_an_error(saver: Checkpointer, choice: object) -> None:
    with pytest.raises((InvalidNodeResultError, UnknownNameError), match="'a'"):
        await routed(Nodes(), lambda _: choice).compile(saver).ainvoke({}, thread_id="t")


async def test_a_conditional_entry_point_reads_the_input(saver: Checkpointer, durability: Durability) -> None:
    class Query(TypedDict, total=False):
        text: str
        out: str
        steps: Annotated[list[str], operator.add]

    async def left(state: Query) -> Query:
        return {"out": state["text"] + "->left"}

    async def right(state: Query) -> Query:
        return {"out": state["text"] + "->right"}

    def where(state: Query) -> str:
        assert state["steps"] == []
        return "long" if len(state["text"]) > 10 else "short"

    builder = StateGraph(Query)
    builder.add_node("left", left)
    builder.add_node("right", right)
    builder.set_conditional_entry_point(where, {"short": "left", "long": "right"})
    builder.add_conditional_edges("left", lambda _: END)
    builder.add_edge("right", END)
    graph = builder.compile(saver)

    long = await graph.ainvoke({"text": "what is the weather?", "steps": []}, thread_id="1", durability=durability)
    short = await graph.ainvoke({"text": "weather?", "steps": []}, thread_id="2", durability=durability)

    assert long == {"text": "what is the weather?", "out": "what is the weather?->right", "steps": []}
    assert short == {"text": "weather?", "out": "weather?->left", "steps": []}


async def test_a_conditional_entry_point_that_failed_runs_again_on_resume(
    saver: Checkpointer, durability: Durability
) -> None:
    """Reference P11, at the entry point."""
    failing = True
    nodes = Nodes()

    def where(state: State) -> str:
        if failing:
            raise ConnectionError
        return "b"

    builder = StateGraph(State)
    builder.add_node("b", nodes.noting("b"))
    builder.set_conditional_entry_point(where, ["b"])
    graph = builder.compile(saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({"log": ["in"]}, thread_id="t", durability=durability)
    failing = False

    assert await graph.ainvoke(None, thread_id="t", durability=durability) == {"log": ["in", "b"]}


async def test_a_resume_after_a_pending_node_was_renamed_is_an_error_and_the_old_graph_can_resume(
    saver: Checkpointer, durability: Durability
) -> None:
    """Reference P12: the resume "completed" without running the node."""
    nodes = Nodes()
    old = chain(("a", nodes.noting("a")), ("b", nodes.noting("b"))).compile(saver, interrupt_before=["b"])
    await old.ainvoke({}, thread_id="t", durability=durability)
    new = chain(("a", nodes.noting("a")), ("renamed", nodes.noting("renamed"))).compile(saver)

    with pytest.raises(GraphChangedError, check=of_kind("node"), match=r"'b'.*the graph has: a, renamed"):
        await new.ainvoke(None, thread_id="t", durability=durability)

    assert (await old.ainvoke(None, thread_id="t", durability=durability))["log"] == ["a", "b"]


async def test_an_answer_to_an_interrupt_of_a_removed_node_is_an_error_and_the_interrupt_is_kept(
    saver: Checkpointer,
) -> None:
    """Reference P12, for a node with a pending interrupt."""
    nodes = Nodes()
    old = chain(("ask", nodes.asking("ask", "sure?"))).compile(saver)
    await old.ainvoke({}, thread_id="t")
    new = chain(("asks", nodes.asking("asks", "sure?"))).compile(saver)

    with pytest.raises(GraphChangedError, check=of_kind("node"), match=r"'ask'.*the graph has: asks"):
        await new.ainvoke(Command(resume="yes"), thread_id="t")

    assert await old.ainvoke(Command(resume="yes"), thread_id="t") == {"log": ["ask:yes"]}


@pytest.mark.parametrize("kind", ["a dict", "a Command"])
async def test_a_thread_with_a_failed_reducer_can_be_resumed_with_a_corrected_reducer(
    saver: Checkpointer, durability: Durability, kind: str
) -> None:
    """Reference P22: the thread could never be resumed."""
    calls: list[str] = []

    def compiled(reducer: Any) -> Any:
        class Strict(TypedDict, total=False):
            log: Annotated[list[str], reducer]

        async def node(state: Strict) -> Any:
            calls.append("node")
            update = {"log": ["a"]}
            return update if kind == "a dict" else Command(update=update, goto="after")

        async def after(state: Strict) -> None:
            calls.append("after")

        builder = StateGraph(Strict)
        builder.add_node("node", node, destinations=("after",))
        builder.add_node("after", after)
        builder.add_edge(START, "node")
        if kind == "a dict":
            builder.add_edge("node", "after")
        return builder.compile(saver)

    def broken(left: list[str], right: list[str]) -> list[str]:
        message = "oops"
        raise KeyError(message)

    with pytest.raises(ReducerError, match="'log'"):
        await compiled(broken).ainvoke({}, thread_id="t", durability=durability)
    result = await compiled(operator.add).ainvoke(None, thread_id="t", durability=durability)

    assert result == {"log": ["a"]}
    assert calls == ["node", "after"]
