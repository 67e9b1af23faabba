"""`str | bytes`: compile raises msgspec's own TypeError."""

from typing import TypedDict

from tests.cases._case import one_node, run


class State(TypedDict, total=False):
    text: str | bytes


async def case(store):
    async with store.saver() as saver:
        graph = one_node(State, lambda s: {}).compile(saver)
        found = []
        for value in ("x", b"x"):
            await graph.ainvoke({"text": value}, thread_id=repr(value))
            found.append((await graph.aget_state(thread_id=repr(value))).values["text"])
    return "b'x' and 'x' are distinguished", found, found == ["x", b"x"]


run(case)
