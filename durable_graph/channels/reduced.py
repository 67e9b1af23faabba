"""The rule of a channel with a reducer that the user wrote: its value is stored whole."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from durable_graph.channels.channel import MISSING, Channel
from durable_graph.channels.empty import empty_value


@dataclass(frozen=True, slots=True)
class Reduced(Channel):
    """`reducer(value, write)` for every write in task order.

    It starts from the declared type's empty value (`list()`, `0`, ...); where there is none, from the first write.
    """

    declared: Any
    reducer: Callable[[Any, Any], Any]

    @property
    def update_type(self) -> Any:
        # What a reducer accepts is its own affair: `append` takes an item, `extend` a list.
        return Any

    def initial(self) -> Any:
        return empty_value(self.declared)

    def merge(self, current: Any, updates: Sequence[Any]) -> Any:
        # A reducer may change what it is given, such as `extend` and hand it back. The value before and the writes are
        # merged again, for a router, for a snapshot or after another writer's commit, so it gets copies of its own.
        value = _own(current)
        for update in updates:
            value = _own(update) if value is MISSING else self.reducer(value, update)
        return value


def _own(value: Any) -> Any:
    return value.copy() if type(value) in (list, dict, set) else value
