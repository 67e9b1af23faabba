"""A node fails while its siblings run: the run raises the error of that node and keeps the results of the siblings."""

import asyncio
import threading
from typing import Any

import pytest

from durable_graph import END, Checkpointer, NodeCancelledError
from tests.graphs import Nodes, State, fan_out


class Siblings:
    """Two nodes: `b` waits until `a` has started and fails, so that the run stops `a`."""

    def __init__(self) -> None:
        self.nodes = Nodes()
        self.has_begun = asyncio.Event()
        self.is_failing = True
        self._loop = asyncio.get_running_loop()
        self._has_failed = threading.Event()

    def in_a_thread(self, state: State) -> State:
        """A plain function, which cannot be cancelled."""
        self.nodes.calls["a"] += 1
        self._loop.call_soon_threadsafe(self.has_begun.set)
        assert self._has_failed.wait(10)
        return {"log": ["a"]}

    async def choosing(self, state: State) -> str:
        """A router that waits as long as `is_failing` is set."""
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
async def test_the_error_of_the_failed_node_is_raised_and_not_that_of_a_stopped_sibling(
    saver: Checkpointer, kind: str
) -> None:
    siblings = Siblings()
    a: Any = siblings.in_a_thread if kind == "in a thread" else siblings.nodes.noting("a")
    builder = fan_out(("a", a), ("b", siblings.fails))
    if kind == "choosing":
        builder.add_conditional_edges("a", siblings.choosing, [END])
    graph = builder.compile(saver)

    with pytest.raises(ConnectionError, match="the real one") as raised:
        await graph.ainvoke({}, thread_id="t")

    assert not any(NodeCancelledError.__name__ in note for note in raised.value.__notes__)
    siblings.is_failing = False
    assert await graph.ainvoke(None, thread_id="t") == {"log": ["a", "b"]}
    assert siblings.nodes.calls["a"] == 1
