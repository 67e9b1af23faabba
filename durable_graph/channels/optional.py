"""Keys that are None or a value that their reducer merges: `Annotated[<type>, <reducer>] | None`.

The reducer is never called with None. A key that is None has no value to merge with, and only an `Overwrite` makes it
None again.
"""

from collections.abc import Callable
from typing import Any

from durable_graph.channels.channel import MISSING, UpdateRefused


def or_none(reducer: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The reducer for values that may be None, on either side."""

    def merged(value: Any, update: Any) -> Any:
        if value is None or update is None:
            return value if update is None else update
        return reducer(value, update)

    return merged


def check_none(current: Any) -> None:
    """Raises `UpdateRefused` for None as a write to a key that has this value."""
    if current is not MISSING and current is not None:
        why = "None cannot be merged with the current value; write Overwrite(None) to replace it"
        raise UpdateRefused(why)
