"""A node calls a graph with memory (checkpointer=True) for alice and bob, and in the next call for bob and alice."""

import operator
from typing import Annotated, TypedDict

from durable_graph import InvalidCallError
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

    async def naming(s):
        read = [(await agent.ainvoke({"who": who}, memory=who))["notes"] for who in s["order"]]
        return {"read": [f"{who} <- {notes}" for who, notes in zip(s["order"], read, strict=True)]}

    async with store.saver() as saver:
        graph = one_node(State, node).compile(saver)
        unnamed = await outcome(graph.ainvoke({"order": ["alice", "bob"]}, thread_id="t"))
        graph = one_node(State, naming).compile(saver)
        await graph.ainvoke({"order": ["alice", "bob"]}, thread_id="named")
        named = await outcome(graph.ainvoke({"order": ["bob", "alice"]}, thread_id="named"))
    right = [f"{who} <- {[f'about {who}'] * 2}" for who in ("bob", "alice")]
    is_refused = isinstance(unnamed, InvalidCallError) and unnamed.kind == "unnamed_memory"
    is_right = is_refused and isinstance(named, dict) and named["read"] == right
    return f"InvalidCallError; with names {right}", f"{shown(unnamed)}; with names {shown(named)}", is_right


run(case)
