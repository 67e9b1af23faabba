"""Graphs whose runs are streamed."""

import itertools
from typing import Any

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage

from durable_graph import START, MessagesState, RetryPolicy, Runtime, StateGraph, interrupt, push_message
from tests.runs.engine.events import SHAPES, Graph, State, graph_of


def talking(*texts: str) -> Any:
    """A node that asks a model, which streams its answer word by word."""
    model = GenericFakeChatModel(messages=(AIMessage(text) for text in itertools.cycle(texts)))

    async def talk(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke("hello")]}

    return talk


def chat(**compiled: Any) -> Graph:
    builder = StateGraph(MessagesState)
    builder.add_node("first", talking("one two three", "four five"))
    builder.add_node("second", talking("six seven"))
    builder.add_edge(START, "first")
    builder.add_edge("first", "second")
    return builder.compile(**compiled)


def nested_chat() -> Graph:
    builder = StateGraph(MessagesState)
    builder.add_node("inner", chat())
    builder.add_node("other", talking("beside the nested graph"))
    builder.add_edge(START, "inner")
    builder.add_edge(START, "other")
    return builder.compile()


def chat_with_question() -> Graph:
    talk = talking("a few words")

    async def ask(state: MessagesState) -> Any:
        said = await talk(state)
        answer = interrupt("go on?")
        return {"messages": [*said["messages"], ("user", str(answer))]}

    return StateGraph(MessagesState).add_node("ask", ask).add_edge(START, "ask").compile()


def chat_that_fails_once() -> Graph:
    talk, tries = talking("some words"), itertools.count()

    async def talk_twice(state: MessagesState, runtime: Runtime[Any]) -> Any:
        runtime.stream_writer({"a": "try"})
        said = await talk(state)
        if next(tries) == 0:
            raise ConnectionError("not now")
        return said

    builder = StateGraph(MessagesState)
    builder.add_node("talk", talk_twice, retry_policy=RetryPolicy(initial_interval=0.001, jitter=False))
    return builder.add_edge(START, "talk").compile()


def pushed_and_tools() -> Graph:
    async def act(state: MessagesState) -> Any:
        push_message(AIMessage("pushed", id="p1"))
        call = AIMessage("", id="a1", tool_calls=[{"name": "find", "args": {"x": 1}, "id": "c1"}])
        return {"messages": [call, ToolMessage("found", tool_call_id="c1", id="t1")]}

    async def stream_call(state: MessagesState) -> Any:
        parts = [
            AIMessageChunk(content="let me ", id="k1"),
            AIMessageChunk(
                content="", id="k1", tool_call_chunks=[{"name": "find", "args": '{"x"', "id": "c2", "index": 0}]
            ),
            AIMessageChunk(
                content="", id="k1", tool_call_chunks=[{"name": None, "args": ": 2}", "id": None, "index": 0}]
            ),
        ]
        for part in parts:
            push_message(part)
        return {
            "messages": [AIMessage("let me ", id="k1", tool_calls=[{"name": "find", "args": {"x": 2}, "id": "c2"}])]
        }

    builder = StateGraph(MessagesState).add_node("act", act).add_node("stream_call", stream_call)
    return builder.add_edge(START, "act").add_edge("act", "stream_call").compile()


async def fail(state: State) -> State:
    message = "no"
    raise ValueError(message)


def failing() -> Graph:
    return graph_of({"a": fail}, (START, "a"))


CHATS = {
    made.__name__: made for made in (chat, nested_chat, chat_with_question, chat_that_fails_once, pushed_and_tools)
}
STREAMED = {**SHAPES, **CHATS, "failing": failing}


def input_of(shape: str) -> Any:
    return {"messages": [{"role": "user", "content": "hi"}]} if shape in CHATS else {"count": 0}
