"""A copy of the open file has no threads; there is no `backup`, and no documentation of how to make one."""

from typing import TypedDict

from tests.cases._case import Store, one_node, outcome, run, shown


class State(TypedDict, total=False):
    n: int


async def case(store):
    target = Store("sqlite", str(store.path.parent / "restored"))
    target.path.parent.mkdir()
    async with store.saver() as saver:
        await one_node(State, lambda s: {"n": 1}).compile(saver).ainvoke({}, thread_id="t")
        await saver.backup(target.path)
    async with target.saver() as saver:
        found = await outcome(saver.list_threads())
    is_right = isinstance(found, list) and [each.thread for each in found] == ["t"]
    return "thread 't' in the copy, made by saver.backup(path)", shown(found), is_right


run(case, kinds=("sqlite",))
