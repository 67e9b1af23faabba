"""A node calls a nested graph for each name of a set; after a crash the set has another order."""

import operator
from typing import Annotated, TypedDict

from tests.cases._case import one_node, outcome, run, shown


class Child(TypedDict, total=False):
    who: str
    res: str


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


async def case(store):
    attempts = 0
    child = one_node(Child, lambda s: {"res": s["who"].upper()}).compile()

    async def node(s):
        nonlocal attempts
        attempts += 1
        found = {}
        for who in ["amy", "bob", "eve"] if attempts == 1 else ["eve", "amy", "bob"]:  # a set under another hash seed
            found[who] = (await child.ainvoke({"who": who}))["res"]
        if attempts == 1:
            raise RuntimeError("crash")
        return {"log": [f"{who}={res}" for who, res in sorted(found.items())]}

    async with store.saver() as saver:
        graph = one_node(State, node).compile(saver)
        await outcome(graph.ainvoke({"log": []}, thread_id="t"))
        end = await outcome(graph.ainvoke(None, thread_id="t"))
    right = ["amy=AMY", "bob=BOB", "eve=EVE"]
    return right, shown(end), isinstance(end, dict) and end["log"] == right


run(case)
