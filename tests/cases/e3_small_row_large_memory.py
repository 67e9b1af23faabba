"""A row of 3 MB in a channel declared `int` takes a hundred times its size: it is decoded untyped for the error text."""

import resource
import struct
import time
from typing import TypedDict

from durable_graph import GraphChangedError
from tests.cases._case import one_node, outcome, run, shown
from tests.cases._forge import replace_value

ITEMS = 3_000_000


class State(TypedDict, total=False):
    n: int


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def case(store):
    async with store.saver() as saver:
        await one_node(State, lambda s: {"n": 1}).compile(saver).ainvoke({}, thread_id="t")
        stored = await saver.load("t")
    replace_value(store, stored, "n", b"\x01\xdd" + struct.pack(">I", ITEMS) + b"\x90" * ITEMS)
    async with store.saver() as saver:
        graph = one_node(State, lambda s: {}).compile(saver)
        before, began = peak(), time.perf_counter()
        end = await outcome(graph.aget_state(thread_id="t"))
        took, grew = time.perf_counter() - began, peak() - before
    actual = f"{grew:.0f} MB and {took:.2f} s for a row of 3 MB; {shown(end, 120)}"
    return (
        "an error, for at most 40 MB",
        actual,
        isinstance(end, GraphChangedError) and end.kind == "channel" and grew <= 40,
    )


run(case, kinds=("sqlite",))
