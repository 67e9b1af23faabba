"""The namespace and the checkpoint in a node's config, which are ignored when the node passes its config to a call."""

from collections.abc import Iterator, Mapping
from typing import Any
from weakref import ref

from durable_graph._runtime.session import Scope


class OwnPlace(str):
    """The namespace, or the id of the checkpoint, that a node runs at.

    While the node runs, calls ignore this text in the config that the node passes to them: a graph that it calls is
    nested in it, or begins at the root of another thread, and a read of its thread returns the newest state. After the
    node has ended, and as a plain str, the text identifies that namespace or checkpoint.
    """

    __slots__ = ("_scope",)
    _scope: "ref[Scope]"

    def __new__(cls, text: str, scope: Scope) -> "OwnPlace":
        """The text for the config of the code of `scope`."""
        place = super().__new__(cls, text)
        place._scope = ref(scope)
        return place

    @property
    def is_left(self) -> bool:
        """Whether the code that got this text has ended."""
        scope = self._scope()
        return scope is None or scope.is_over

    def __deepcopy__(self, _: object) -> "OwnPlace":
        """The text itself, because a copy of the config is a config of the same node."""
        return self

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)


def meant(configurable: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The keys of `configurable` without the place of running code that passes on its own config."""
    for key, value in configurable.items():
        if not isinstance(value, OwnPlace):
            yield key, value
        elif value.is_left:
            yield key, str(value)
