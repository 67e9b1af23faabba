"""The channels of an entrypoint's graph: its input, its result, and the next call's `previous`."""

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
CONTINUED: Final = "#continued"
"""The channel of the input with which the workflow continues as new, until its next superstep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving(Generic[ValueT, SaveT]):
    """The return value of an entrypoint with `value` as its result, and `save` as the next call's `previous`."""

    value: ValueT
    save: SaveT


@dataclass(frozen=True, slots=True)
class ContinueAsNew:
    """`return ContinueAsNew(input)` in an entrypoint ends its execution, and begins the same run anew with this input.

    A worker records both in one commit, and removes the history of the execution that ended, so a workflow that never
    ends has a bounded history. `previous` does not change. Without a worker, `ainvoke` repeats the workflow in the same
    call.
    """

    input: Any


def is_workflow(topology: Topology) -> bool:
    """Whether the graph is an entrypoint's."""
    return SAVED in topology.channels


def returned(result: Any) -> dict[str, Any]:
    """The node's writes for the return value of the entrypoint's function."""
    if isinstance(result, Saving):
        return {VALUE: result.value, SAVED: result.save}
    if isinstance(result, ContinueAsNew):
        return {CONTINUED: result.input}
    return {VALUE: result, SAVED: result}


def declared_result(annotation: Any) -> Any:
    """The result type of an entrypoint with this return annotation: for a `Saving` the type of its value."""
    cls = get_origin(annotation) or annotation
    if isinstance(cls, type) and issubclass(cls, Saving):
        return next(iter(get_args(annotation)), Any)
    return Any if annotation is None else annotation


def returning(function: Callable[..., Any], *, is_async: bool) -> Callable[..., Any]:
    """The function as a node: its return value is the result, and the next call's `previous`."""
    if not is_async:

        def call(given: Any, **extra: Any) -> dict[str, Any]:
            return returned(function(given, **extra))

        return functools.update_wrapper(call, function)

    async def call_async(given: Any, **extra: Any) -> dict[str, Any]:
        return returned(await function(given, **extra))

    return functools.update_wrapper(call_async, function)
