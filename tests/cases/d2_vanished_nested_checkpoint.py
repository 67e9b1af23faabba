"""The newest checkpoint of a nested graph is missing: its node runs again, and the answer is lost."""

from typing import TypedDict

from durable_graph import START, Command, StateGraph, interrupt
from tests.cases._case import outcome, run, shown


class State(TypedDict, total=False):
    ok: str


async def case(store):
    ran = []

    async def first(s):
        ran.append("first")
        return {}  # writes nothing: only the checkpoint's row says that it ran

    async def ask(s):
        return {"ok": interrupt("ok?")}

    nested = (
        StateGraph(State)
        .add_node("first", first)
        .add_node("ask", ask)
        .add_edge(START, "first")
        .add_edge("first", "ask")
    )
    builder = StateGraph(State).add_node("nested", nested.compile()).add_edge(START, "nested")
    async with store.saver() as saver:
        await builder.compile(saver).ainvoke({}, thread_id="t")
    store.sql("DELETE FROM checkpoints WHERE namespace <> '' AND number = (SELECT max(number) FROM checkpoints)")
    ran.clear()
    async with store.saver() as saver:
        end = await outcome(builder.compile(saver).ainvoke(Command(resume="yes"), thread_id="t"))
    is_right = type(end).__name__ == "CorruptCheckpointError" and not ran
    return "CorruptCheckpointError, nothing runs", f"ran {ran}; {shown(end)}", is_right


run(case, kinds=("sqlite",))
