"""The newest checkpoint is missing: aget_state raises, but the history begins with an older checkpoint."""

import operator
from typing import Annotated, TypedDict

from durable_graph import CorruptCheckpointError
from tests.cases._case import one_node, outcome, run, shown


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


async def case(store):
    async with store.saver() as saver:
        await one_node(State, lambda s: {"log": ["node"]}).compile(saver).ainvoke({"log": ["input"]}, thread_id="t")
    store.sql("DELETE FROM checkpoints WHERE number = (SELECT max(number) FROM checkpoints)")

    async def newest(graph):
        async for snapshot in graph.aget_state_history(thread_id="t"):
            return snapshot.values
        return None

    async with store.saver() as saver:
        graph = one_node(State, lambda s: {}).compile(saver)
        head, history = await outcome(graph.aget_state(thread_id="t")), await outcome(newest(graph))
    is_right = all(isinstance(each, CorruptCheckpointError) for each in (head, history))
    return "CorruptCheckpointError twice", f"state: {shown(head, 90)}; history: {shown(history)}", is_right


run(case, kinds=("sqlite",))
