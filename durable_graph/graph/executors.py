"""Executors of nodes and tasks: the option, and which functions can run on one."""

import functools
import inspect
import sys
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeAlias

from durable_graph.errors import InvalidOptionError
from durable_graph.graph.policies import TimeoutPolicy

ExecutorOption: TypeAlias = Executor | Callable[[], Executor]
"""An executor, or a factory of one: a callable without parameters, called again once its executor is broken."""

_ALLOWED = "a concurrent.futures.Executor, a function without parameters that returns one, or None"


def executor_of(given: Any, option: str) -> ExecutorOption | None:
    """The given option. Raises `InvalidOptionError` if it is neither an executor nor a factory."""
    if given is None or isinstance(given, Executor):
        return given
    if not callable(given) or inspect.iscoroutinefunction(given):
        raise InvalidOptionError(option, given, allowed=_ALLOWED)
    try:
        inspect.signature(given).bind()
    except TypeError:
        raise InvalidOptionError(option, given, allowed=_ALLOWED) from None
    except ValueError:
        # Some builtins have no signature: the first call shows whether it is a factory.
        pass
    factory: ExecutorOption = given
    return factory


def name_in_module(function: object) -> str:
    """The function's name with its module, for errors."""
    module = getattr(function, "__module__", None)
    return f"{module}.{getattr(function, '__qualname__', type(function).__qualname__)}"


def why_not_plain(function: Any) -> str | None:
    """The reason why no other process can import this function, as far as the function itself shows it."""
    if isinstance(function, functools.partial):
        return "it is a partial"
    if not inspect.isroutine(function):
        return f"it is an instance of {type(function).__qualname__} and not a function"
    if inspect.ismethod(function):
        return "it is a bound method"
    if inspect.iscoroutinefunction(function):
        return "it is async, and an executor runs plain functions"
    if getattr(function, "__name__", "") == "<lambda>":
        return "it is a lambda"
    if "<locals>" in getattr(function, "__qualname__", ""):
        return "it is defined inside another function"
    return None


def why_not_found(function: Any) -> str | None:
    """The reason why the function's module does not have it under its name. Decorators that wrap it may be there."""
    name = getattr(function, "__module__", None)
    found: Any = sys.modules.get(name) if isinstance(name, str) else None
    if found is None:
        return "its module cannot be found"
    for part in getattr(function, "__qualname__", "").split("."):
        found = getattr(found, part, None)
    if found is function or (callable(found) and inspect.unwrap(found) is function):
        return None
    return "its module has no such name" if found is None else "its module has another object under its name"


def without_idle(policy: TimeoutPolicy | None) -> TimeoutPolicy | None:
    """The default timeout of all nodes, for a node on an executor: no heartbeat would end its idle time."""
    if policy is None or policy.idle_timeout is None:
        return policy
    return TimeoutPolicy(run_timeout=policy.run_timeout)
