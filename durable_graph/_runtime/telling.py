"""The events of a run, made only where somebody reads them."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from durable_graph._engine.state import State, output_of
from durable_graph._engine.task import (
    Done,
    Failed,
    Handling,
    Identity,
    Interrupted,
    Outcome,
    RoutingOpen,
    Task,
    asks_of,
    task_id,
)
from durable_graph._engine.unit import Step
from durable_graph._runtime.attempt import attempt_number
from durable_graph._runtime.events import (
    AnyEvent,
    CheckpointCommitted,
    RunInterrupted,
    TaskFailed,
    TaskFinished,
    TaskInterrupted,
    TaskStarted,
)
from durable_graph._runtime.session import Session
from durable_graph.errors import DurableGraphError
from durable_graph.graph import START, Interrupt
from durable_graph.records import checkpoint_id


def id_of(session: Session, task: Task) -> str:
    """The task's id, as callers see it."""
    return task_id(session.identity or Identity("", 0, session.ns), task)


def started_event(session: Session, state: State, task: Task, previous: Outcome | None) -> AnyEvent:
    """A node is about to run."""
    node = session.topology.nodes[task.node]
    return TaskStarted(
        thread_id=session.run.thread_id,
        ns=session.event_ns,
        step=state.step + 1,
        task_id=id_of(session, task),
        node=task.node,
        attempt=attempt_number(previous),
        input=_input_of(session, state, task),
        metadata=node.metadata,
    )


def _input_of(session: Session, state: State, task: Task) -> Any:
    if task.argument is not None:
        return task.argument.value
    try:
        return session.topology.nodes[task.node].input.read(state.values, session.place(state))
    except (DurableGraphError, ValueError, TypeError):
        # What keeps the input from being made is the attempt's to raise.
        return None


def task_events(session: Session, state: State, outcomes: Sequence[Outcome]) -> list[AnyEvent]:
    """What is told of outcomes once they are recorded."""
    if not session.shared.audience.is_heard:
        return []
    return [_task_event(session, state, outcome) for outcome in outcomes if outcome.task.node != START]


class _About(TypedDict):
    thread_id: str | None
    ns: tuple[str, ...]
    step: int
    task_id: str
    node: str
    attempt: int


def _task_event(session: Session, state: State, outcome: Outcome) -> AnyEvent:
    about: _About = {
        "thread_id": session.run.thread_id,
        "ns": session.event_ns,
        "step": state.step + 1,
        "task_id": id_of(session, outcome.task),
        "node": outcome.task.node,
        "attempt": outcome.attempt,
    }
    match outcome:
        case Done():
            return TaskFinished(
                **about,
                update=update_of(outcome),
                result=[(write.channel, write.value) for write in outcome.writes],
                is_cached=outcome.is_cached,
            )
        case Interrupted() | RoutingOpen(error=None):
            return TaskInterrupted(**about, interrupts=tuple(ask.interrupt for ask in asks_of(outcome)))
        case Failed():
            retry_at = None if outcome.retry_at is None else outcome.retry_at / 1_000_000
            return TaskFailed(**about, error=outcome.error, will_retry=retry_at is not None, retry_at=retry_at)
        case Handling() | RoutingOpen():
            return TaskFailed(**about, error=outcome.error or "")


def update_of(outcome: Done) -> Any:
    """What a node wrote: a dict, or a list of them where it wrote a channel more than once; None for nothing."""
    updates: list[dict[str, Any]] = []
    for write in outcome.writes:
        if not updates or write.channel in updates[-1]:
            updates.append({})
        updates[-1][write.channel] = write.value
    if not updates:
        return None
    return updates[0] if len(updates) == 1 else updates


def committed_events(session: Session, step: Step) -> list[AnyEvent]:
    """What is told of a superstep once it is committed."""
    if not session.shared.audience.is_heard:
        return []
    topology, state = session.topology, step.state
    is_stored = session.ledger is not None
    return [
        CheckpointCommitted(
            thread_id=session.run.thread_id,
            ns=session.event_ns,
            step=state.step,
            checkpoint_id=checkpoint_id(state.no) if is_stored else None,
            parent_checkpoint_id=checkpoint_id(step.parent) if is_stored and step.parent else None,
            source=step.source,
            values=output_of(topology, state.values),
            changed=any(channel in topology.channels for channel in step.changes),
            next=tuple(task.node for task in state.plan),
            tasks=tuple((id_of(session, task), task.node) for task in state.plan),
            writers=step.writers,
            metadata=_metadata(session, step),
        )
    ]


def _metadata(session: Session, step: Step) -> Mapping[str, Any]:
    return {
        **session.run.metadata,
        "source": step.source,
        "step": step.state.step,
        "writers": list(step.writers),
    }


async def tell_stopped(
    session: Session, state: State, values: Mapping[str, Any], interrupts: tuple[Interrupt, ...]
) -> None:
    """The run stops although something is left to run."""
    if session.shared.audience.is_heard:
        await session.shared.audience.tell(
            RunInterrupted(
                thread_id=session.run.thread_id,
                ns=session.event_ns,
                step=state.step,
                interrupts=interrupts,
                values=output_of(session.topology, values),
                next=tuple(task.node for task in state.plan),
            )
        )
