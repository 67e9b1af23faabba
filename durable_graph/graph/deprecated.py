"""Options under LangGraph's older names, which public programs still use."""

import warnings
from collections.abc import Collection, Mapping
from typing import Any, Final

from durable_graph.errors import InvalidOptionError, UnknownOptionError
from durable_graph.graph.stack_frames import depth_of_caller

DEPRECATED: Final = {
    "config_schema": "context_schema",
    "input": "input_schema",
    "output": "output_schema",
    "retry": "retry_policy",
}


def renamed(call: str, given: Mapping[str, Any], current: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """The `current` options, with those of `given`, the options that the call's signature does not name.

    A deprecated name stands for the current name among the `known` options of the call. It emits a `DeprecationWarning`
    on the caller's line.

    Raises `UnknownOptionError`, and `InvalidOptionError` for an option that is given under both of its names.
    """
    options = dict(current)
    for name, value in given.items():
        new = DEPRECATED.get(name)
        if new is None or new not in known:
            UnknownOptionError.check(call, [name], known=known)
            options[name] = value
            continue
        if current.get(new) is not None or new in given:
            raise InvalidOptionError(name, value, allowed=f"left out, since {new}= is given")
        warnings.warn(f"{call}: {name}= is deprecated, use {new}=", DeprecationWarning, stacklevel=depth_of_caller())
        options[new] = value
    return options
