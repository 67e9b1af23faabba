"""The rule of a channel without reducer: it holds what was written last."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from durable_graph.channels.channel import MISSING


@dataclass(frozen=True, slots=True)
class LastValue:
    """One write per superstep replaces the value."""

    declared: Any
    takes_one_write: ClassVar[bool] = True
    stores_updates: ClassVar[bool] = False

    @property
    def update_type(self) -> Any:
        return self.declared

    def initial(self) -> Any:
        return MISSING

    def merge(self, current: Any, updates: Sequence[Any]) -> Any:
        return updates[-1] if updates else current
