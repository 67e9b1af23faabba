"""A declared type changes between two deployments, and old values are read as other values without an error."""

import dataclasses
import enum
from typing import Any, TypedDict

from durable_graph import GraphChangedError
from tests.cases._case import one_node, outcome, run, shown


@dataclasses.dataclass
class Order:
    x: int


class Colour(enum.StrEnum):
    RED = "red"


CHANGES = {
    "dataclass -> Any": (Order, Any, Order(1)),
    "list[dataclass] -> list[Any]": (list[Order], list[Any], [Order(1)]),
    "StrEnum -> str": (Colour, str, Colour.RED),
}


async def case(store):
    ends, is_right = {}, True
    async with store.saver() as saver:
        for name, (old, new, value) in CHANGES.items():
            before, after = (TypedDict("State", {"v": declared}, total=False) for declared in (old, new))
            await one_node(before, lambda s, value=value: {"v": value}).compile(saver).ainvoke({}, thread_id=name)
            snapshot = await outcome(one_node(after, lambda s: {}).compile(saver).aget_state(thread_id=name))
            end = snapshot if isinstance(snapshot, Exception) else snapshot.values["v"]
            is_right = is_right and isinstance(end, GraphChangedError) and end.kind == "channel"
            ends[name] = shown(end, 120)
    return "GraphChangedError each time", ends, is_right


run(case)
