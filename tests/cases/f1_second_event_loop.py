"""One saver, two `asyncio.run`: the second is refused, even with MemorySaver, and the saver cannot be closed."""

import asyncio
import sys
import tempfile
from typing import TypedDict

from tests.cases._case import POSTGRES, Store, one_node, outcome, shown, skip


class State(TypedDict, total=False):
    n: int


kind = sys.argv[1] if len(sys.argv) > 1 else "memory"
skip(kind == "postgres" and not POSTGRES, "DURABLE_GRAPH_TEST_POSTGRES is not set")
with tempfile.TemporaryDirectory() as folder:
    store = Store(kind, folder)
    saver = store.saver()
    graph = one_node(State, lambda s: {"n": 1}).compile(saver)
    asyncio.run(graph.ainvoke({}, thread_id="t"))
    second = asyncio.run(outcome(graph.ainvoke({}, thread_id="t")))
    closed = asyncio.run(outcome(saver.aclose()))
    asyncio.run(store.drop())

print("expected: {'n': 1}; closed: None")
print("actual:  ", shown(second, 150), "closed:", shown(closed, 150))
sys.exit(0 if second == {"n": 1} and closed is None else 1)
