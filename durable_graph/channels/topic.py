"""The rule of a channel that collects items."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import GenericAlias
from typing import Any, Self, get_args

from durable_graph.channels.channel import MISSING, Declarable, NewId, UpdateRefused
from durable_graph.channels.empty import concrete_type


@dataclass(frozen=True, slots=True)
class Topic(Declarable):
    """A list of the written items, in task order. A write is an item or a list of items.

    Each superstep starts a new list, and leaves the channel without a value if it writes nothing; with `accumulate` the
    list grows, and each superstep stores its items. `item` is the type of an item, if the annotation does not set it.
    """

    item: Any = Any
    accumulate: bool = False

    @property
    def declared(self) -> Any:
        return GenericAlias(list, (self.item,))

    @property
    def is_transient(self) -> bool:
        return not self.accumulate

    @property
    def stores_updates(self) -> bool:
        return self.accumulate

    @property
    def mark(self) -> int:
        return 1

    def on(self, declared: Any) -> Self:
        if concrete_type(declared) is not list:
            why = "a Topic holds a list: declare it as Annotated[list[<item>], Topic]"
            raise UpdateRefused(why)
        inner = get_args(declared)
        return replace(self, item=inner[0] if inner else self.item)

    def prepare(self, update: Any, new_id: NewId) -> Any:
        return update if isinstance(update, list) else [update]

    def prepare_whole(self, value: Any, new_id: NewId) -> Any:
        return self.prepare(value, new_id)

    def merge(self, current: Any, updates: Sequence[Any]) -> Any:
        items = list(current) if self.accumulate and current is not MISSING else []
        for update in updates:
            items.extend(update)
        return items or MISSING
