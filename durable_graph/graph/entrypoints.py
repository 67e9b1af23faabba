"""What an entrypoint's graph keeps: its input, what it returned, and what its next call gets as `previous`."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar, get_args, get_origin

from durable_graph.graph import Topology

ValueT = TypeVar("ValueT")
SaveT = TypeVar("SaveT")

INPUT: Final = "#input"
VALUE: Final = "#value"
SAVED: Final = "#saved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving(Generic[ValueT, SaveT]):
    """What an entrypoint returns where `value` is its result, and `save` what its next call gets as `previous`."""

    value: ValueT
    save: SaveT


def is_workflow(topology: Topology) -> bool:
    """Whether the graph is an entrypoint's."""
    return SAVED in topology.channels


def returned(result: Any) -> dict[str, Any]:
    """What the entrypoint's function returned, as what its node writes."""
    if isinstance(result, Saving):
        return {VALUE: result.value, SAVED: result.save}
    return {VALUE: result, SAVED: result}


def declared_result(annotation: Any) -> Any:
    """The type of the result that callers of a function with this return annotation get: of a `Saving` its value."""
    cls = get_origin(annotation) or annotation
    if isinstance(cls, type) and issubclass(cls, Saving):
        return next(iter(get_args(annotation)), Any)
    return Any if annotation is None else annotation


def returning(function: Callable[..., Any], *, is_async: bool) -> Callable[..., Any]:
    """The function as a node: what it returns is the result, and what its next call gets as `previous`."""
    if not is_async:

        def call(given: Any, **extra: Any) -> dict[str, Any]:
            return returned(function(given, **extra))

        return functools.update_wrapper(call, function)

    async def call_async(given: Any, **extra: Any) -> dict[str, Any]:
        return returned(await function(given, **extra))

    return functools.update_wrapper(call_async, function)
