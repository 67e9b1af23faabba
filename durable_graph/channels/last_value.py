"""Rules of channels that hold what was written last."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from durable_graph.channels.channel import MISSING, Declarable


@dataclass(frozen=True, slots=True)
class _Replaced(Declarable):
    """What they have in common: a write takes the place of the value, and the last in task order counts."""

    declared: Any = Any

    @property
    def replaces(self) -> bool:
        return True

    def on(self, declared: Any) -> Self:
        return replace(self, declared=declared)

    def merge(self, current: Any, updates: Sequence[Any]) -> Any:
        if updates:
            return updates[-1]
        return MISSING if self.is_transient else current


@dataclass(frozen=True, slots=True)
class LastValue(_Replaced):
    """One write per superstep replaces the value: what a key without reducer has."""

    @property
    def takes_one_write(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class AnyValue(_Replaced):
    """Of several writes in one superstep the last in task order counts. A superstep without any clears it."""

    @property
    def is_transient(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class EphemeralValue(_Replaced):
    """A value for the nodes of the next superstep only: that one clears it, unless it writes it anew.

    With `guard` a second write in one superstep is an error; without, the last in task order counts.
    """

    guard: bool = True

    @property
    def takes_one_write(self) -> bool:
        return self.guard

    @property
    def is_transient(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class UntrackedValue(_Replaced):
    """A value that lives as long as its run and is never stored: connections, caches, secrets. Any type will do.

    A run that goes on in another process, or another call, begins without it. With `guard` a second write in one
    superstep is an error; without, the last in task order counts.
    """

    guard: bool = True

    @property
    def takes_one_write(self) -> bool:
        return self.guard

    @property
    def is_stored(self) -> bool:
        return False
