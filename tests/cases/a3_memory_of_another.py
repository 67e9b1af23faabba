"""A node calls a graph with memory (checkpointer=True) for alice and bob; in the next call for bob and alice."""

import operator
from typing import Annotated, TypedDict

from durable_graph import DurableGraphError
from tests.cases._case import one_node, outcome, run, shown


class Agent(TypedDict, total=False):
    who: str
    notes: Annotated[list[str], operator.add]


class State(TypedDict, total=False):
    order: list[str]
    read: list[str]


async def case(store):
    agent = one_node(Agent, lambda s: {"notes": [f"about {s['who']}"]}).compile(checkpointer=True)

    async def node(s):
        return {"read": [f"{who} <- {(await agent.ainvoke({'who': who}))['notes']}" for who in s["order"]]}

    async with store.saver() as saver:
        graph = one_node(State, node).compile(saver)
        await outcome(graph.ainvoke({"order": ["alice", "bob"]}, thread_id="t"))
        end = await outcome(graph.ainvoke({"order": ["bob", "alice"]}, thread_id="t"))
    if isinstance(end, Exception):
        return "its own notes, or an error of ours", shown(end), isinstance(end, DurableGraphError)
    mixed = any("alice" in line and "bob" in line for line in end["read"])
    return "each reads its own notes, or the second unnamed call is refused", shown(end["read"]), not mixed


run(case)
