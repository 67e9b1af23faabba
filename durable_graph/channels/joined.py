"""The rule of a join's own channel: which of its sources have finished since it last fired."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from durable_graph.channels.channel import MISSING


@dataclass(frozen=True, slots=True)
class Joined:
    """The names of the sources that arrived, sorted. Internal: no node reads or writes it."""

    sources: frozenset[str]
    declared: ClassVar[Any] = tuple[str, ...]
    update_type: ClassVar[Any] = str
    takes_one_write: ClassVar[bool] = False
    stores_updates: ClassVar[bool] = False

    def initial(self) -> Any:
        return MISSING

    def merge(self, current: Any, updates: Sequence[Any]) -> Any:
        arrived = set(() if current is MISSING else current) | set(updates)
        return tuple(sorted(arrived)) if arrived else MISSING

    def is_full(self, value: Any) -> bool:
        return value is not MISSING and self.sources == set(value)
