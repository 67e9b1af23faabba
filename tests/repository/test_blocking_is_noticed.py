"""The fixture that guards every test: a blocking call below the library fails the test."""

from pathlib import Path
from typing import TypedDict

import pytest
from blockbuster import BlockingError

from durable_graph import END, START, StateGraph
from durable_graph_sqlite import SqliteSaver


class State(TypedDict, total=False):
    size: int


class LookedUp(str):
    """A path that reads the disk when it is converted to a string."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"{Path(__file__).stat().st_size}.db"


async def test_a_call_that_blocks_the_loop_is_an_error() -> None:
    async def blocks(state: State) -> State:
        # The subject of the test.
        return {"size": Path(__file__).stat().st_size}  # noqa: ASYNC240

    builder = StateGraph(State)
    builder.add_node("blocks", blocks)
    builder.add_edge(START, "blocks")
    builder.add_edge("blocks", END)

    with pytest.raises(BlockingError):
        await builder.compile().ainvoke({})


async def test_a_backend_that_blocks_the_loop_is_an_error() -> None:
    with pytest.raises(BlockingError):
        SqliteSaver(LookedUp("runs.db"))


async def test_a_blocking_call_in_the_body_of_a_test_is_allowed() -> None:
    assert str(LookedUp("runs.db")) != "runs.db"
