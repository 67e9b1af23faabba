"""The input class of a Send's target declares another type for a key of the state."""

import operator
from typing import Annotated, TypedDict

from durable_graph import START, Send, StateGraph
from tests.cases._case import run, shown


class State(TypedDict, total=False):
    query: Annotated[list[str], operator.add]
    found: Annotated[list[str], operator.add]


class One(TypedDict):
    query: str


async def search(one: One):
    return {"found": [f"about {one['query']}"]}


async def case(store):
    builder = StateGraph(State).add_node("plan", lambda s: {"query": ["a", "b"]}).add_node("search", search)
    builder.add_edge(START, "plan")
    builder.add_conditional_edges(
        "plan", lambda s: [Send("search", {"query": each}) for each in s["query"]], ["search"]
    )
    async with store.saver() as saver:
        try:
            end = await builder.compile(saver).ainvoke({}, thread_id="t")
        except Exception as error:
            return "['about a', 'about b']", shown(error, 300), False
    return "['about a', 'about b']", end, end.get("found") == ["about a", "about b"]


run(case)
