"""A node tells faster than its reader reads, without awaiting: the bound is 10,000 events of any size."""

from typing import TypedDict

from durable_graph import get_stream_writer
from tests.cases._case import one_node, outcome, run, shown

KB = 100


class State(TypedDict, total=False):
    n: int


async def case(store):
    told = 0

    async def node(s):
        nonlocal told
        write, text = get_stream_writer(), "x" * (KB << 10)
        for _ in range(20_000):
            write(text)  # one text, told again and again: what it would be as events of their own
            told += 1
        return {}

    async def read(graph):
        async for _ in graph.astream({}, thread_id="t", stream_mode="custom"):
            pass

    async with store.saver() as saver:
        end = await outcome(read(one_node(State, node).compile(saver)))
    return "an error before 128 MB wait", f"{told * KB >> 10} MB; {shown(end, 120)}", told * KB >> 10 <= 128


run(case, kinds=("memory",))
