"""The rule of a channel with a user's reducer: its value is stored whole."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from durable_graph.channels.channel import MISSING, Channel
from durable_graph.channels.empty import empty_value
from durable_graph.channels.libraries import AUTO, Choice, MessageLibrary
from durable_graph.channels.libraries import current as current_library
from durable_graph.channels.optional import check_none, or_none
from durable_graph.channels.owned import owned


@dataclass(frozen=True, slots=True)
class Reduced(Channel):
    """`reducer(value, write)` for every write in task order.

    The initial value is the declared type's empty value (`list()`, `0`, ...), or if there is none, the first write.
    `is_optional`: see `channels/optional.py`.
    """

    declared: Any
    reducer: Callable[[Any, Any], Any]
    is_optional: bool = False
    library: MessageLibrary | Choice | None = AUTO

    @property
    def update_type(self) -> Any:
        # The type of a write depends on the reducer: `append` takes an item, `extend` a list.
        return Any

    def initial(self) -> Any:
        return empty_value(self.declared)

    def is_checked(self, update: Any) -> bool:
        return self.is_optional and update is None

    def check(self, current: Any, update: Any) -> None:
        check_none(current)

    def merge(self, current: Any, updates: Sequence[Any]) -> Any:
        # A reducer may change its arguments, such as extend a list and return it. The same value and writes are merged
        # again, for a router, for a snapshot or after another writer's commit, so the reducer gets copies.
        value = owned(current)
        reduce = or_none(self.reducer) if self.is_optional else self.reducer
        using = current_library.set(self.library)
        try:
            for update in updates:
                value = owned(update) if value is MISSING else reduce(value, owned(update))
        finally:
            current_library.reset(using)
        return value
