"""The events of calls inside a node: they look like those of nodes, and name the function that was called."""

from durable_graph._runtime.events.model import AboutTask, TaskFailed, TaskFinished, TaskStarted
from durable_graph._runtime.task.run_context import TaskContext
from durable_graph.errors.shown import shown

RETURNED = "__return__"
"""The key of a call's result in events: the result itself has no key."""


async def publish_call_started(context: TaskContext, given: object) -> None:
    """A call is about to run, with these arguments."""
    sink = context.run.shared.sink
    if sink.is_active:
        metadata = context.run.request.metadata_of(context.metadata)
        await sink.emit(TaskStarted(**_about(context), input=given, metadata=metadata))


async def publish_call_finished(context: TaskContext, value: object) -> None:
    """A call returned, and what it returned is recorded."""
    sink = context.run.shared.sink
    if sink.is_active:
        await sink.emit(TaskFinished(**_about(context), update=value, result=((RETURNED, value),)))


async def publish_call_failed(context: TaskContext, error: Exception) -> None:
    """A call raised, and nothing is recorded of it."""
    sink = context.run.shared.sink
    if sink.is_active:
        await sink.emit(TaskFailed(**_about(context), error=shown(error)))


def _about(context: TaskContext) -> AboutTask:
    return {
        "thread_id": context.run.request.thread_id,
        "ns": context.run.event_ns,
        "step": context.step,
        "task_id": context.task_id,
        "node": context.node,
        "attempt": context.number,
    }
