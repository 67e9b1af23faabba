"""A deleted thread leaves a row with its id (such as an e-mail address) forever; complete deletion is impossible."""

from typing import TypedDict

from tests.cases._case import one_node, run


class State(TypedDict, total=False):
    n: int


async def case(store):
    left = {}
    there = []
    async with store.saver() as saver:
        graph = one_node(State, lambda s: {"n": 1}).compile(saver)
        for thread, options in {"amy@example.com": {}, "bob@example.com": {"purge": True}}.items():
            await graph.ainvoke({}, thread_id=thread)
            there += [each for each in await store.thread_ids() if each == thread]
            await graph.adelete_thread(thread, **options)
            left[thread] = [each for each in await store.thread_ids() if each == thread]
    is_right = there == list(left) and not any(left.values())
    return "no row with the id left, neither after a deletion nor after one with purge=True", left, is_right


run(case)
