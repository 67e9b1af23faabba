"""The rule of a channel with a reducer that the user wrote: its value is stored whole."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from durable_graph.channels.channel import MISSING, Channel, UpdateRefused
from durable_graph.channels.empty import empty_value
from durable_graph.channels.owned import owned


@dataclass(frozen=True, slots=True)
class Reduced(Channel):
    """`reducer(value, write)` for every write in task order.

    It starts from the declared type's empty value (`list()`, `0`, ...); where there is none, from the first write.
    With `is_optional` the reducer is never called with None: a key that is None has no value to merge with, and only
    an `Overwrite` makes it None again.
    """

    declared: Any
    reducer: Callable[[Any, Any], Any]
    is_optional: bool = False

    @property
    def update_type(self) -> Any:
        # What a reducer accepts is its own affair: `append` takes an item, `extend` a list.
        return Any

    def initial(self) -> Any:
        return empty_value(self.declared)

    def is_checked(self, update: Any) -> bool:
        return self.is_optional and update is None

    def check(self, current: Any, update: Any) -> None:
        if current is not MISSING and current is not None:
            why = "None cannot be merged with the value that is there; write Overwrite(None) to drop that value"
            raise UpdateRefused(why)

    def merge(self, current: Any, updates: Sequence[Any]) -> Any:
        # A reducer may change what it is given, such as `extend` and hand it back. The value before and the writes are
        # merged again, for a router, for a snapshot or after another writer's commit, so it gets copies of its own.
        value = owned(current)
        for update in updates:
            if value is MISSING or (self.is_optional and value is None):
                value = owned(update)
            elif update is not None or not self.is_optional:
                value = self.reducer(value, owned(update))
        return value
