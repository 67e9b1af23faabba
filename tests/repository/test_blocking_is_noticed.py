"""The fixture that guards every test: a blocking call below the library fails the test."""

from pathlib import Path
from typing import TypedDict

import pytest
from blockbuster import BlockingError

from durable_graph import END, START, StateGraph


class State(TypedDict, total=False):
    size: int


async def test_a_call_that_blocks_the_loop_is_an_error() -> None:
    async def blocks(state: State) -> State:
        # What the test is about.
        return {"size": Path(__file__).stat().st_size}  # noqa: ASYNC240

    builder = StateGraph(State)
    builder.add_node("blocks", blocks)
    builder.add_edge(START, "blocks")
    builder.add_edge("blocks", END)

    with pytest.raises(BlockingError):
        await builder.compile().ainvoke({})
