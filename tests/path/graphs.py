"""The graphs whose supersteps are counted."""

import operator
from typing import Annotated, Any, TypedDict

from durable_graph import END, START, Send, StateGraph, task


class State(TypedDict, total=False):
    count: int
    name: str
    log: Annotated[list[Any], operator.add]


INPUT: State = {"count": 0, "name": "abc", "log": ["start"]}


async def add_one(state: State) -> State:
    return {"count": state["count"] + 1}


def chain(nodes: int) -> StateGraph[State]:
    """`nodes` nodes in sequence. Each writes one channel of three."""
    builder = StateGraph(State)
    before = START
    for number in range(nodes):
        builder.add_node(f"n{number}", add_one).add_edge(before, f"n{number}")
        before = f"n{number}"
    return builder.add_edge(before, END)


def loop(supersteps: int) -> StateGraph[State]:
    """One node, whose router repeats it for `supersteps` supersteps."""
    builder = StateGraph(State).add_node("again", add_one).add_edge(START, "again")
    return builder.add_conditional_edges(
        "again", lambda state: "again" if state["count"] < supersteps else END, ["again", END]
    )


class Part(TypedDict):
    number: int


def fan_out(tasks: int) -> StateGraph[State]:
    """`tasks` tasks of one node in one superstep."""

    async def work(part: Part) -> State:
        return {"log": [part["number"]]}

    builder = StateGraph(State).add_node("work", work, input_schema=Part)
    return builder.add_conditional_edges(
        START, lambda state: [Send("work", {"number": number}) for number in range(tasks)], ["work"]
    )


@task
async def doubled(number: int) -> int:
    return 2 * number


def calls(tasks: int) -> StateGraph[State]:
    """One node that calls a `@task` `tasks` times."""

    async def work(state: State) -> State:
        return {"count": sum([await doubled(number) for number in range(tasks)])}

    return StateGraph(State).add_node("work", work).add_edge(START, "work")


SHAPES = {"chain": chain, "router": loop, "fan-out task": fan_out, "@task": calls}
