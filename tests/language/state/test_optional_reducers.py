"""A key with a reducer that may also be None: `Annotated[<type>, <reducer>] | None`."""

import operator
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import Checkpointer, Command, Overwrite, UnmergeableUpdateError, interrupt
from tests.language.state.conftest import Reopen
from tests.language.state.graphs import Seen, in_a_row, side_by_side


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add] | None


def ask(state: Any) -> dict[str, Any]:
    return {"log": [interrupt("what next?")]}


async def test_writes_are_merged_and_survive_the_process(saver: Checkpointer, reopen: Reopen) -> None:
    def graph(saver: Checkpointer) -> Any:
        return in_a_row(State, Seen(), ("a", {"log": ["a"]}), ("b", ask)).compile(saver)

    await graph(saver).ainvoke({"log": ["input"]}, thread_id="t")
    result = await graph(await reopen()).ainvoke(Command(resume="answer"), thread_id="t")

    assert result == {"log": ["input", "a", "answer"]}


async def test_none_is_no_value_to_merge_with(saver: Checkpointer) -> None:
    seen = Seen()
    graph = side_by_side(State, seen, ("a", {"log": None}), ("b", {"log": ["b"]}), then=("end", {"log": ["end"]}))

    assert await graph.compile(saver).ainvoke({"log": None}, thread_id="t") == {"log": ["b", "end"]}
    assert seen.of("a") == [{"log": None}]
    assert seen.of("end") == [{"log": ["b"]}]


async def test_none_in_place_of_a_value_is_refused_with_the_way_to_drop_it(saver: Checkpointer) -> None:
    refused = in_a_row(State, Seen(), ("a", {"log": None})).compile(saver)
    dropped = in_a_row(State, Seen(), ("a", {"log": Overwrite(None)}), ("b", {"log": ["b"]})).compile(saver)

    with pytest.raises(UnmergeableUpdateError, match=r"write Overwrite\(None\) to drop"):
        await refused.ainvoke({"log": ["input"]}, thread_id="t")

    assert await dropped.ainvoke({"log": ["input"]}, thread_id="other") == {"log": ["b"]}
