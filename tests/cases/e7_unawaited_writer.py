"""A node emits faster than its reader reads, without awaiting: the limit is 10,000 events of any size."""

from typing import TypedDict

from durable_graph import get_stream_writer
from tests.cases._case import one_node, outcome, run, shown

KB = 100


class State(TypedDict, total=False):
    n: int


async def case(store):
    emitted = 0

    async def node(s):
        nonlocal emitted
        write, text = get_stream_writer(), "x" * (KB << 10)
        for _ in range(20_000):
            write(text)  # one text for all events, counted as if each event had its own
            emitted += 1
        return {}

    async def read(graph):
        async for _ in graph.astream({}, thread_id="t", stream_mode="custom"):
            pass

    async with store.saver() as saver:
        end = await outcome(read(one_node(State, node).compile(saver)))
    return "an error before 128 MB wait", f"{emitted * KB >> 10} MB; {shown(end, 120)}", emitted * KB >> 10 <= 128


run(case, kinds=("memory",))
