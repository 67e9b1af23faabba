"""Functions for packages that run user functions inside a node, as durable_graph_langchain runs tools, and for
packages that convert the events of runs, as durable_graph_http does."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from durable_graph._runtime.events.model import Event
from durable_graph._runtime.events.modes import LoggedItems
from durable_graph._runtime.task.run_context import context_of, current
from durable_graph._runtime.task.task_calls import TaskDefinition
from durable_graph.app.compiled import CompiledGraph
from durable_graph.errors import GraphValidationError
from durable_graph.graph.validation import problems_of_name


def is_inside_of_run() -> bool:
    """Whether the running code is part of a node, a router or a task."""
    context = current.get()
    return context is not None and not context.is_over


def recorded_call(name: str, function: Callable[..., Any], *args: Any) -> "asyncio.Task[Any]":
    """Start a call of the function, recorded like a call of a `@task`. It emits no events.

    Await it for its result, which is durable by then. When the calling code runs again, the recorded result is
    returned: the call is recognised by `name` and `args`. A plain function runs in a worker thread.

    Raises `OutsideOfRunError`, and `GraphValidationError` for an invalid name. Awaiting the call raises the errors of
    a task's call.
    """
    context = context_of("recorded_call()")
    for why in problems_of_name(name):
        raise GraphValidationError(f"{name!r} cannot be the name of a call: {why}")
    is_async = inspect.iscoroutinefunction(function)
    call: asyncio.Task[Any] = context.calls.start(
        context, TaskDefinition(name, function, is_async, has_events=False), args, {}
    )
    return call


def superstep_state() -> Any:
    """The state at the start of the running superstep, as its nodes receive it. Raises `OutsideOfRunError`."""
    context = context_of("superstep_state()")
    return context.run.topology.state.read(context.state.values, context.run.place(context.state))


def remaining_supersteps() -> int:
    """The number of supersteps that the recursion limit still allows, with this one. Raises `OutsideOfRunError`."""
    context = context_of("remaining_supersteps()")
    return context.run.place(context.state).remaining


ItemsOfEvent = Callable[[Event], list[tuple[str, Any]]]
"""Gives the items of an event by stream mode."""


def logged_items(graph: CompiledGraph[Any, Any, Any, Any]) -> ItemsOfEvent:
    """A function that gives the items of each event of `RunHandle.events` by stream mode: `(mode, payload)` pairs.

    The items of an event depend on that event only, so it may be called with the events from any id on.
    """
    return LoggedItems(graph.topology)
