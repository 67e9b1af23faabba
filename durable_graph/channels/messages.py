"""The rule of a channel of messages: added, replaced and removed by their ids.

A message is a dict, with its id under "id", or any object with an attribute `id`.
"""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import GenericAlias
from typing import Any, ClassVar, Final, Union, get_args

import msgspec

from durable_graph.channels.channel import MISSING, Channel, NewId, UpdateRefused
from durable_graph.channels.empty import concrete_type
from durable_graph.channels.merging import Merging
from durable_graph.errors.tree import quoted

REMOVE_ALL_MESSAGES: Final = "__remove_all__"
"""The id of a `RemoveMessage` that removes every message before it."""

_REMOVAL: Final = "remove"


@dataclass(frozen=True, slots=True)
class RemoveMessage:
    """As a message: removes the one with this id, or all before it with `REMOVE_ALL_MESSAGES`."""

    id: str
    type: ClassVar[str] = _REMOVAL


def add_messages(left: Any, right: Any) -> list[Any]:
    """`left` with the messages of `right`: one with a known id takes the place of that message, others come last.

    Both are a message or a list of messages. A `RemoveMessage` removes; one that is added again comes last.
    As the reducer of a channel it gives every message that has none an id (32 hex digits) when it is written; called
    by itself it draws none, and messages without id are never taken for one another.

    Raises `ValueError` for what is no message, and for removing an id that no message has.
    """
    merged = _merged([], [left], is_strict=True)
    return _merged(merged, [right], is_strict=True)


@dataclass(frozen=True, slots=True)
class Messages(Channel):
    """What `add_messages` does, each superstep storing what it wrote.

    Merging in one go or superstep by superstep gives the same list: so a message that is removed and added again
    comes last in both. To remove what is not there is an error when it is written, not when it is merged: two nodes of
    one superstep may remove the same message.
    """

    declared: Any

    @property
    def update_type(self) -> Any:
        inner = get_args(self.declared)
        if not inner or inner[0] is Any:
            return list[Any]
        # Not every item of a list takes `|`.
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
        return [_with_id(message, new_id) for message in _listed(update)]

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


def can_hold_messages(declared: Any) -> bool:
    """Whether `add_messages` can be the reducer of this type."""
    return declared is Any or concrete_type(declared) is list


class _Merged:
    """Messages, with updates merged into a list of its own."""

    def __init__(self, current: Sequence[Any]) -> None:
        self._messages: list[Any] = list(current)
        self._places = _places(self._messages)
        self._has_holes = False

    def add(self, updates: Iterable[Any], *, is_strict: bool = False) -> None:
        messages, places = self._messages, self._places
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
                self._has_holes = True
            elif is_strict:
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
    """Where the message with each id is. They have all been written: nothing about them is to be checked again."""
    # In one go: with a thousand messages this is most of what a merge costs.
    ids = [message.get("id") if isinstance(message, dict) else message.id for message in messages]
    places = dict(zip(ids, range(len(ids)), strict=True))
    places.pop(None, None)
    return places


def _listed(update: Any) -> Sequence[Any]:
    return update if isinstance(update, list | tuple) else (update,)


def id_of(message: Any) -> Any:
    """A message's id, None if it has none. Raises `UpdateRefused` for what is no message."""
    if isinstance(message, dict):
        id_ = message.get("id")
    elif hasattr(message, "id"):
        id_ = message.id
    else:
        why = (
            f"a message is a dict or an object with an id, and {quoted(message)} is neither; "
            f'write a dict like {{"role": "user", "content": ...}}'
        )
        raise UpdateRefused(why)
    if id_ is not None and not isinstance(id_, str | int):
        why = f"a message's id has to be a str, not {quoted(id_)}"
        raise UpdateRefused(why)
    return id_


def _is_removal(message: Any) -> bool:
    if isinstance(message, dict):
        return _REMOVAL in (message.get("type"), message.get("role"))
    return getattr(message, "type", None) == _REMOVAL


def _with_id(message: Any, new_id: NewId) -> Any:
    """The message if it has an id, otherwise a copy that has one: the caller's stays as it is."""
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
        # A pydantic model: it notes which of its fields were given.
        return message.model_copy(update={"id": new_id()})
    given = copy.copy(message)
    try:
        # As a dataclass itself does it, which works on a frozen one too.
        object.__setattr__(given, "id", new_id())
    except (AttributeError, TypeError) as error:
        why = f"{quoted(message)} has no id and none can be set: {error}; set an id when you create the message"
        raise UpdateRefused(why) from error
    return given
