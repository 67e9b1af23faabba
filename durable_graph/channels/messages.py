"""The rule of a channel of messages, which are added, replaced and removed by their ids.

A message is a dict, with its id under "id", or any object with an attribute `id`.
"""

import copy
import hashlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import GenericAlias
from typing import Any, ClassVar, Final, Union, get_args, get_origin, overload

import msgspec

from durable_graph.channels.channel import MISSING, Channel, NewId, UpdateRefused
from durable_graph.channels.empty import concrete_type
from durable_graph.channels.libraries import MessageLibrary, library_in_use
from durable_graph.channels.merging import Merging
from durable_graph.errors.tree import quoted

REMOVE_ALL_MESSAGES: Final = "__remove_all__"
"""The id of a `RemoveMessage` that removes every message before it."""

_REMOVAL: Final = "remove"


@dataclass(frozen=True, slots=True)
class RemoveMessage:
    """A message that removes the message with this id, or with `REMOVE_ALL_MESSAGES` all messages before it."""

    id: str
    type: ClassVar[str] = _REMOVAL


@overload
def add_messages(left: Any, right: Any, *, format: str | None = None) -> list[Any]: ...
@overload
def add_messages(*, format: str | None = None) -> "FormattedMessages": ...
def add_messages(left: Any = MISSING, right: Any = MISSING, *, format: str | None = None) -> Any:  # noqa: A002  # LangGraph's name
    """`left` with the messages of `right`: a message with a known id replaces that message, others are appended.

    Both are a message or a list of messages. A `RemoveMessage` removes a message; a message that is added again is
    appended. As the reducer of a channel it gives every message without an id a new id (32 hex digits) when it is
    written. Called directly, or by a user's reducer, it derives ids for LangChain's messages from their contents and
    from the messages before them; dicts without an id get none, and never replace each other.

    If LangChain is installed, messages are LangChain's: dicts, pairs of role and text, and texts are converted, unless
    the graph was compiled with `messages="dict"`. `format="langchain-openai"` converts contents to OpenAI's blocks;
    `add_messages(format=...)` returns a reducer that converts them.

    Raises `ValueError` for a value that is no message, and for removing an unknown id.
    """
    if left is MISSING and right is MISSING:
        return FormattedMessages(format)
    if left is MISSING or right is MISSING:
        raise TypeError("add_messages takes two lists of messages, or format= alone")
    return _added(left, right, format, library_in_use())


def _added(left: Any, right: Any, format_: str | None, library: MessageLibrary | None) -> list[Any]:
    if library is None:
        if format_ is not None:
            raise UpdateRefused("format= converts LangChain's messages, and these are dicts")
        return _merged(_merged([], [left], is_strict=True), [right], is_strict=True)
    before = _merged([], [_with_derived_ids(left, (), library)], is_strict=True)
    merged = _merged(before, [_with_derived_ids(right, before, library)], is_strict=True)
    return merged if format_ is None else library.formatted(merged, format_)


def _with_derived_ids(given: Any, before: Sequence[Any], library: MessageLibrary) -> list[Any]:
    """The messages, each with an id: merging the same lists again derives the same ids."""
    messages = [library.message(each) for each in _listed(given)]
    if all(message.id is not None for message in messages):
        return messages
    context = hashlib.blake2b(repr([message.id for message in before]).encode(), digest_size=16).hexdigest()
    numbers = itertools.count()

    def derived(message: Any) -> str:
        text = f"{context} {next(numbers)} {message!r}"
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

    return [_with_library_id(message, partial(derived, message), library) for message in messages]


@dataclass(frozen=True, slots=True)
class FormattedMessages:
    """The reducer that `add_messages(format=...)` returns."""

    format: str | None

    def __call__(self, left: Any, right: Any) -> list[Any]:
        return _added(left, right, self.format, library_in_use())


@dataclass(frozen=True, slots=True)
class Messages(Channel):
    """The rule of `add_messages`. Each superstep stores its writes.

    Merging all at once or superstep by superstep gives the same list, so a message that is removed and added again is
    appended in both. Removing an unknown message is an error when it is written, not when it is merged: two nodes of
    one superstep may remove the same message, and a write may name it twice.
    """

    declared: Any
    library: MessageLibrary | None = None
    format: str | None = None

    @property
    def update_type(self) -> Any:
        if self.library is not None:
            return self.declared
        inner = get_args(self.declared)
        if not inner or inner[0] is Any:
            return list[Any]
        # Not every item type supports `|`.
        return GenericAlias(list, (Union[inner[0], RemoveMessage],))  # noqa: UP007

    @property
    def stores_updates(self) -> bool:
        return True

    @property
    def mark(self) -> int:
        return 2

    def initial(self) -> Any:
        return []

    def prepare(self, update: Any, new_id: NewId) -> Any:
        if self.library is None:
            return [_with_id(message, new_id) for message in _listed(update)]
        library = self.library
        messages = [_with_library_id(library.message(each), new_id, library) for each in _listed(update)]
        return messages if self.format is None else library.formatted(messages, self.format)

    def prepare_whole(self, value: Any, new_id: NewId) -> Any:
        return _merged([], [self.prepare(value, new_id)], is_strict=True)

    def is_checked(self, update: Any) -> bool:
        return any(_is_removal(message) for message in update)

    def check(self, current: Any, update: Any) -> None:
        _merged([] if current is MISSING else current, [update], is_strict=True)

    def merge(self, current: Any, updates: Sequence[Any]) -> Any:
        return _merged([] if current is MISSING else current, updates, is_strict=False)

    def merging(self, current: Any) -> Merging:
        return _Merged([] if current is MISSING else current)

    def with_library(self, library: MessageLibrary | None) -> "Messages":
        """The rule for the library's messages, unless the declared type names other classes."""
        if library is None or not is_of(library, self.declared):
            return self
        return replace(self, declared=GenericAlias(list, (library.declared,)), library=library)


