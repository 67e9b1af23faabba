"""Breakpoints of `compile` and of a call, and a node that interrupts only for long texts."""

import asyncio
import json
import operator
from typing import Annotated, TypedDict

from langchain_core.messages import AnyMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, interrupt

runs: list[str] = []


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    text: str
    trail: Annotated[list[str], operator.add]


async def load(state: State):
    runs.append("load")
    return {"text": state["messages"][-1].content, "trail": ["load"]}


async def shorten(state: State):
    runs.append("shorten")
    if len(state["text"]) > 10:
        limit = interrupt(f"{len(state['text'])} characters are too many; how many may I keep?")
        return {"text": state["text"][:limit], "trail": [f"shorten to {limit}"]}
    return {"trail": ["shorten not needed"]}


async def publish(state: State):
    runs.append("publish")
    return {"messages": [("ai", f"Published: {state['text']}")], "trail": ["publish"]}


builder = StateGraph(State)
builder.add_node("load", load).add_node("shorten", shorten)
builder.add_node("publish", publish).add_edge(START, "load")
builder.add_edge("load", "shorten").add_edge("shorten", "publish")
builder.add_edge("publish", END)
graph = builder.compile(checkpointer=InMemorySaver(), interrupt_before=["publish"])


async def where(config):
    state = await graph.aget_state(config)
    return [list(state.next), [i.value for task in state.tasks for i in task.interrupts]]


async def main():
    short = {"configurable": {"thread_id": "short"}}
    events = [e async for e in graph.astream({"messages": [HumanMessage("tiny")]}, short, stream_mode="updates")]
    short_stops = [await where(short)]
    await graph.aupdate_state(short, {"text": "edited", "trail": ["by hand"]})
    short_stops.append(await where(short))
    short_end = await graph.ainvoke(None, short)

    long = {"configurable": {"thread_id": "long"}}
    runs.clear()
    await graph.ainvoke({"messages": [("user", "a very long text indeed")]}, long, interrupt_after=["load"])
    long_stops = [await where(long)]
    await graph.ainvoke(None, long)
    long_stops.append(await where(long))
    await graph.ainvoke(Command(resume=6), long)
    long_stops.append(await where(long))
    long_end = await graph.ainvoke(None, long)

    every = {"configurable": {"thread_id": "every"}}
    stops = []
    payload = {"messages": [{"role": "user", "content": "step"}]}
    while True:
        await graph.ainvoke(payload, every, interrupt_before="*")
        payload = None
        if not (stop := (await where(every))[0]):
            break
        stops.append(stop)
    return {
        "events": [list(e) for e in events],
        "short": [short_stops, short_end["trail"], short_end["messages"][-1].content],
        "long": [long_stops, long_end["trail"], [m.content for m in long_end["messages"]]],
        "runs": runs[: runs.index("publish") + 1],
        "every": stops,
    }


if __name__ == "__main__":
    result = asyncio.run(main())
    print(json.dumps(result, sort_keys=True))
