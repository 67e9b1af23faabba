"""Drawings of a compiled graph, and of the status of its threads."""

import operator
from typing import Annotated, TypedDict

from durable_graph import START, CompiledGraph, MemorySaver, StateGraph, interrupt


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


def graph() -> CompiledGraph[State]:
    async def plan(state: State) -> State:
        return {"log": ["plan"]}

    async def ask(state: State) -> State:
        return {"log": [interrupt("sure?")]}

    async def look(state: State) -> State:
        return {"log": ["look"]}

    async def act(state: State) -> State:
        return {"log": ["act"]}

    builder = StateGraph(State)
    builder.add_node(plan).add_node(ask).add_node(look).add_node(act)
    builder.add_edge(START, "plan").add_edge("plan", "ask").add_edge("plan", "look").add_edge(["ask", "look"], "act")
    return builder.compile(MemorySaver(), interrupt_before=["act"])


def test_a_notebook_shows_the_drawing() -> None:
    shown = graph()._repr_mimebundle_()

    assert shown == graph().get_graph()._repr_mimebundle_()
    assert "plan" in shown["text/plain"]


async def test_the_drawing_of_a_thread_shows_its_status() -> None:
    compiled = graph()
    await compiled.ainvoke({}, thread_id="t")

    drawing = await compiled.aget_graph(thread_id="t")

    assert drawing.status == {"plan": "done", "look": "done", "ask": "interrupted"}
    assert (await compiled.aget_graph()).status == {}


async def test_the_status_of_a_removed_node_is_not_drawn() -> None:
    compiled = graph()
    await compiled.ainvoke({}, thread_id="t")
    snapshot = await compiled.aget_state(thread_id="t")

    async def other(state: State) -> State:
        return {}

    smaller = StateGraph(State).add_node("plan", other).add_edge(START, "plan").compile()

    assert smaller.get_graph(status=snapshot).status == {"plan": "done"}


def test_breakpoints_are_drawn() -> None:
    (act,) = [node for node in graph().get_graph().nodes if node.id == "act"]

    assert act.interrupts == ("before",)
