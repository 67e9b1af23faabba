"""A thread's history is read, continued from an old checkpoint, and changed there."""

import asyncio
import json

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

model = GenericFakeChatModel(messages=iter(AIMessage(f"reply {n}") for n in range(1, 20)))
calls: list[str] = []


class State(MessagesState):
    topic: str
    draft: str


async def pick_topic(state: State):
    calls.append("pick_topic")
    reply = await model.ainvoke(state["messages"])
    return {"topic": f"topic from {reply.content}", "messages": [reply]}


async def write(state: State):
    calls.append("write")
    reply = await model.ainvoke([HumanMessage(state["topic"])])
    return {"draft": f"{state['topic']} / {reply.content}", "messages": [reply]}


builder = StateGraph(State)
builder.add_node(pick_topic)
builder.add_node(write)
builder.add_edge(START, "pick_topic")
builder.add_edge("pick_topic", "write")
graph = builder.compile(checkpointer=InMemorySaver())


async def main():
    config = {"configurable": {"thread_id": "1"}}
    first = await graph.ainvoke({"messages": [HumanMessage("Go!", id="go")]}, config)
    history = [s async for s in graph.aget_state_history(config) if s.next != (START,)]
    before_write = next(s for s in history if s.next == ("write",))

    calls.clear()
    replayed = await graph.ainvoke(None, before_write.config)
    replay_calls = list(calls)

    fork = await graph.aupdate_state(before_write.config, {"topic": "chickens"})
    forked_state = await graph.aget_state(fork)
    calls.clear()
    forked = await graph.ainvoke(None, fork)
    fork_calls = list(calls)

    # Another question replaces the first one and all that follows it.
    after_input = next(s for s in history if s.next == ("pick_topic",))
    rewritten = await graph.aupdate_state(
        after_input.config, {"messages": [HumanMessage("Stop!", id="go")]}, as_node="__start__"
    )
    calls.clear()
    rerun = await graph.ainvoke(None, rewritten)

    latest = await graph.aget_state(config)
    return {
        "first": first["draft"],
        "history": [[list(s.next), s.metadata["step"]] for s in history],
        "replayed": [replayed["draft"], replay_calls],
        "fork": [forked_state.values["topic"], list(forked_state.next), forked_state.metadata["source"]],
        "forked": [forked["draft"], [m.content for m in forked["messages"]], fork_calls],
        "rerun": [rerun["draft"], [m.content for m in rerun["messages"]], list(calls)],
        "latest": latest.values["draft"],
        "updates": len([s async for s in graph.aget_state_history(config, filter={"source": "update"})]),
        "limited": len([s async for s in graph.aget_state_history(config, limit=2)]),
    }


if __name__ == "__main__":
    result = asyncio.run(main())
    print(json.dumps(result, sort_keys=True))
