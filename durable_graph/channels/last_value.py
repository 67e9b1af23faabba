"""Rules of channels that hold the last write."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from durable_graph.channels.channel import MISSING, Declarable


@dataclass(frozen=True, slots=True)
class _Replaced(Declarable):
    """The common part: a write replaces the value, and the last write in task order counts."""

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
    """One write per superstep replaces the value: the rule of a key without reducer."""

    @property
    def takes_one_write(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class AnyValue(_Replaced):
    """Of several writes in one superstep the last in task order counts. A superstep without a write clears it."""

    @property
    def is_transient(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class EphemeralValue(_Replaced):
    """A value for the nodes of the next superstep only, which clears the value unless it writes the channel again.

    With `guard` a second write in one superstep is an error; without it, the last in task order counts.
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
    """A value of any type that is kept during its run and never stored: connections, caches, secrets.

    A run that resumes in another process or another call starts without the value. With `guard` a second write in one
    superstep is an error; without it, the last in task order counts.
    """

    guard: bool = True

    @property
    def takes_one_write(self) -> bool:
        return self.guard

    @property
    def is_stored(self) -> bool:
        return False
