"""A sweep that finds nothing reads every thread of its status: SQLite's index has no column for the time."""

from typing import TypedDict

from tests.cases._case import one_node, run


class State(TypedDict, total=False):
    n: int


async def case(store):
    async with store.saver() as saver:
        await one_node(State, lambda s: {"n": 1}).compile(saver).ainvoke({}, thread_id="t")
    names = [name for _, name, *_ in store.sql("PRAGMA index_list(threads)")]
    indexes = {name: [column for *_, column in store.sql(f"PRAGMA index_info({name})")] for name in names}
    is_right = any(columns[:2] == ["status", "status_since"] for columns in indexes.values())
    return "an index that begins with (status, status_since)", indexes, is_right


run(case, kinds=("sqlite",))
