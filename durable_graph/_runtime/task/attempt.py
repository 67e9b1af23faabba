"""One attempt at one task: the stages of its node, in a context that the code can find."""

import time
from typing import Any

import msgspec

from durable_graph._engine.state import State
from durable_graph._engine.task import Failed, Outcome, Task, answers_of, following, interrupts_of
from durable_graph._runtime.task.answers import NO_ANSWERS, Answers
from durable_graph._runtime.task.lengths import Lengths
from durable_graph._runtime.task.outcomes import done
from durable_graph._runtime.task.read_result import read_result
from durable_graph._runtime.task.run_context import GraphRun, TaskContext, TaskOutput, current
from durable_graph._runtime.task.stages import routed
from durable_graph._runtime.task.task_calls import TaskJournal
from durable_graph.errors import StateMutatedError
from durable_graph.graph import START


class AttemptState(msgspec.Struct):
    """The state that all attempts at one task in this process share."""

    first_started: float = msgspec.field(default_factory=time.time)
    calls: TaskJournal | None = None
    error: BaseException | None = None
    """The node's error, for its error handler."""
    handler_tries: int = 0
    pause: float = 0.0
    """Seconds until the error handler is tried again."""
    is_first: bool = True

    def calls_of(self, context: TaskContext) -> TaskJournal:
        """The calls of a new attempt, with the records of earlier attempts."""
        if self.calls is None or self.calls.ns != context.ns:
            self.calls = TaskJournal(context.run, context.ns, context.task.born)
        self.calls.begin()
        return self.calls


def attempt_number(previous: Outcome | None) -> int:
    """The number of the next attempt. One that continues after an answer, or with the routers, keeps the number."""
    if previous is None:
        return 1
    return previous.attempt + 1 if isinstance(previous, Failed) else previous.attempt


async def attempt(run: GraphRun, state: State, task: Task, previous: Outcome | None, trial: AttemptState) -> TaskOutput:
    """Run the task, its error handler, or only its routers if its node is done already.

    Only a cancellation is raised, what unwinds more than the task, and what the store failed with meanwhile: code that
    called for it cannot have come to anything.
    """
    plan = run.nodes[task.node]
    stage = plan.run if previous is None else plan.stage_after(previous)
    context = _task_context(run, state, task, previous, trial)
    token = current.set(context)
    try:
        output = await stage(context, previous)
    finally:
        context.is_over = True
        current.reset(token)
    thread = run.store.thread
    if thread is not None and thread.failure is not None:
        raise thread.failure
    if previous is None:
        return output
    return TaskOutput(following(output.outcome, previous), output.error)


async def route_as(run: GraphRun, state: State, task: Task, values: Any, trial: AttemptState) -> TaskOutput:
    """The output that the task would have if its node had returned `values`: the routers run, the node does not.

    Raises what is wrong with the values.
    """
    node = run.topology.nodes[task.node]
    own = read_result(run.topology, node, values, state.values, run.store.max_value_bytes, run.due_after)

    async def returned(context: TaskContext, previous: Outcome | None) -> TaskOutput:
        return TaskOutput(done(context, previous, own, is_handled=False))

    stage = routed(run.topology, node.name, node.routers, returned, is_checked=run.request.is_checked)
    context = _task_context(run, state, task, None, trial)
    token = current.set(context)
    try:
        given = Lengths(run.topology, state)
        output = await stage(context, None)
        if changed := given.changed():
            raise StateMutatedError([task.node], changed)
        return output
    finally:
        context.is_over = True
        current.reset(token)


def _task_context(
    run: GraphRun, state: State, task: Task, previous: Outcome | None, trial: AttemptState
) -> TaskContext:
    thread = run.store.thread
    if run.parent is not None:
        answers = run.parent.answers
    elif previous is None:
        answers = NO_ANSWERS
    else:
        answers = Answers(answers_of(previous), (ask.interrupt for ask in interrupts_of(previous)))
    number = 1 if previous is None else attempt_number(previous)
    is_first = trial.is_first and previous is None and task.born > run.resumed_at
    is_fresh = is_first and (thread is None or task.born > thread.opened_at)
    trial.is_first = False
    return TaskContext(
        run=run,
        state=state,
        task=task,
        within=run.ns,
        number=number,
        answers=answers,
        first_started=trial.first_started,
        metadata=run.topology.nodes[task.node].metadata if task.node != START else {},
        is_fresh=is_fresh,
        is_after_failure=number > 1,
        new_task_journal=trial.calls_of,
        node_error=trial.error,
    )
