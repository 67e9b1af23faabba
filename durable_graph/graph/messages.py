"""A state that is a conversation."""

from typing import Annotated, Any, TypedDict

from durable_graph.channels import add_messages


class MessagesState(TypedDict):
    """A state of messages, merged by `add_messages`: inherit from it to add keys.

    Messages are dicts, or of classes that the graph is compiled with: `compile(types=[...])`.
    """

    messages: Annotated[list[Any], add_messages]
