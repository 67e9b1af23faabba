"""A deleted thread leaves a row with its id (an e-mail address, say) for ever; there is no complete deletion."""

from typing import TypedDict

from tests.cases._case import one_node, outcome, run


class State(TypedDict, total=False):
    n: int


async def case(store):
    left = {}
    async with store.saver() as saver:
        graph = one_node(State, lambda s: {"n": 1}).compile(saver)
        for thread, options in {"amy@example.com": {}, "bob@example.com": {"purge": True}}.items():
            await graph.ainvoke({}, thread_id=thread)
            if isinstance(await outcome(_delete(graph, thread, options)), TypeError):
                await _delete(graph, thread, {})
            listed = await outcome(saver.list_threads(status="deleted"))  # an error where there is no such status
            left[thread] = [each.thread for each in listed if each.thread == thread] if isinstance(listed, list) else []
            if store.kind == "sqlite":
                left[thread] += [row for row in store.sql("SELECT * FROM threads") if thread in row]
    is_right = not any(left.values())
    return "no row with the id left, neither after a deletion nor after one with purge=True", left, is_right


async def _delete(graph, thread, options):
    return await graph.adelete_thread(thread, **options)


run(case)
