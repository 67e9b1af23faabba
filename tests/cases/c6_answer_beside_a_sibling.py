"""An interrupt is open while a parallel node still runs; an answer through a second saver runs that node a second time."""

import asyncio
import operator
from typing import Annotated, TypedDict

from durable_graph import START, Command, StateGraph, interrupt
from tests.cases._case import outcome, run, shown


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


async def case(store):
    begun = []

    async def ask(s):
        return {"log": [f"answer {interrupt('ok?')}"]}

    async def slow(s):
        begun.append("slow")
        await asyncio.sleep(1)
        return {"log": ["slow"]}

    builder = (
        StateGraph(State).add_node("ask", ask).add_node("slow", slow).add_edge(START, "ask").add_edge(START, "slow")
    )
    async with store.saver() as first, store.saver() as second:
        one, other = builder.compile(first), builder.compile(second)
        call = asyncio.create_task(outcome(one.ainvoke({}, thread_id="t")))
        await asyncio.sleep(0.4)
        answered = await outcome(other.ainvoke(Command(resume=True), thread_id="t"))
        ended = await call
        await outcome(one.ainvoke(None, thread_id="t"))  # where the run ended before it saw the answer
        log = sorted((await one.aget_state(thread_id="t")).values.get("log", []))
    is_right = begun == ["slow"] and log == ["answer True", "slow"]
    actual = f"begun {begun}, log {log}; the answer: {shown(answered)}; the run: {shown(ended)}"
    return "slow runs once, the answer is recorded and reaches its interrupt", actual, is_right


run(case, kinds=("sqlite", "postgres"))
