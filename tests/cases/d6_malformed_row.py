"""A row with a correct digest and malformed bytes: aget_state raises IndexError."""

import operator
from typing import Annotated, TypedDict

from durable_graph import DecodeError
from tests.cases._case import one_node, outcome, run, shown
from tests.cases._forge import replace_value


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


async def case(store):
    async with store.saver() as saver:
        await one_node(State, lambda s: {"log": ["node"]}).compile(saver).ainvoke({"log": ["input"]}, thread_id="t")
        stored = await saver.load("t")
    ends = {}
    for name, data in {"no bytes": b"", "cut short": b"\x00\xff"}.items():
        replace_value(store, stored, "log", data)
        async with store.saver() as saver:
            ends[name] = await outcome(one_node(State, lambda s: {}).compile(saver).aget_state(thread_id="t"))
    is_right = all(isinstance(end, DecodeError) for end in ends.values())
    return "DecodeError each time", {name: shown(end) for name, end in ends.items()}, is_right


run(case, kinds=("sqlite",))
