"""The default of a key with a reducer: the node reads 10, writes +5, and the next node reads 5."""

import dataclasses
import operator
from typing import Annotated

from durable_graph import START, StateGraph
from tests.cases._case import run


@dataclasses.dataclass
class State:
    total: Annotated[int, operator.add] = 10


async def case(store):
    read = []

    async def add(s):
        read.append(s.total)
        return {"total": 5}

    async def look(s):
        read.append(s.total)
        return {}

    builder = StateGraph(State).add_node("add", add).add_node("look", look)
    builder.add_edge(START, "add").add_edge("add", "look")
    async with store.saver() as saver:
        await builder.compile(saver).ainvoke({}, thread_id="t")
    return [10, 15], read, read == [10, 15]


run(case)
