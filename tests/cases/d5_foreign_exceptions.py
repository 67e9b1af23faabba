"""A lone surrogate in an option or in metadata raises Python's UnicodeEncodeError."""

from typing import TypedDict

from durable_graph import InvalidOptionError
from tests.cases._case import one_node, outcome, run, shown


class State(TypedDict, total=False):
    n: int


async def case(store):
    async with store.saver() as saver:
        graph = one_node(State, lambda s: {"n": 1}).compile(saver)
        ends = {
            "metadata": await outcome(graph.ainvoke({}, {"metadata": {"by": "\ud800"}}, thread_id="t")),
            "run_name": await outcome(graph.ainvoke({}, {"run_name": "\ud800"}, thread_id="u")),
            "after": await outcome(saver.list_threads(after="\ud800")),
        }
    is_right = all(isinstance(end, InvalidOptionError) for end in ends.values())
    return "InvalidOptionError each time", {name: shown(end, 100) for name, end in ends.items()}, is_right


run(case)
