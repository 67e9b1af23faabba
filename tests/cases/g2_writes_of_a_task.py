"""Several writes to one key by one task: the stream tells both, the history of the same task the last one only."""

from typing import Annotated, TypedDict

from durable_graph import Command
from tests.cases._case import one_node, run


class State(TypedDict, total=False):
    text: Annotated[str, lambda a, b: a + b]


async def case(store):
    async with store.saver() as saver:
        graph = one_node(State, lambda s: Command(update=[("text", "1"), ("text", "2")])).compile(saver)
        told = [
            each["result"]
            async for each in graph.astream({"text": "in"}, thread_id="t", stream_mode="tasks")
            if "result" in each
        ]
        history = [task.result async for each in graph.aget_state_history(thread_id="t") for task in each.tasks]
    return "stream and history say the same", f"stream {told}, history {history}", told == history


run(case)
