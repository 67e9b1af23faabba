"""A node fails while its siblings are at work: it is what it raised that is told, and what they came to is kept."""

import asyncio
import threading
from typing import Any

import pytest

from durable_graph import END, Checkpointer, NodeCancelledError
from tests.graphs import Nodes, State, fan_out


class Beside:
    """`a`, whose work is stopped when `b`, which waits until it has begun, fails."""

    def __init__(self) -> None:
        self.nodes = Nodes()
        self.has_begun = asyncio.Event()
        self.is_failing = True
        self._loop = asyncio.get_running_loop()
        self._has_failed = threading.Event()

    def in_a_thread(self, state: State) -> State:
        """A plain function, which nothing can stop."""
        self.nodes.calls["a"] += 1
        self._loop.call_soon_threadsafe(self.has_begun.set)
        assert self._has_failed.wait(10)
        return {"log": ["a"]}

    async def choosing(self, state: State) -> str:
        """A router that waits for as long as the other node fails."""
        self.has_begun.set()
        if self.is_failing:
            await asyncio.Event().wait()
        return END

    async def fails(self, state: State) -> State:
        await self.has_begun.wait()
        if not self.is_failing:
            return {"log": ["b"]}
        # Set once the run has had its turn to stop the sibling.
        self._loop.call_later(0.01, self._has_failed.set)
        message = "the real one"
        raise ConnectionError(message)


@pytest.mark.parametrize("kind", ["in a thread", "choosing"])
async def test_a_sibling_that_was_stopped_is_not_what_failed(saver: Checkpointer, kind: str) -> None:
    beside = Beside()
    a: Any = beside.in_a_thread if kind == "in a thread" else beside.nodes.noting("a")
    builder = fan_out(("a", a), ("b", beside.fails))
    if kind == "choosing":
        builder.add_conditional_edges("a", beside.choosing, [END])
    graph = builder.compile(saver)

    with pytest.raises(ConnectionError, match="the real one") as raised:
        await graph.ainvoke({}, thread_id="t")

    assert not any(NodeCancelledError.__name__ in note for note in raised.value.__notes__)
    beside.is_failing = False
    assert await graph.ainvoke(None, thread_id="t") == {"log": ["a", "b"]}
    assert beside.nodes.calls["a"] == 1
