"""Branches of different lengths, and a deferred node that runs after the longest."""

import asyncio
import json
import operator
from typing import Annotated, Any, TypedDict

from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import InvalidUpdateError
from langgraph.graph import END, START, StateGraph

fast_has_run = asyncio.Event()


def merge_scores(left: dict[str, float] | None, right: dict[str, float] | None) -> dict[str, float]:
    return {**(left or {}), **(right or {})}


class State(TypedDict):
    question: str
    log: Annotated[list[str], operator.add]
    scores: Annotated[dict[str, float], merge_scores]
    seen: Annotated[set[str], operator.or_]
    total: Annotated[int, operator.add]
    winner: str


def branch(name: str, score: float):
    async def run(state: State, config: RunnableConfig) -> dict[str, Any]:
        if name == "slow":
            await fast_has_run.wait()
        elif name == "fast":
            fast_has_run.set()
        user = config["configurable"]["user"]
        return {"log": [f"{name} for {user}"], "scores": {name: score}, "seen": {name}, "total": 1}

    return run


async def decide(state: State):
    best = max(state["scores"], key=state["scores"].__getitem__)
    return {"winner": best, "log": [f"decide over {len(state['scores'])}"], "total": 10}


builder = StateGraph(State)
builder.add_node("split", lambda state: {"log": [f"split {state['question']}"]})
builder.add_node("fast", branch("fast", 0.5)).add_node("slow", branch("slow", 0.25))
builder.add_node("slow_2", RunnableLambda(branch("slow_2", 0.75)))
builder.add_node("slow_3", branch("slow_3", 0.6)).add_node("decide", decide, defer=True)
builder.add_edge(START, "split").add_edge("split", "fast")
builder.add_edge("split", "slow").add_edge("slow", "slow_2")
builder.add_edge("slow_2", "slow_3")
builder.add_edge(["fast", "slow"], "decide")
builder.add_edge("slow_3", "decide")
builder.add_edge("decide", END)
graph = builder.compile(checkpointer=InMemorySaver())


async def clash():
    class Plain(TypedDict):
        value: int

    two = StateGraph(Plain)
    two.add_node("one", lambda state: {"value": 1})
    two.add_node("other", lambda state: {"value": 2})
    two.add_edge(START, "one")
    two.add_edge(START, "other")
    try:
        await two.compile().ainvoke({"value": 0})
    except InvalidUpdateError:
        return "two writers of one key are refused"
    return "one of them won"


async def main():
    config = {"configurable": {"thread_id": "race", "user": "ada"}}
    steps = []
    async for event in graph.astream({"question": "who?", "log": ["asked"]}, config, stream_mode="values"):
        steps.append([event["log"][-1], event["total"]])
    final = (await graph.aget_state(config)).values
    return {
        "steps": steps,
        "log": final["log"],
        "scores": final["scores"],
        "seen": sorted(final["seen"]),
        "total": final["total"],
        "winner": final["winner"],
        "clash": await clash(),
    }


if __name__ == "__main__":
    result = asyncio.run(main())
    print(json.dumps(result, sort_keys=True))
