"""Streamed updates of Commands."""

from typing import Any

from durable_graph import Checkpointer, Command
from tests.graphs import Nodes, State, chain


async def test_updates_of_a_list_of_commands_are_streamed_as_a_list(saver: Checkpointer) -> None:
    async def a(state: State) -> list[Command[Any]]:
        return [Command(update={"log": ["a1"]}), Command(update={"log": ["a2"]})]

    graph = chain(("a", a), ("b", Nodes().noting("b"))).compile(saver)

    assert [part async for part in graph.astream({}, thread_id="t", stream_mode="updates")] == [
        {"a": [{"log": ["a1"]}, {"log": ["a2"]}]},
        {"b": {"log": ["b"]}},
    ]
