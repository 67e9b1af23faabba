"""Delayed tasks: they do not begin before a due time, from `Command(goto=..., after=...)` or `Send(..., after=...)`.

Until then a delayed task waits like a task that sleeps: with an interrupt that the clock ends, or an answer with its
id. Nothing is recorded for it, because the plan has the due time.
"""

from collections.abc import Mapping, Sequence

import msgspec

from durable_graph._engine.header import moment_of
from durable_graph._engine.questions import interrupt_id
from durable_graph._engine.task import Delayed, Interrupted, Outcome, PendingInterrupt, Task, namespace_of
from durable_graph.graph import Interrupt

Recorded = Mapping[tuple[int, int], Outcome]
_PHASE = "after"


def has_delay(plan: Sequence[Task]) -> bool:
    """Whether the plan has a delayed task."""
    return any(task.due for task in plan)


def is_unrecorded(outcome: Outcome | None) -> bool:
    """Whether the task has no record."""
    return outcome is None or (isinstance(outcome, Delayed) and not outcome.answers and outcome.instead_of is None)


def may_be_delayed(task: Task, outcome: Outcome | None) -> bool:
    """Whether the task is delayed, has not begun, and no answer has ended its delay."""
    return task.due > 0 and (is_unrecorded(outcome) or _stop_of(outcome) is not None)


def _stop_of(outcome: Outcome | None) -> Interrupted | None:
    """The record of a breakpoint that stopped the task before it began."""
    if isinstance(outcome, Delayed):
        return outcome.instead_of if not outcome.answers else None
    is_stop = isinstance(outcome, Interrupted) and not (outcome.asks or outcome.answers or outcome.asked)
    return outcome if isinstance(outcome, Interrupted) and is_stop else None


def delay_of(origin: bytes, ns: str, task: Task) -> Interrupt:
    """The interrupt with which the task waits. `origin` is the thread's, and `ns` the namespace of its graph."""
    id_ = interrupt_id(origin, namespace_of(ns, task), _PHASE, task.node, 0)
    return Interrupt(None, id_, due=moment_of(task.due))


def delayed(task: Task, outcome: Outcome | None, delay: Interrupt, nothing: bytes | None) -> Delayed:
    """The outcome of a delayed task. `outcome` is the recorded one, and `nothing` is None as it is
    stored."""
    stop = _stop_of(outcome)
    revision = 0 if stop is None else stop.revision
    return Delayed(task, 1, (PendingInterrupt(delay, nothing),), revision=revision, instead_of=stop)


def with_delays(
    plan: Sequence[Task], recorded: Recorded, now: int, *, origin: bytes, ns: str, nothing: bytes
) -> dict[tuple[int, int], Outcome]:
    """The outcomes of a loaded plan, with those of the tasks that are not due at `now`, in microseconds since
    1970."""
    early = {
        task.key: delayed(task, recorded.get(task.key), delay_of(origin, ns, task), nothing)
        for task in plan
        if task.due > now and may_be_delayed(task, recorded.get(task.key))
    }
    return {**recorded, **early}


def without_delays(recorded: Recorded) -> dict[tuple[int, int], Outcome]:
    """The outcomes that are recorded."""
    kept = ((key, _recorded(outcome)) for key, outcome in recorded.items())
    return {key: outcome for key, outcome in kept if outcome is not None}


def _recorded(outcome: Outcome) -> Outcome | None:
    return outcome.instead_of if isinstance(outcome, Delayed) and not outcome.answers else outcome


def at_the_earliest(task: Task, due: int) -> Task:
    """The task, due at `due` if that is earlier."""
    return task if due >= task.due else msgspec.structs.replace(task, due=due)
