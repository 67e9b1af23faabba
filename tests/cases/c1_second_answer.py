"""Two answers to one question at the same time (two savers; in memory two calls): the loser is to learn which one stands."""

import asyncio
import collections
from typing import TypedDict

from durable_graph import Command, interrupt
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
        wrong += len(losers) != 1 or type(losers[0]).__name__ != "InterruptAnsweredError"
    for each in {id(each): each for each in (first, second)}.values():
        await each.aclose()
    return f"InterruptAnsweredError {PAIRS} times", dict(ends), wrong == 0


run(case)
