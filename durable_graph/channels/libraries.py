"""Libraries of message classes, such as LangChain's: the interface that channels of messages use.

This module imports no library. A package provides its library by an entry point, which is loaded when it is first
needed.
"""

from contextvars import ContextVar
from enum import Enum
from functools import cache
from importlib.util import find_spec
from typing import Any, Final, Protocol

from durable_graph.codec import StoredType
from durable_graph.installed import entry_points

GROUP: Final = "durable_graph.messages"
"""The entry-point group. An entry's name is the module of the message classes, its value a `MessageLibrary`."""

LANGCHAIN: Final = "langchain_core"


class MessageLibrary(Protocol):
    """The message classes of one package.

    `declared` is the base class of all messages, `declares` the type of a list of messages that names each class, and
    `types` defines how they are stored.
    """

    @property
    def declared(self) -> type[Any]: ...

    @property
    def declares(self) -> Any: ...

    @property
    def types(self) -> tuple[StoredType[Any], ...]: ...

    def message(self, given: Any) -> Any:
        """A message of the library, made of a message, a dict, a pair of role and text, or a text.

        Raises `UpdateRefused` for anything else.
        """
        ...

    def with_id(self, message: Any, id_: str) -> Any:
        """A copy of the message that has this id."""
        ...

    def formatted(self, messages: list[Any], format_: str) -> list[Any]:
        """The messages with their contents in another format. Raises `UpdateRefused` for an unknown format."""
        ...


class Choice(Enum):
    """`AUTO`: the installed library, if there is one."""

    AUTO = "auto"


AUTO: Final = Choice.AUTO

current: ContextVar[MessageLibrary | Choice | None] = ContextVar("current", default=AUTO)
"""The library of `add_messages` during a call by a graph's reducer; None if messages are dicts."""


def library_in_use() -> MessageLibrary | None:
    """The library of the graph whose reducer is running; outside a reducer, the installed library."""
    chosen = current.get()
    return installed_library() if isinstance(chosen, Choice) else chosen


@cache
def installed_library() -> MessageLibrary | None:
    """LangChain's messages, if `langchain_core` is installed. The call imports it."""
    if find_spec(LANGCHAIN) is None:
        return None
    return brought_library()


@cache
def brought_library() -> MessageLibrary | None:
    """As `installed_library`. Raises an `ImportError` that names the extra if `langchain_core` is not installed."""
    for entry in entry_points(GROUP, name=LANGCHAIN):
        library: MessageLibrary = entry.load()
        return library
    return None
