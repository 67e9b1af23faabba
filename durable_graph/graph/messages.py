"""A state that is a conversation."""

from typing import Annotated, Any, TypedDict

from durable_graph.channels import add_messages


class MessagesState(TypedDict):
    """A state of messages, merged by `add_messages`. Subclasses add keys.

    Messages are dicts, or instances of classes passed to `compile(types=[...])`.
    """

    messages: Annotated[list[Any], add_messages]
