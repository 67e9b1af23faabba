"""The streams of several model calls: tokens, updates and events, with a nested call and a silent one."""

import asyncio
import json

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph


def model(text: str, **kwargs) -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=iter([AIMessage(text)] * 10), **kwargs)


poet = model("roses are red")
critic = model("quite nice", tags=["critic"])
silent = model("nobody should see this").with_config(tags=["nostream"])
translator = model("les roses sont rouges")


class State(MessagesState):
    critique: str
    hidden: str


async def write_poem(state: State):
    get_stream_writer()({"status": "writing"})
    return {"messages": [await poet.ainvoke(state["messages"])]}


async def criticise(state: State):
    return {"critique": "".join([chunk.content async for chunk in critic.astream(state["messages"])])}


async def think(state: State):
    return {"hidden": (await silent.ainvoke("think")).content}


async def translate(state: MessagesState):
    return {"messages": [await translator.ainvoke(state["messages"])]}


async def sign(state: State):
    return {"messages": [AIMessage("-- the poet")]}


translation = StateGraph(MessagesState).add_node("translate", translate).add_edge(START, "translate").compile()
builder = StateGraph(State)
builder.add_sequence([write_poem, criticise, think])
builder.add_node("translation", translation).add_node("sign", sign)
builder.add_edge(START, "write_poem").add_edge("think", "translation")
builder.add_edge("translation", "sign")
graph = builder.compile()
QUESTION = {"messages": [{"role": "user", "content": "A poem, please."}]}


async def main():
    tokens: dict[str, list[str]] = {}
    tagged, chunked = [], []
    async for message, metadata in graph.astream(QUESTION, stream_mode="messages"):
        node = metadata["langgraph_node"]
        if message.content:
            tokens.setdefault(node, []).append(message.content)
            chunked.append([node, isinstance(message, AIMessageChunk)])
        if "critic" in (metadata.get("tags") or []):
            tagged.append(message.content)

    order = []
    async for mode, chunk in graph.astream(QUESTION, stream_mode=["messages", "updates", "custom"]):
        name = chunk[1]["langgraph_node"] if mode == "messages" else "/".join(chunk)
        if not order or order[-1] != [mode, name]:
            order.append([mode, name])

    nested = []
    async for namespace, (message, _) in graph.astream(QUESTION, stream_mode="messages", subgraphs=True):
        if namespace and message.content.strip():
            nested.append([namespace[0].split(":")[0], message.content])
    return {
        "tokens": tokens,
        "tagged": "".join(tagged),
        "chunks": sorted({(node, is_chunk) for node, is_chunk in chunked}),
        "order": order,
        "nested": nested,
    }


if __name__ == "__main__":
    result = asyncio.run(main())
    print(json.dumps(result, sort_keys=True))
