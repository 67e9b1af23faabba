"""The values of many channels, of which a superstep changes few."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from durable_graph.channels.channel import MISSING

T = TypeVar("T")

# What has changed is copied with each superstep, what has not only once in so many changes.
LAYER = 64


class Values(Mapping[str, Any]):
    """A mapping that is never changed: a large dict that many share, under a small one of what changed since."""

    __slots__ = ("_base", "_over")

    def __init__(self, base: dict[str, Any], over: dict[str, Any]) -> None:
        self._base = base
        self._over = over

    def __getitem__(self, key: str) -> Any:
        value = self._over[key] if key in self._over else self._base[key]
        if value is MISSING:
            raise KeyError(key)
        return value

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or `default` where there is none."""
        value = self._over[key] if key in self._over else self._base.get(key, MISSING)
        return default if value is MISSING else value

    def __contains__(self, key: object) -> bool:
        over: dict[Any, Any] = self._over
        return over[key] is not MISSING if key in over else key in self._base

    def __iter__(self) -> Iterator[str]:
        return iter(self.flat())

    def __len__(self) -> int:
        return len(self.flat())

    def __repr__(self) -> str:
        return repr(self.flat())

    def select(self, keys: Iterable[str]) -> dict[str, Any]:
        """Those of the keys that have a value, with it."""
        base, over = self._base, self._over
        found: dict[str, Any] = {}
        for key in keys:
            value = over[key] if key in over else base.get(key, MISSING)
            if value is not MISSING:
                found[key] = value
        return found

    def flat(self) -> dict[str, Any]:
        """All of it as one dict, a new one."""
        together = {**self._base, **self._over}
        for key, value in self._over.items():
            if value is MISSING:
                del together[key]
        return together

    def changed(self, changes: Mapping[str, Any]) -> "Values":
        """This with other values; MISSING takes one away."""
        if not changes:
            return self
        over = Values(self._base, {**self._over, **changes})
        return over if len(over._over) <= LAYER else Values(over.flat(), {})


def changed(values: Mapping[str, Any], changes: Mapping[str, Any]) -> Values:
    """`values` with other ones in some places, MISSING for none. Most of the time it costs what changes."""
    if not isinstance(values, Values):
        values = Values(dict(values), {})
    return values.changed(changes)


def selected(values: Mapping[str, T], keys: Iterable[str]) -> dict[str, T]:
    """Those of the keys that have a value, with it."""
    if isinstance(values, Values):
        return values.select(keys)
    return {key: values[key] for key in keys if key in values}
