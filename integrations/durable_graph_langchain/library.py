"""LangChain's messages as a graph's message library: the entry point in `durable_graph.messages`."""

from typing import Any, Final

from langchain_core.messages import (
    AnyMessage,
    BaseMessage,
    BaseMessageChunk,
    RemoveMessage,
    convert_to_messages,
    convert_to_openai_messages,
    message_chunk_to_message,
)

from durable_graph import RemoveMessage as OwnRemoval
from durable_graph import StoredType
from durable_graph.channels import UpdateRefused
from durable_graph_langchain.commands import TYPES as COMMANDS
from durable_graph_langchain.stored import TYPES

_OPENAI: Final = "langchain-openai"
_REMOVAL: Final = "remove"


class LangChainMessages:
    """LangChain's messages as the library of a graph, see `durable_graph.channels.libraries.MessageLibrary`."""

    declared: Final[type[BaseMessage]] = BaseMessage
    declares: Final[Any] = list[AnyMessage]
    types: Final[tuple[StoredType[Any], ...]] = (*TYPES, *COMMANDS)

    def message(self, given: Any) -> BaseMessage:
        """A message of LangChain, made of any value that LangChain converts. Chunks become whole messages."""
        if isinstance(given, BaseMessage):
            return message_chunk_to_message(given) if isinstance(given, BaseMessageChunk) else given
        if isinstance(given, OwnRemoval) or (isinstance(given, dict) and _REMOVAL in _kinds_of(given)):
            id_ = given.get("id") if isinstance(given, dict) else given.id
            if not isinstance(id_, str):
                raise UpdateRefused("a message to remove is named by its id")
            return RemoveMessage(id=id_)
        try:
            (message,) = convert_to_messages([given])
        except Exception as error:
            # For values that it cannot convert, LangChain raises errors of many classes, including pydantic's.
            why = f"LangChain makes no message of {_short(given)}: {_short(error)}"
            raise UpdateRefused(f"{why}; compile(messages='dict') leaves messages as they are") from error
        return message

    def with_id(self, message: BaseMessage, id_: str) -> BaseMessage:
        """A copy with this id."""
        return message.model_copy(update={"id": id_})

    def formatted(self, messages: list[BaseMessage], format_: str) -> list[BaseMessage]:
        """The messages with contents as OpenAI's blocks. `RemoveMessage`s stay unchanged."""
        if format_ != _OPENAI:
            raise UpdateRefused(f"the format of messages is {_OPENAI!r}, not {_short(format_)}")
        return [each if isinstance(each, RemoveMessage) else _as_openai(each) for each in messages]


def _as_openai(message: BaseMessage) -> BaseMessage:
    (converted,) = convert_to_messages(convert_to_openai_messages([message]))
    return converted.model_copy(update={"id": message.id})


def _kinds_of(given: dict[str, Any]) -> tuple[Any, Any]:
    return given.get("type"), given.get("role")


def _short(value: object) -> str:
    text = str(value).partition("\n")[0] if isinstance(value, Exception) else repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


LIBRARY: Final = LangChainMessages()
