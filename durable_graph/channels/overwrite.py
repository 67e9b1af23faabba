"""A write that replaces the value without the reducer."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Overwrite:
    """A write to a channel that replaces the value from before this superstep with `value`.

    Another write to the channel in the same superstep raises `ConcurrentUpdateError`. For a channel without a
    reducer it is a plain write. For a channel with a reducer, the dicts `{"__overwrite__": value}` and
    `{"type": "__overwrite__", "value": value}`, which LangGraph's clients send as JSON, are an `Overwrite` as well.
    """

    value: Any


def overwritten_by(update: object) -> Overwrite | None:
    """The update as an `Overwrite`, from any of its forms; None if it is no `Overwrite`."""
    if isinstance(update, Overwrite):
        return update
    if type(update) is dict:
        if len(update) == 1 and _MARK in update:
            return Overwrite(update[_MARK])
        if update.keys() == _AS_JSON and update["type"] == _MARK:
            return Overwrite(update["value"])
    return None


_MARK = "__overwrite__"
_AS_JSON = {"type", "value"}
