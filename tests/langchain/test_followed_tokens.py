"""The tokens of a model are events of a run, which any process follows."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk

from durable_graph import START, Checkpointer, MessageEvent, MessagesState, StateGraph
from durable_graph.runs import App
from tests.langchain.models import model

pytestmark = pytest.mark.every_store


async def test_tokens_are_followed_and_read_again_as_the_model_streamed_them(saver: Checkpointer) -> None:
    chat = model("good day")

    async def talk(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await chat.ainvoke(state["messages"])]}

    app = App({"chat": StateGraph(MessagesState).add_node("talk", talk).add_edge(START, "talk").compile()}, saver)
    handle = await app.start("chat", {"messages": "hello"}, events="all")
    async with app.worker():
        live = [each async for each in handle.events()]
    assert [each async for each in handle.events()] == live
    messages = [each.event for each in live if isinstance(each.event, MessageEvent)]
    streamed = [each.message for each in messages if each.origin == "streamed"]
    assert all(isinstance(each, AIMessageChunk) for each in streamed)
    assert "".join(each.content for each in streamed) == "good day"
    (returned,) = [each.message for each in messages if each.origin == "returned"]
    assert isinstance(returned, AIMessage)
    assert returned.id == streamed[0].id
    assert {each.metadata["langgraph_node"] for each in messages} == {"talk"}
