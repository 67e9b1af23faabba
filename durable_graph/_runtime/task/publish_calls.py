"""The events of calls inside a node: they look like those of nodes, and name the function that was called."""

from typing import Any

from durable_graph._runtime.events.model import AboutTask, TaskFailed, TaskFinished, TaskStarted
from durable_graph._runtime.task.run_context import Scope
from durable_graph.errors.shown import shown

RETURNED = "__return__"
"""What stands for the key of a call's result, which has none."""


async def tell_call_started(scope: Scope, given: Any) -> None:
    """A call is about to run, with these arguments."""
    audience = scope.session.shared.audience
    if audience.is_heard:
        metadata = scope.session.run.metadata_of(scope.metadata)
        await audience.tell(TaskStarted(**_about(scope), input=given, metadata=metadata))


async def tell_call_finished(scope: Scope, value: Any) -> None:
    """A call returned, and what it returned is recorded."""
    audience = scope.session.shared.audience
    if audience.is_heard:
        await audience.tell(TaskFinished(**_about(scope), update=value, result=((RETURNED, value),)))


async def tell_call_failed(scope: Scope, error: Exception) -> None:
    """A call raised, and nothing is recorded of it."""
    audience = scope.session.shared.audience
    if audience.is_heard:
        await audience.tell(TaskFailed(**_about(scope), error=shown(error)))


def _about(scope: Scope) -> AboutTask:
    return {
        "thread_id": scope.session.run.thread_id,
        "ns": scope.session.event_ns,
        "step": scope.step,
        "task_id": scope.task_id,
        "node": scope.node,
        "attempt": scope.number,
    }
