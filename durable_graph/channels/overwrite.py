"""A write that a reducer does not see."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Overwrite:
    """As a write to a channel: `value` takes the place of what the channel held before this superstep.

    Another write to it in the same superstep is a `ConcurrentOverwriteError`. Where there is no reducer it is a plain
    write. The dicts `{"__overwrite__": value}` and `{"type": "__overwrite__", "value": value}`, which LangGraph's
    clients send as JSON, are read as one where there is a reducer.
    """

    value: Any


def overwritten_by(update: object) -> Overwrite | None:
    """What an update says as an `Overwrite`, in whichever form; None if it is none."""
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
