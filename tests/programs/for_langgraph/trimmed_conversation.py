"""A conversation is stored whole, and the model gets its last messages."""

import asyncio
import json

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage, filter_messages, trim_messages
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph

TURNS = 30
seen: list[list[str]] = []
model = GenericFakeChatModel(
    messages=iter(
        AIMessage(f"answer {n}", usage_metadata={"input_tokens": n, "output_tokens": 1, "total_tokens": n + 1})
        for n in range(TURNS)
    )
)


def count_tokens(messages: list[BaseMessage]) -> int:
    return sum(len(m.content.split()) for m in messages)


trimmer = trim_messages(
    max_tokens=14,
    strategy="last",
    token_counter=count_tokens,
    include_system=True,
    allow_partial=False,
    start_on="human",
)


class State(MessagesState):
    tokens_used: int


async def call_model(state: State):
    trimmed = await trimmer.ainvoke(state["messages"])
    seen.append([m.content for m in trimmed])
    response = await model.ainvoke(trimmed)
    used = state.get("tokens_used", 0) + response.usage_metadata["total_tokens"]
    return {"messages": response, "tokens_used": used}


builder = StateGraph(State)
builder.add_node("model", call_model)
builder.add_edge(START, "model")
builder.add_edge("model", END)
graph = builder.compile(checkpointer=InMemorySaver())


async def main():
    config = {"configurable": {"thread_id": "long"}}
    await graph.aupdate_state(config, {"messages": [SystemMessage("Answer in short")]}, as_node=START)
    for turn in range(TURNS):
        if turn % 2:
            message = ("user", f"this is question {turn}")
        else:
            message = {"role": "user", "content": f"this is question {turn}"}
        await graph.ainvoke({"messages": [message]}, config)

    values = (await graph.aget_state(config)).values
    messages = values["messages"]
    history = [s async for s in graph.aget_state_history(config, limit=2)]
    return {
        "kept": len(messages),
        "first": [[m.type, m.content] for m in messages[:2]],
        "last": [[m.type, m.content] for m in messages[-2:]],
        "seen by the model at first": seen[0],
        "seen by the model at last": seen[-1],
        "most seen": max(len(contents) for contents in seen),
        "tokens used": values["tokens_used"],
        "usage of the last": messages[-1].usage_metadata,
        "questions": len(filter_messages(messages, include_types=["human"])),
        "different ids": len({m.id for m in messages}),
        "lengths": [len(s.values["messages"]) for s in history],
    }


if __name__ == "__main__":
    result = asyncio.run(main())
    print(json.dumps(result, sort_keys=True))