def is_of(library: MessageLibrary, declared: Any) -> bool:
    """Whether a list of this declared type may hold the library's messages: it names some of them, or no class."""
    inner = get_args(declared)
    return not inner or inner[0] is Any or names_message_of(library, inner[0])


def names_message_of(library: MessageLibrary, hint: Any) -> bool:
    """Whether a type names the library's messages: one of the classes, a union or a list of them."""
    if isinstance(hint, type) and get_origin(hint) is None:
        return issubclass(hint, library.declared)
    if hasattr(hint, "__metadata__"):
        return names_message_of(library, hint.__origin__)
    return any(names_message_of(library, each) for each in get_args(hint))


def can_hold_messages(declared: Any) -> bool:
    """Whether `add_messages` can be the reducer of this type."""
    return declared is Any or concrete_type(declared) is list


class _Merged:
    """A merge of messages, in its own list."""

    def __init__(self, current: Sequence[Any]) -> None:
        self._messages: list[Any] = list(current)
        self._places = _places(self._messages)
        self._has_holes = False

    def add(self, updates: Iterable[Any], *, is_strict: bool = False) -> None:
        messages, places = self._messages, self._places
        removed: set[Any] = set()
        for message in (message for update in updates for message in _listed(update)):
            id_ = id_of(message)
            if not _is_removal(message):
                place = places.get(id_) if id_ is not None else None
                if place is not None:
                    messages[place] = message
                    continue
                if id_ is not None:
                    places[id_] = len(messages)
                messages.append(message)
            elif id_ == REMOVE_ALL_MESSAGES:
                messages.clear()
                places.clear()
                self._has_holes = False
            elif id_ in places:
                messages[places.pop(id_)] = MISSING
                removed.add(id_)
                self._has_holes = True
            elif is_strict and id_ not in removed:
                why = f"there is no message with the id {id_!r} to remove"
                raise UpdateRefused(why)

    def value(self) -> list[Any]:
        messages = self._messages
        return [message for message in messages if message is not MISSING] if self._has_holes else messages


def _merged(current: Sequence[Any], updates: Iterable[Any], *, is_strict: bool) -> list[Any]:
    merging = _Merged(current)
    merging.add(updates, is_strict=is_strict)
    return merging.value()


def _places(messages: Sequence[Any]) -> dict[Any, int]:
    """The index of each message by its id. The messages were checked when they were written."""
    # In one pass without checks: with a thousand messages this is most of the cost of a merge.
    ids = [message.get("id") if isinstance(message, dict) else message.id for message in messages]
    places = dict(zip(ids, range(len(ids)), strict=True))
    places.pop(None, None)
    return places


def _listed(update: Any) -> Sequence[Any]:
    return update if isinstance(update, list | tuple) else (update,)


def id_of(message: Any) -> Any:
    """A message's id, None if it has none. Raises `UpdateRefused` if `message` is no message."""
    id_ = message.get("id") if isinstance(message, dict) else getattr(message, "id", MISSING)
    if id_ is MISSING:
        why = (
            f"a message is a dict or an object with an id, and {quoted(message)} is neither; "
            f'write a dict like {{"role": "user", "content": ...}}'
        )
        raise UpdateRefused(why)
    if id_ is not None and type(id_) is not str and not isinstance(id_, str | int):
        why = f"a message's id has to be a str, not {quoted(id_)}"
        raise UpdateRefused(why)
    return id_


def _is_removal(message: Any) -> bool:
    if isinstance(message, dict):
        return _REMOVAL in (message.get("type"), message.get("role"))
    return getattr(message, "type", None) == _REMOVAL


def _with_library_id(message: Any, new_id: NewId, library: MessageLibrary) -> Any:
    if id_of(message) is not None:
        return message
    if _is_removal(message):
        why = "a message to remove is named by its id"
        raise UpdateRefused(why)
    return library.with_id(message, new_id())


def _with_id(message: Any, new_id: NewId) -> Any:
    """The message if it has an id, otherwise a copy with an id: the caller's object is not changed."""
    if id_of(message) is not None:
        return message
    if _is_removal(message):
        why = "a RemoveMessage needs the id of the message"
        raise UpdateRefused(why)
    if isinstance(message, dict):
        copied = copy.copy(message)
        copied["id"] = new_id()
        return copied
    if isinstance(message, msgspec.Struct):
        return msgspec.structs.replace(message, id=new_id())
    if hasattr(message, "model_copy"):
        # A pydantic model: `model_copy` also updates `model_fields_set`.
        return message.model_copy(update={"id": new_id()})
    given = copy.copy(message)
    try:
        # As dataclasses do it, which also works for frozen instances.
        object.__setattr__(given, "id", new_id())
    except (AttributeError, TypeError) as error:
        why = f"{quoted(message)} has no id and none can be set: {error}; set an id when you create the message"
        raise UpdateRefused(why) from error
    return given
