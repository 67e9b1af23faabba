"""Inputs of the graphs in `team`, and what their outputs say."""

from collections.abc import Mapping
from typing import Any


def said(text: str) -> dict[str, Any]:
    """The input of a person's message."""
    return {"messages": [{"role": "user", "content": text}]}


HELLO = said("hello")
TRIP = {**HELLO, "topic": "Lisbon"}
QUESTION = {"question": "Book it?", "found": ["Lisbon by sea", "Lisbon by train"]}


def contents(values: Any) -> list[str]:
    """The texts of the messages of a state."""
    assert isinstance(values, Mapping)
    return [message["content"] for message in values["messages"]]
