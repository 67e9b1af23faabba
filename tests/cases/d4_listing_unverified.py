"""Damage in the status column: an unfinished thread is listed as done, and is never recovered."""

import asyncio
from typing import TypedDict

from tests.cases._case import one_node, outcome, run, shown


class State(TypedDict, total=False):
    n: int


async def endless(s):
    await asyncio.sleep(60)


async def case(store):
    async with store.saver() as saver:
        call = one_node(State, endless).compile(saver).ainvoke({}, thread_id="t")
        await outcome(asyncio.wait_for(call, 0.3))
        before = [(each.thread, each.status) for each in await saver.list_threads()]
    store.sql("UPDATE threads SET status = 'done'")
    async with store.saver() as saver:
        listed = await outcome(saver.list_threads(status="done"))
        damaged = [each.thread for each in await saver.list_threads(status="damaged")]
    actual = f"before {before}; done: {shown(listed)}; damaged: {damaged}"
    return "not listed as done: it is damaged", actual, listed == [] and damaged == ["t"]


run(case, kinds=("sqlite",))
