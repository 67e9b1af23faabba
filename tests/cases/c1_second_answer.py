"""Two concurrent answers to one interrupt (two savers; in memory two calls): the rejected call gets the accepted answer."""

import asyncio
import collections
from typing import TypedDict

from durable_graph import Command, InterruptAnsweredError, interrupt
from tests.cases._case import one_node, outcome, run

PAIRS = 150


class State(TypedDict, total=False):
    paid: bool


async def case(store):
    ends = collections.Counter()
    wrong = 0
    first, second = store.saver(), store.saver()
    one, other = (one_node(State, lambda s: {"paid": interrupt("pay?")}).compile(each) for each in (first, second))
    for number in range(PAIRS):
        thread = f"t{number}"
        await one.ainvoke({}, thread_id=thread)
        calls = [(one, True), (other, False)]
        found = await asyncio.gather(
            *(outcome(graph.ainvoke(Command(resume=answer), thread_id=thread)) for graph, answer in calls)
        )
        losers = [end for end in found if isinstance(end, Exception)]
        ends.update(type(end).__name__ for end in losers)
        if len(losers) != 1 or not isinstance(losers[0], InterruptAnsweredError):
            wrong += 1
            continue
        stored = (await one.aget_state(thread_id=thread)).values["paid"]
        wrong += losers[0].answer != stored or found[stored] is not losers[0]
    for each in {id(each): each for each in (first, second)}.values():
        await each.aclose()
    expected = f"InterruptAnsweredError {PAIRS} times, with the answer that is stored"
    return expected, f"{dict(ends)}, {wrong} wrong", wrong == 0


run(case)
