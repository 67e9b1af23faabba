"""The graphs that are measured: each for the libraries, and as a program for the floor and the skeleton."""

import operator
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated, Any, NamedTuple, TypedDict

from benchmarks.engines.program import Program, State, Task
from benchmarks.libraries import Library
from durable_graph import END, START

MESSAGE = 500
"""Bytes of a message of a chat."""


class Shape(NamedTuple):
    """`units` are the supersteps, turns or tasks of one run."""

    build: Callable[[Library], Any]
    program: Program
    given: State
    units: int
    has_ended_well: Callable[[State], bool]


class Counting(TypedDict, total=False):
    count: int
    name: str
    log: Annotated[list[Any], operator.add]


async def add_one(state: Any) -> Any:
    return {"count": state["count"] + 1}


def chain(length: int) -> Shape:
    """So many nodes, one after the other. Each writes one channel of three."""
    names = [f"n{number}" for number in range(length)]
    following = {name: [Task(after)] for name, after in pairwise(names)}

    def plan(before: Sequence[Task], state: State) -> list[Task]:
        return following.get(before[0].node, []) if before else [Task("n0")]

    def build(library: Library) -> Any:
        builder = library.state_graph(Counting)
        before = START
        for name in names:
            builder.add_node(name, add_one)
            builder.add_edge(before, name)
            before = name
        builder.add_edge(before, END)
        return builder

    program = Program(dict.fromkeys(names, add_one), plan, frozenset(Counting.__annotations__), frozenset({"log"}))
    given = {"count": 0, "name": "abc", "log": ["start"]}
    return Shape(build, program, given, length, lambda state: bool(state["count"] == length))


class Chat(TypedDict, total=False):
    turn: int
    messages: Annotated[list[dict[str, Any]], operator.add]


def message(number: int) -> dict[str, Any]:
    """A message of MESSAGE bytes as a plain dict."""
    return {"role": "assistant", "id": f"m{number:06}", "content": f"{number:06}" + "x" * (MESSAGE - 60)}


async def answer(state: Any) -> Any:
    return {"turn": state["turn"] + 1, "messages": [message(state["turn"])]}


def chat(turns: int) -> Shape:
    """One node that appends a message, and whose router sends the run back to it so many times."""

    def plan(before: Sequence[Task], state: State) -> list[Task]:
        return [Task("answer")] if state["turn"] < turns else []

    def build(library: Library) -> Any:
        builder = library.state_graph(Chat)
        builder.add_node("answer", answer)
        builder.add_edge(START, "answer")
        builder.add_conditional_edges(
            "answer", lambda state: "answer" if state["turn"] < turns else END, ["answer", END]
        )
        return builder

    program = Program({"answer": answer}, plan, frozenset(Chat.__annotations__), frozenset({"messages"}))
    return Shape(build, program, {"turn": 0, "messages": []}, turns, lambda state: len(state["messages"]) == turns)


class Results(TypedDict, total=False):
    results: Annotated[list[int], operator.add]


async def work(number: Any) -> Any:
    return {"results": [number]}


def fan_out(width: int) -> Shape:
    """So many tasks of one node in one superstep."""

    def plan(before: Sequence[Task], state: State) -> list[Task]:
        return [] if before else [Task("work", number) for number in range(width)]

    def build(library: Library) -> Any:
        builder = library.state_graph(Results)
        builder.add_node("work", work)
        builder.add_conditional_edges(
            START, lambda _: [library.send("work", number) for number in range(width)], ["work"]
        )
        return builder

    program = Program({"work": work}, plan, frozenset(Results.__annotations__), frozenset({"results"}))
    return Shape(build, program, {"results": []}, width, lambda state: len(state["results"]) == width)


def wide(channels: int, length: int) -> Shape:
    """So many nodes, one after the other. Each gets the whole state, and writes one channel of so many."""
    names = [f"n{number}" for number in range(length)]
    fields: Any = {f"channel_{number}": str for number in range(channels)}
    schema: Any = TypedDict("Wide", fields, total=False)  # type: ignore[misc]  # made while running
    following = {name: [Task(after)] for name, after in pairwise(names)}

    def node(number: int) -> Any:
        name, value = f"channel_{number % channels}", f"value {number} " + "y" * 40

        async def change(state: Any) -> Any:
            return {name: value}

        return change

    nodes = {name: node(number) for number, name in enumerate(names)}

    def plan(before: Sequence[Task], state: State) -> list[Task]:
        return following.get(before[0].node, []) if before else [Task("n0")]

    def build(library: Library) -> Any:
        builder = library.state_graph(schema)
        before = START
        for name, function in nodes.items():
            builder.add_node(name, function)
            builder.add_edge(before, name)
            before = name
        builder.add_edge(before, END)
        return builder

    given: State = {name: f"given {name} " + "z" * 40 for name in fields}
    return Shape(build, Program(nodes, plan, frozenset(fields)), given, length, lambda state: len(state) == channels)
