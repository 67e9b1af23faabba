"""The values of a state's channels, for cheap copies when a superstep changes few of them: a dict, or `Values`."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from durable_graph.channels.channel import MISSING

T = TypeVar("T")

# Up to this many values are one dict, which is copied with each superstep. With more of them, only the upper dict of
# `Values` is: the base is copied once the upper dict has more entries than this.
LAYER = 64


class Values(Mapping[str, Any]):
    """An immutable mapping: a large shared dict, and a small dict over it with the changed values."""

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
        """The value, or `default` if there is none."""
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
        """The values of these keys, without keys that have no value."""
        if isinstance(keys, dict) and 2 * len(keys) > len(self._base):
            # A node that reads most channels: without a loop in Python, in the order of the keys all the same.
            together = self.flat()
            if len(together) == len(keys) and list(together) == list(keys):
                return together
            if together.keys() >= keys.keys():
                return dict(zip(keys, map(together.__getitem__, keys), strict=True))
        base, over = self._base, self._over
        found: dict[str, Any] = {}
        for key in keys:
            value = over[key] if key in over else base.get(key, MISSING)
            if value is not MISSING:
                found[key] = value
        return found

    def flat(self) -> dict[str, Any]:
        """All values as a new dict."""
        together = {**self._base, **self._over}
        for key, value in self._over.items():
            if value is MISSING:
                del together[key]
        return together

    def changed(self, changes: Mapping[str, Any]) -> "Values":
        """A mapping with these changes; MISSING removes a value."""
        if not changes:
            return self
        over = Values(self._base, {**self._over, **changes})
        return over if len(over._over) <= LAYER else Values(over.flat(), {})


def changed(values: Mapping[str, Any], changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """`values` with these changes; MISSING removes a value. The cost is mostly proportional to the changes.

    Nobody may change what is returned, nor `values`: a state without changes shares them.
    """
    if not changes:
        return values
    if type(values) is Values:
        return values.changed(changes)
    together = {**values, **changes}
    for key, value in changes.items():
        if value is MISSING:
            del together[key]
    return together if len(together) <= LAYER else Values(together, {})


def selected(values: Mapping[str, T], keys: Iterable[str]) -> dict[str, T]:
    """The values of these keys, without keys that have no value."""
    if type(values) is Values:
        return values.select(keys)
    found: dict[str, T] = {}
    for key in keys:  # no comprehension: that is one more Python call in each superstep
        if key in values:
            found[key] = values[key]
    return found
