"""A conversation whose older messages are replaced by a summary."""

import asyncio
import json
from typing import Literal

from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, SystemMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES

chat_model = FakeMessagesListChatModel(responses=[AIMessage(f"Answer {n}.") for n in range(1, 10)])
summary_model = FakeMessagesListChatModel(
    responses=[AIMessage("They talked about boats."), AIMessage("They talked about boats and trains.")]
)
seen_by_model: list[list[str]] = []


class State(MessagesState):
    summary: str


async def conversation(state: State):
    messages = state["messages"]
    if summary := state.get("summary"):
        messages = [SystemMessage(f"Summary so far: {summary}"), *messages]
    seen_by_model.append([m.content for m in messages])
    return {"messages": await chat_model.ainvoke(messages)}


def should_summarize(state: State) -> Literal["summarize", "__end__"]:
    return "summarize" if len(state["messages"]) > 4 else END


async def summarize(state: State):
    if state.get("summary"):
        instruction = f"This is the summary to date: {state['summary']}. Extend it."
    else:
        instruction = "Create a summary of the conversation above."
    response = await summary_model.ainvoke([*state["messages"], HumanMessage(instruction)])
    return {"summary": response.content, "messages": [RemoveMessage(id=m.id) for m in state["messages"][:-2]]}


builder = StateGraph(State)
builder.add_node(conversation)
builder.add_node(summarize)
builder.add_edge(START, "conversation")
builder.add_conditional_edges("conversation", should_summarize)
builder.add_edge("summarize", END)
graph = builder.compile(checkpointer=InMemorySaver())


async def main():
    config = {"configurable": {"thread_id": "1"}}
    steps = []
    for text in ["boats?", "sails?", "anchors?", "trains?", "rails?"]:
        output = await graph.ainvoke({"messages": [HumanMessage(text)]}, config)
        steps.append({"kept": [m.content for m in output["messages"]], "summary": output.get("summary")})

    await graph.aupdate_state(config, {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES)]}, as_node="summarize")
    emptied = (await graph.aget_state(config)).values
    return {
        "steps": steps,
        "seen by the model": seen_by_model,
        "emptied": {"messages": emptied["messages"], "summary": emptied["summary"]},
    }


if __name__ == "__main__":
    result = asyncio.run(main())
    print(json.dumps(result, sort_keys=True))
