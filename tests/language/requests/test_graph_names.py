"""A thread belongs to the graph that started it, by name."""

import logging
import operator
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    CompiledGraph,
    GraphValidationError,
    InvalidOptionError,
    StateGraph,
    WrongGraphError,
    entrypoint,
    interrupt,
)


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


def graph_of(saver: Checkpointer | None, name: str | None, *formerly: str, node: str = "ask") -> CompiledGraph[Any]:
    def ask(state: State) -> dict[str, list[str]]:
        return {"log": [f"{name}: {interrupt('go?')}"]}

    builder = StateGraph(State).add_node(node, ask).add_edge(START, node)
    return builder.compile(saver, name=name, formerly=formerly)


CALLS: dict[str, Any] = {
    "new input": lambda graph: graph.ainvoke({"log": ["in"]}, thread_id="t"),
    "a resume": lambda graph: graph.ainvoke(None, thread_id="t"),
    "an answer": lambda graph: graph.ainvoke(Command(resume="yes"), thread_id="t"),
    "an update": lambda graph: graph.aupdate_state(values={"log": ["edit"]}, as_node="ask", thread_id="t"),
    "its state": lambda graph: graph.aget_state(thread_id="t"),
    "its history": lambda graph: anext(aiter(graph.aget_state_history(thread_id="t"))),
    "a cancellation": lambda graph: graph.acancel("t"),
    "a fork": lambda graph: graph.ainvoke(None, thread_id="t", checkpoint_id="0000000000000001"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", ["pay", None], ids=["another", "unnamed"])
async def test_every_call_of_a_graph_with_another_name_is_refused(
    saver: Checkpointer, call: str, name: str | None
) -> None:
    await graph_of(saver, "mail").ainvoke({"log": ["in"]}, thread_id="t")
    before = await saver.load("t")

    with pytest.raises(WrongGraphError) as caught:
        await CALLS[call](graph_of(saver, name))

    assert (caught.value.stored, caught.value.called, caught.value.thread_id) == ("mail", name, "t")
    assert await saver.load("t") == before


async def test_a_renamed_graph_continues_and_its_next_commit_writes_the_new_name(saver: Checkpointer) -> None:
    await graph_of(saver, "mail").ainvoke({"log": ["in"]}, thread_id="t")

    renamed = graph_of(saver, "letters", "post", "mail")
    assert (await renamed.aget_state(thread_id="t")).next == ("ask",)
    assert await renamed.ainvoke(Command(resume="yes"), thread_id="t") == {"log": ["in", "letters: yes"]}

    (info,) = await saver.list_threads()
    assert info.graph == "letters"
    with pytest.raises(WrongGraphError):
        await graph_of(saver, "mail").aget_state(thread_id="t")


async def test_a_named_graph_adopts_a_thread_of_an_unnamed_graph(saver: Checkpointer) -> None:
    await graph_of(saver, None).ainvoke({"log": ["in"]}, thread_id="t")
    assert (await saver.list_threads())[0].graph is None

    await graph_of(saver, "mail").ainvoke(Command(resume="yes"), thread_id="t")

    assert (await saver.list_threads())[0].graph == "mail"


async def test_an_unnamed_graph_with_other_nodes_than_the_thread_logs_a_warning(
    saver: Checkpointer, caplog: pytest.LogCaptureFixture
) -> None:
    await graph_of(saver, None).ainvoke({"log": ["in"]}, thread_id="t")
    with caplog.at_level(logging.WARNING, "durable_graph"):
        await graph_of(saver, None).ainvoke({"log": ["again"]}, thread_id="t")
        assert caplog.records == []
        await graph_of(saver, None, node="other").ainvoke({"log": ["more"]}, thread_id="t")
    assert ["name your graphs" in record.getMessage() for record in caplog.records] == [True]


async def test_a_graph_named_graph_is_not_unnamed(saver: Checkpointer) -> None:
    await graph_of(saver, "graph").ainvoke({"log": ["in"]}, thread_id="t")
    with pytest.raises(WrongGraphError):
        await graph_of(saver, None).ainvoke(None, thread_id="t")


async def test_an_entrypoint_is_named_after_its_function(saver: Checkpointer) -> None:
    @entrypoint(checkpointer=saver)
    async def order(given: str) -> str:
        return given

    @entrypoint(checkpointer=saver, name="shipment", formerly=["order"])
    async def ship(given: str) -> str:
        return given

    @entrypoint(checkpointer=saver)
    async def report(given: str) -> str:
        return given

    await order.ainvoke("a", thread_id="t")
    with pytest.raises(WrongGraphError):
        await report.ainvoke("b", thread_id="t")
    assert await ship.ainvoke("c", thread_id="t") == "c"


async def test_copying_and_deleting_a_thread_does_not_check_the_name_of_the_graph(saver: Checkpointer) -> None:
    await graph_of(saver, "mail").ainvoke({"log": ["in"]}, thread_id="t")
    other = graph_of(saver, "pay")
    await other.acopy_thread("t", "copy")
    await other.adelete_thread("t")
    assert [(info.thread, info.graph) for info in await saver.list_threads()] == [("copy", "mail")]


@pytest.mark.parametrize(
    ("name", "formerly"), [("", ()), ("a\0b", ()), ("\ud800", ()), ("n" * 256, ()), (None, ("old",)), ("new", ("",))]
)
def test_an_invalid_name_is_refused(name: str | None, formerly: tuple[str, ...]) -> None:
    with pytest.raises((InvalidOptionError, GraphValidationError)):
        graph_of(None, name, *formerly)


@pytest.mark.parametrize("formerly", [None, 5, b"old"])
def test_former_names_that_are_not_a_list_of_names_are_refused(formerly: Any) -> None:
    builder = StateGraph(State).add_node("n", lambda state: {}).add_edge(START, "n")
    with pytest.raises(InvalidOptionError, match="names that the graph had before"):
        builder.compile(name="new", formerly=formerly)
