"""Where a node is, in the config that it gets: told, and no order to go there when it hands its config on."""

from collections.abc import Iterator, Mapping
from typing import Any
from weakref import ref

from durable_graph._runtime.session import Scope


class OwnPlace(str):
    """The namespace or the checkpoint that a node runs at.

    Where the node hands on its config, this means nothing while it runs: a graph that it calls is nested in it or
    begins at the root of another thread, and what it reads of its thread is the newest. Afterwards, and as any other
    text, it leads to that checkpoint.
    """

    __slots__ = ("_scope",)
    _scope: "ref[Scope]"

    def __new__(cls, text: str, scope: Scope) -> "OwnPlace":
        """The text, as the code of `scope` is told it."""
        place = super().__new__(cls, text)
        place._scope = ref(scope)
        return place

    @property
    def is_left(self) -> bool:
        """Whether the code that was told it has ended."""
        scope = self._scope()
        return scope is None or scope.is_over

    def __deepcopy__(self, _: object) -> "OwnPlace":
        """A copied config is the node's own as well."""
        return self

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)


def meant(configurable: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a config says: not where the code is itself that hands it on."""
    for key, value in configurable.items():
        if not isinstance(value, OwnPlace):
            yield key, value
        elif value.is_left:
            yield key, str(value)
