"""The error that a superstep ends with."""

import asyncio
from collections.abc import Mapping, Sequence

from durable_graph._engine.state import State
from durable_graph._engine.task import Task
from durable_graph._runtime import log
from durable_graph._runtime.attempted import Attempted
from durable_graph._runtime.session import Key, Session
from durable_graph._runtime.telling import id_of
from durable_graph.errors import StateMutatedError
from durable_graph.errors.shown import add_note, shown


def first_error(
    session: Session, state: State, tasks: Sequence[Task], attempted: Mapping[Key, Attempted]
) -> BaseException | None:
    """The first failure in the plan's order; the others are noted on it."""
    failed = [(task, attempted[task.key].error) for task in tasks if task.key in attempted]
    errors = [(task, error) for task, error in failed if error is not None]
    # A cancellation is raised last: it also stands for siblings that a failure had cancelled.
    errors.sort(key=lambda found: isinstance(found[1], asyncio.CancelledError))
    if not errors:
        return None
    for failed_task, raised in errors:
        if isinstance(raised, StateMutatedError):
            session.report_mutation(raised)
        if not isinstance(raised, asyncio.CancelledError):
            attempt_no = attempted[failed_task.key].outcome.attempt
            log.node_failed(session.run.thread_id, state.step + 1, failed_task.node, attempt_no, raised)
    task, error = errors[0]
    if not isinstance(error, asyncio.CancelledError):
        thread = session.run.thread_id
        where = f", thread {thread!r}" if thread is not None else ""
        add_note(
            error,
            f"in node {task.node!r} (task {id_of(session, task)}) of superstep {state.step + 1}{where}",
        )
    for other, another in errors[1:]:
        if not isinstance(another, asyncio.CancelledError):
            add_note(error, f"node {other.node!r} failed as well: {shown(another)}")
    return error
