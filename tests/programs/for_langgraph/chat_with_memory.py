"""A chat bot: each thread is a conversation of its own."""

import asyncio
import json

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph

model = GenericFakeChatModel(
    messages=iter(
        [
            AIMessage("Hello Ada, nice to meet you."),
            AIMessage("Your name is Ada."),
            AIMessage("I do not know your name yet."),
            AIMessage(content="You asked me twice.", response_metadata={"finish_reason": "stop"}),
        ]
    )
)
PROMPT = SystemMessage("You are a friendly assistant.")


async def chatbot(state: MessagesState):
    response = await model.ainvoke([PROMPT, *state["messages"]])
    return {"messages": [response]}


builder = StateGraph(MessagesState)
builder.add_node("chatbot", chatbot)
builder.add_edge(START, "chatbot")
builder.add_edge("chatbot", END)
graph = builder.compile(checkpointer=InMemorySaver())


async def main():
    ada = {"configurable": {"thread_id": "ada"}}
    other = {"configurable": {"thread_id": "other"}}

    await graph.ainvoke({"messages": [{"role": "user", "content": "Hi, I am Ada."}]}, ada)
    second = await graph.ainvoke({"messages": [("user", "What is my name?")]}, ada)
    stranger = await graph.ainvoke({"messages": "What is my name?"}, other)
    await graph.ainvoke({"messages": HumanMessage("How often did I ask?", name="ada", id="last-question")}, ada)

    state = await graph.aget_state(ada)
    messages = state.values["messages"]
    checkpoints = [s async for s in graph.aget_state_history(ada) if s.next != (START,)]
    return {
        "second": second["messages"][-1].content,
        "stranger": [m.content for m in stranger["messages"]],
        "transcript": [[m.type, m.content] for m in messages],
        "named": [messages[-2].name, messages[-2].id],
        "metadata": messages[-1].response_metadata,
        "every message has its own id": len({m.id for m in messages}) == len(messages) and all(m.id for m in messages),
        "next": list(state.next),
        "lengths in history": [len(snapshot.values.get("messages", [])) for snapshot in checkpoints],
    }


if __name__ == "__main__":
    result = asyncio.run(main())
    print(json.dumps(result, sort_keys=True))
