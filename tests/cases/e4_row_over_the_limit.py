"""`max_value_bytes` is checked when a value is written, and not when it is loaded."""

from typing import TypedDict

from durable_graph import ValueTooLargeError
from tests.cases._case import one_node, outcome, run, shown


class State(TypedDict, total=False):
    text: str


async def case(store):
    async with store.saver() as saver:
        await one_node(State, lambda s: {"text": "x" * 100_000}).compile(saver).ainvoke({}, thread_id="t")
    async with store.saver(max_value_bytes=10_000) as saver:
        end = await outcome(one_node(State, lambda s: {}).compile(saver).aget_state(thread_id="t"))
    is_right = isinstance(end, ValueTooLargeError) and (end.limit, end.is_stored) == (10_000, True)
    return "ValueTooLargeError, which names the limit", shown(end, 150), is_right


run(case, kinds=("sqlite", "postgres"))
