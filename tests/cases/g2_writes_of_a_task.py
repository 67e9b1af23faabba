"""Several writes to one key by one task: the stream emits both, the history of the task has only the last."""

from typing import Annotated, TypedDict

from durable_graph import Command
from tests.cases._case import one_node, run


class State(TypedDict, total=False):
    text: Annotated[str, lambda a, b: a + b]


async def case(store):
    async with store.saver() as saver:
        graph = one_node(State, lambda s: Command(update=[("text", "1"), ("text", "2")])).compile(saver)
        emitted = [
            each["result"]
            async for each in graph.astream({"text": "in"}, thread_id="t", stream_mode="tasks")
            if "result" in each
        ]
        history = [task.result async for each in graph.aget_state_history(thread_id="t") for task in each.tasks]
    return "stream and history are equal", f"stream {emitted}, history {history}", emitted == history


run(case)
