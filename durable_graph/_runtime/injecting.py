"""The parameters that user code may have beside its input."""

from collections.abc import Callable, Mapping
from typing import Any

from durable_graph._runtime.context import config_of, previous_of, runtime_of, store_of, writer_of
from durable_graph._runtime.session import Scope


def injected(scope: Scope, wanted: Mapping[str, str], told: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The parameters that a function has beside its input: `wanted` says of what kind each of them is."""
    if not wanted:
        return {}
    made: dict[str, Callable[[], Any]] = {
        "runtime": lambda: runtime_of(scope),
        "config": lambda: config_of(scope),
        "writer": lambda: writer_of(scope),
        "previous": lambda: previous_of(scope),
        "store": lambda: store_of(scope),
        "store or None": lambda: scope.session.run.store,
        "store or default": lambda: scope.session.run.store,
        "error": lambda: (told or {})["error"],
    }
    has_store = scope.session.run.store is not None
    return {name: made[kind]() for name, kind in wanted.items() if has_store or kind != "store or default"}
