"""LangChain's messages in the JSON schemas of a graph."""

from collections.abc import Sequence
from typing import Annotated, Any, TypedDict

import pydantic
from langchain_core.messages import AnyMessage, BaseMessage

from durable_graph import START, MessagesState, StateGraph, add_messages


def graph_of(state: Any) -> Any:
    """A graph of one node with this state."""
    return StateGraph(state).add_node("a", lambda _: {}).add_edge(START, "a").compile()


def test_messages_are_shown_as_langgraph_shows_them() -> None:
    expected = pydantic.TypeAdapter(list[AnyMessage]).json_schema()

    schema = graph_of(MessagesState).get_input_jsonschema()

    assert schema["properties"] == {"messages": {key: each for key, each in expected.items() if key != "$defs"}}
    assert schema["$defs"] == expected["$defs"]


def test_a_sequence_of_messages_is_shown() -> None:
    class State(TypedDict):
        messages: Annotated[Sequence[BaseMessage], add_messages]

    schema = graph_of(State).get_input_jsonschema()
    assert schema["properties"]["messages"]["items"] == {"$ref": "#/$defs/BaseMessage"}
