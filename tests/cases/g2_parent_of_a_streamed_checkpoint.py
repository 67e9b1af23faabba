"""durability="exit": a checkpoint that is streamed and then stored names a parent that was never stored."""

import operator
from typing import Annotated, TypedDict

from durable_graph import START, StateGraph
from tests.cases._case import outcome, run, shown


class State(TypedDict, total=False):
    k: Annotated[list[str], operator.add]


async def case(store):
    builder = StateGraph(State).add_node("a", lambda s: {"k": ["a"]}).add_node("b", lambda s: {"k": ["b"]})
    builder.add_edge(START, "a").add_edge("a", "b")
    async with store.saver() as saver:
        graph = builder.compile(saver)
        streamed = [
            e async for e in graph.astream({"k": []}, thread_id="t", stream_mode="checkpoints", durability="exit")
        ]
        stored = await graph.aget_state(streamed[-1]["config"])
        parent = streamed[-1]["parent_config"]
        read = await outcome(graph.aget_state(parent)) if parent else None
    same = parent is not None and parent == stored.parent_config
    number = lambda config: config and config["configurable"]["checkpoint_id"][-4:]  # noqa: E731
    actual = f"streamed {number(parent)}, stored {number(stored.parent_config)}; reading it: {shown(read, 120)}"
    return "the streamed parent is the stored one", actual, same and not isinstance(read, Exception)


run(case)
