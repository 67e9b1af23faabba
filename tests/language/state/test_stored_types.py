"""Foreign classes wherever a graph stores values: keys, arguments of a Send, interrupts, answers, results of tasks."""

from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, TypedDict

import numpy as np
import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    GraphValidationError,
    InvalidOptionError,
    Send,
    StateGraph,
    StoredType,
    UnstorableValueError,
    entrypoint,
    interrupt,
    task,
)
from tests.codec.test_stored_types import ALL, ARRAY, FRACTION
from tests.errors.kinds import of_kind
from tests.language.state.conftest import Reopen


def joined(left: list[Any], right: list[Any]) -> list[Any]:
    return [*left, *right]


class State(TypedDict, total=False):
    share: Fraction
    rows: "np.ndarray[Any, Any]"
    anything: Any
    log: Annotated[list[Fraction], joined]
    path: Path


def asking(question: Any = None) -> Any:
    def plan(state: State) -> Any:
        return Command(goto=Send("ask", state["share"]))

    def ask(share: Any) -> Any:
        return {"log": [share, interrupt(question)]}

    builder = StateGraph(State)
    builder.add_node("plan", plan, destinations=["ask"])
    builder.add_node("ask", ask)
    builder.add_edge(START, "plan")
    return builder


async def test_foreign_values_round_trip_in_keys_sends_interrupts_and_answers(
    saver: Checkpointer, reopen: Reopen
) -> None:
    rows = np.arange(6, dtype=np.int16).reshape(2, 3)
    given: State = {"share": Fraction(1, 3), "rows": rows, "anything": [range(3), np.float32(2)], "path": Path("a/b")}
    await asking([Fraction(1, 7)]).compile(saver, types=ALL).ainvoke(given, thread_id="t")

    graph = asking([Fraction(1, 7)]).compile(await reopen(), types=ALL)
    snapshot = await graph.aget_state(thread_id="t")
    result = await graph.ainvoke(Command(resume=Fraction(5, 2)), thread_id="t")

    assert [each.value for each in snapshot.interrupts] == [[Fraction(1, 7)]]
    assert result["log"] == [Fraction(1, 3), Fraction(5, 2)]
    assert (result["share"], result["path"], result["anything"]) == (Fraction(1, 3), Path("a/b"), given["anything"])
    assert (result["rows"].dtype, result["rows"].tolist()) == (rows.dtype, rows.tolist())


async def test_results_of_tasks_and_the_previous_value_may_be_foreign(saver: Checkpointer, reopen: Reopen) -> None:
    ran: list[str] = []

    @task
    async def half(whole: Fraction) -> Fraction:
        ran.append("half")
        return whole / 2

    @task
    async def column(size: int) -> "np.ndarray[Any, Any]":
        ran.append("column")
        return np.zeros(size)

    def workflow(checkpointer: Checkpointer) -> Any:
        @entrypoint(checkpointer=checkpointer, types=ALL)
        async def main(whole: Fraction, previous: Any = None) -> Any:
            found = [await half(whole), await column(2), interrupt("?"), previous]
            return [found[0], found[1].tolist(), found[2], previous]

        return main

    await workflow(saver).ainvoke(Fraction(1, 3), thread_id="t")
    result = await workflow(await reopen()).ainvoke(Command(resume=Fraction(1)), thread_id="t")

    assert result == [Fraction(1, 6), [0.0, 0.0], Fraction(1), None]
    assert ran == ["half", "column"]


class Parent(TypedDict, total=False):
    share: Any


async def test_a_parent_graph_stores_values_of_the_types_of_its_nested_graph(
    saver: Checkpointer, reopen: Reopen
) -> None:
    outer = StateGraph(Parent)
    outer.add_node("inner", asking([Fraction(1, 7)]).compile(types=ALL))
    outer.add_edge(START, "inner")
    await outer.compile(saver).ainvoke({"share": Fraction(1, 3)}, thread_id="t")

    snapshot = await outer.compile(await reopen()).aget_state(thread_id="t")

    assert snapshot.values == {"share": Fraction(1, 3)}
    assert [each.value for each in snapshot.interrupts] == [[Fraction(1, 7)]]


async def test_a_value_that_does_not_round_trip_is_refused_before_it_is_stored(saver: Checkpointer) -> None:
    lossy = StoredType(Fraction, "fraction", float, Fraction)
    graph = asking().compile(saver, types=[lossy, ARRAY])

    with pytest.raises(UnstorableValueError, match=r"is not equal to it|other data"):
        await graph.ainvoke({"share": Fraction(1, 3)}, thread_id="t")
    assert (await graph.aget_state(thread_id="t")).values == {}


def test_a_foreign_class_without_a_stored_type_is_refused_with_the_remedy() -> None:
    with pytest.raises(
        GraphValidationError, check=of_kind("graph"), match=r"list StoredType\(Fraction, <tag>, <encode>, <decode>\)"
    ):
        asking().compile(types=[ARRAY])
    assert asking().compile(types=[ARRAY, FRACTION]) is not None


def test_an_entrypoint_has_upcasts_of_classes_only() -> None:
    with pytest.raises(InvalidOptionError, match="an entrypoint has no channels"):
        entrypoint(upcasts={"value": str})  # type: ignore[dict-item]

    async def main(given: int) -> int:
        return given

    with pytest.raises(
        GraphValidationError, check=of_kind("argument"), match="no declared type names the class Fraction"
    ):
        entrypoint(upcasts={Fraction: Fraction})(main)
