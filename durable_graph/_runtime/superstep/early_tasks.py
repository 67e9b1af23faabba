"""The delayed tasks of a superstep."""

from collections.abc import Container, Mapping
from types import MappingProxyType

from durable_graph._engine.delays import at_the_earliest, delay_of, delayed, may_be_delayed
from durable_graph._engine.header import microseconds_of
from durable_graph._engine.state import State
from durable_graph._engine.task import Outcome
from durable_graph._runtime.task.run_context import GraphRun, Key

NOTHING_EARLY: Mapping[Key, Outcome] = MappingProxyType({})


def early_tasks(
    run: GraphRun, state: State, recorded: Mapping[Key, Outcome], attempted: Container[Key]
) -> dict[Key, Outcome]:
    """The tasks of the plan that are not due yet, by their keys, as outcomes that say when they are due.

    Of a nested graph, a task whose delay the outermost run has waited for is not among them.
    """
    now, answers, thread = run.shared.now(), run.answered(), run.store.thread
    origin = b"" if thread is None else thread.row.origin
    nothing = run.topology.argument.encode(None)
    early: dict[Key, Outcome] = {}
    for task in state.plan:
        if task.key in attempted or not may_be_delayed(task, recorded.get(task.key)):
            continue
        delay = delay_of(origin, run.ns, task)
        if delay.id in answers:
            answers.claim(delay.id)
            continue
        # A nested graph without a store of its own runs from its start again, and plans the task again: the first due
        # time counts.
        asked = answers.asked.get(delay.id)
        first = task if asked is None else at_the_earliest(task, microseconds_of(asked.due))
        if first.due > now:
            early[task.key] = delayed(task, recorded.get(task.key), delay_of(origin, run.ns, first), nothing)
    return early
