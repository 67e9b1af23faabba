"""The rule of a join's channel: the sources that have finished since the join last fired."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from durable_graph.channels.channel import MISSING, Channel


@dataclass(frozen=True, slots=True)
class Joined(Channel):
    """The sorted names of the finished sources. Internal: no node reads or writes it."""

    sources: frozenset[str]
    declared: Any = field(default=tuple[str, ...], init=False)

    @property
    def update_type(self) -> Any:
        return str

    def merge(self, current: Any, updates: Sequence[Any]) -> Any:
        arrived = set(() if current is MISSING else current) | set(updates)
        return tuple(sorted(arrived)) if arrived else MISSING

    def is_full(self, value: Any) -> bool:
        return value is not MISSING and self.sources == set(value)
