"""Libraries of message classes, such as LangChain's: what a channel of messages has to know of one.

None is imported from here. A package brings its library by an entry point, which is loaded when it is first needed.
"""

from contextvars import ContextVar
from enum import Enum
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any, Final, Protocol

from durable_graph.codec import StoredType

GROUP: Final = "durable_graph.messages"
"""The entry-point group. An entry's name is the module of the message classes, its value a `MessageLibrary`."""

LANGCHAIN: Final = "langchain_core"


class MessageLibrary(Protocol):
    """The messages of one package.

    `declared` is the base class of all of them, `declares` the type of a list of them that names each class, and
    `types` defines how they are stored.
    """

    @property
    def declared(self) -> type[Any]: ...

    @property
    def declares(self) -> Any: ...

    @property
    def types(self) -> tuple[StoredType[Any], ...]: ...

    def message(self, given: Any) -> Any:
        """A message of the library, made of one, of a dict, of a pair of role and text, or of a text.

        Raises `UpdateRefused` for anything else.
        """
        ...

    def with_id(self, message: Any, id_: str) -> Any:
        """A copy of the message that has this id."""
        ...

    def formatted(self, messages: list[Any], format_: str) -> list[Any]:
        """The messages with their contents in another format. Raises `UpdateRefused` for a format that is unknown."""
        ...


class Choice(Enum):
    """`AUTO`: the library that is installed, if there is one."""

    AUTO = "auto"


AUTO: Final = Choice.AUTO

current: ContextVar[MessageLibrary | Choice | None] = ContextVar("current", default=AUTO)
"""The library that `add_messages` uses where a reducer of a graph calls it; None for messages that are dicts."""


def library_in_use() -> MessageLibrary | None:
    """The library of the graph whose reducer is being called; outside of one, the installed library."""
    chosen = current.get()
    return installed_library() if isinstance(chosen, Choice) else chosen


@cache
def installed_library() -> MessageLibrary | None:
    """LangChain's messages, if `langchain_core` is installed. It is imported by this."""
    if find_spec(LANGCHAIN) is None:
        return None
    return brought_library()


@cache
def brought_library() -> MessageLibrary | None:
    """As `installed_library`. Raises `ImportError` that names the extra where `langchain_core` is not installed."""
    for entry in entry_points(group=GROUP, name=LANGCHAIN):
        library: MessageLibrary = entry.load()
        return library
    return None
