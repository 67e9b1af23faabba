"""The tasks of one superstep, side by side: each outcome is durable before it counts.

One task alone is in no group: that of one would cost as much as the rest of the superstep. A task that finishes while
siblings run is recorded at once; the last one's outcome is left to the superstep's commit.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import anyio.lowlevel
import msgspec

from durable_graph._engine.delays import without_delays
from durable_graph._engine.due import next_due, topics_of, unanswered
from durable_graph._engine.state import State
from durable_graph._engine.task import Done, Failed, Handling, Outcome, Task, is_waiting
from durable_graph._runtime.commit.requests import StatusChange, failure
from durable_graph._runtime.events.sink import Publication
from durable_graph._runtime.request import log
from durable_graph._runtime.request.cancellation import wind_up
from durable_graph._runtime.request.control_flow import Draining
from durable_graph._runtime.superstep.early_tasks import NOTHING_EARLY, early_tasks
from durable_graph._runtime.superstep.next_attempt import tried_again
from durable_graph._runtime.superstep.publish import id_of, started_event, task_events
from durable_graph._runtime.task.attempt import AttemptState, attempt, attempt_number
from durable_graph._runtime.task.mutation import Given
from durable_graph._runtime.task.outcomes import failed_instead, own_cancellation
from durable_graph._runtime.task.run_context import GraphRun, Key, StopRequest, TaskOutput
from durable_graph.errors import StateMutatedError, StepTimeoutError
from durable_graph.errors.shown import add_note, shown
from durable_graph.graph import START

_LARGEST_BATCH = 512
"""How many outcomes of one superstep are recorded together: the first of thousands are to be durable soon."""


SUSPENDED_PAUSE = 10.0
"""Seconds: before a retry with a longer pause, a run that a worker executes is suspended."""


@dataclass(slots=True)
class Siblings:
    """The tasks of a superstep while they run. `left` of them have no outcome yet.

    An error of one task must not leave the task group: Python 3.11 would then cancel the asyncio task that the group is
    in, which is the caller's, and not take the cancellation back. So `stop` cancels the others instead.
    """

    left: int
    gate: asyncio.Semaphore | None
    superstep: StopRequest
    running: list[asyncio.Task[None]] = field(default_factory=list)
    raised: list[BaseException] = field(default_factory=list)
    finished: list[Outcome] = field(default_factory=list)
    drained: Draining | None = None
    is_recording: bool = False

    def stop(self) -> None:
        """Cancel the tasks that still run, once all have begun: so each has an event of its start."""
        if not self.superstep.has_failed_task:
            self.superstep.has_failed_task = True
            asyncio.get_running_loop().call_soon(self._cancel)

    def _cancel(self) -> None:
        for task in self.running:
            task.cancel()


class Outcomes(msgspec.Struct, frozen=True):
    """The outcomes of the tasks of a plan. `uncommitted` are the outcomes that the commit has still to record.

    There is no commit while some are `waiting` for an answer, in the plan's order.
    """

    done: tuple[Done, ...]
    uncommitted: tuple[Done, ...]
    waiting: tuple[Outcome, ...] = ()


class Superstep(msgspec.Struct):
    """One superstep being run. `early` are the tasks that are not due yet, as outcomes with their due times."""

    run: GraphRun
    state: State
    recorded: dict[Key, Outcome]
    attempted: dict[Key, TaskOutput] = msgspec.field(default_factory=dict)
    saved: dict[Key, Outcome] = msgspec.field(default_factory=dict)
    siblings: Siblings | None = None
    given: Given | None = None
    early: Mapping[Key, Outcome] = NOTHING_EARLY

    async def run_tasks(self) -> Outcomes:
        """Run the tasks that are not done and do not wait; also those whose answers arrive meanwhile.

        Raises the error of the first failed task, in the order of the plan, with a note that names the task. By then
        every outcome is recorded, as it is when a cancellation is raised.
        """
        while True:
            is_first = not self.recorded and not self.attempted
            for task in self.state.plan:  # no function: that is one more Python call in each superstep
                if task.due:
                    self._look_at_clock()
                    is_first = False
                    break
            open_tasks = self.state.plan if is_first else self._can_go_on()
            if open_tasks:
                stop = self._begin()
                limit = self.run.request.step_timeout
                await (
                    self._run_open(open_tasks, stop) if limit is None else self._run_in_time(open_tasks, stop, limit)
                )
                if not self._have_succeeded(open_tasks, stop):
                    await self._raise_first(open_tasks, is_cancelled=stop.is_cancelled())
            executed = self._executed()
            if not executed.waiting:
                return executed
            if self.early and self._look_at_clock():
                # While other tasks ran, the time of a task has come.
                continue
            if await self._has_stopped():
                return self._executed()

    def _can_go_on(self) -> Sequence[Task]:
        answered = self.run.answered()
        tried = {*self.attempted, *self.early}
        left = ((task, self.recorded.get(task.key)) for task in self.state.plan if task.key not in tried)
        return [task for task, outcome in left if not isinstance(outcome, Done) and not is_waiting(outcome, answered)]

    def _look_at_clock(self) -> bool:
        """Find the tasks that are not due yet. True if a task has become due since the last call."""
        before = self.early
        self.recorded = without_delays(self.recorded)
        self.early = early_tasks(self.run, self.state, self.recorded, self.attempted)
        return any(key not in self.early for key in before)

    def _begin(self) -> StopRequest:
        """Note what the tasks are given, and the cancellation requests that the run has already."""
        for task in self.state.plan:
            if task.argument is not None:
                self.given = Given(self.run, self.state.plan)
                break
        # It does not refer to the superstep, which refers to the run: the cycle would keep the states of the run alive
        # until the next garbage collection.
        runner = asyncio.current_task()
        self.run.stop = stop = StopRequest(runner, 0 if runner is None else runner.cancelling())
        return stop

    async def _raise_first(self, open_tasks: Sequence[Task], *, is_cancelled: bool) -> None:
        """Record what is not recorded, and raise the cancellation of the run or its first error, if there is one."""
        if not is_cancelled:
            self._blame_for_cancellations(open_tasks)
        error = first_error(self.run, self.state, open_tasks, self.attempted)
        if isinstance(error, asyncio.CancelledError):
            # No node failed: the thread stays one that runs, which is how it is found to be resumed.
            await self._save_rest_of(error)
            # An anyio scope takes back no cancellation but its own.
            await anyio.lowlevel.checkpoint_if_cancelled()
            raise error
        if error is not None:
            await self._save_rest(failure(error))
            # A failure does not make a cancellation that came with it undone.
            raise error
        if is_cancelled:
            late = asyncio.CancelledError()
            await self._save_rest_of(late)
            await anyio.lowlevel.checkpoint_if_cancelled()
            raise late

    async def _has_stopped(self) -> bool:
        """Whether the run stops for answers. False where others recorded something meanwhile."""
        rest = self._unsaved()
        owned = self.run.shared.owned
        if owned is not None and self.run.parent is None:
            so_far = (*self.so_far().values(), *self.early.values())
            owned.suspends(next_due(so_far), topics_of(so_far), unanswered(so_far))
            if owned.log is not None and owned.log.is_active:
                owned.log.waits(self.so_far())
        if self.run.is_outermost:
            found = await self.run.store.interrupt(self.state.plan, self.so_far(), rest, self.publication_of)
            if found is not None:
                self.recorded = {**self.recorded, **found}
                self.attempted = {key: result for key, result in self.attempted.items() if key not in found}
                self.saved = {key: outcome for key, outcome in self.saved.items() if key not in found}
                return False
            self.saved.update((outcome.task.key, outcome) for outcome in rest)
        elif rest:
            await self._save(rest)
        return True

    def _have_succeeded(self, tasks: Sequence[Task], stop: StopRequest) -> bool:
        """Whether all these tasks have a result, nobody has cancelled the run, and nothing was changed in place."""
        lengths = self.run.lengths
        if self.given is not None or (lengths is not None and lengths.changed()):
            self._fail_changed()
        if stop.is_cancelled():
            return False
        for task in tasks:
            result = self.attempted.get(task.key)
            if result is None or result.error is not None:
                return False
        return True

    async def _run_in_time(self, tasks: Sequence[Task], stop: StopRequest, limit: float) -> None:
        try:
            async with asyncio.timeout(limit) as clock:
                await self._run_open(tasks, stop)
        except TimeoutError as error:
            if not clock.expired():
                raise
            raise StepTimeoutError(self.state.step + 1, limit, self._stopped_among(tasks)) from error
        if clock.expired() and (stopped := self._stopped_among(tasks)):
            # The result of a node that was stopped in its thread or in its routers is kept.
            await self._save_rest()
            raise StepTimeoutError(self.state.step + 1, limit, stopped)

    def _stopped_among(self, tasks: Sequence[Task]) -> list[str]:
        """The nodes that a cancellation has stopped at what they did."""
        found = ((task.node, self.attempted.get(task.key)) for task in tasks)
        return [node for node, result in found if result is None or isinstance(result.error, asyncio.CancelledError)]

    async def _run_open(self, tasks: Sequence[Task], stop: StopRequest) -> None:
        """Run every task to an outcome. If this ends early, finished outcomes are recorded first."""
        try:
            if len(tasks) > 1:
                await self._run_group(tasks, stop)
            elif self.run.nodes[tasks[0].node].needs_own_task:
                await asyncio.create_task(self._attempt(tasks[0]))
            else:
                # A node that never waits, and is not a task, would keep everything else from running.
                await asyncio.sleep(0)
                await self._attempt(tasks[0])
        except asyncio.CancelledError as cancelled:
            await self._save_rest_of(cancelled)
            raise
        except (Exception, KeyboardInterrupt, SystemExit):
            # An error of the store, so nothing can be recorded, or the end of the process.
            raise
        except BaseException:
            # A `BaseException` class of a node's own, which is not recorded as a failure.
            await self._save_rest()
            raise

    async def _run_group(self, tasks: Sequence[Task], stop: StopRequest) -> None:
        limit = self.run.request.max_concurrency
        siblings = Siblings(len(tasks), None if limit is None else asyncio.Semaphore(limit), stop)
        self.siblings = siblings
        async with asyncio.TaskGroup() as group:
            for task in tasks:
                siblings.running.append(group.create_task(self._run_among(group, siblings, task)))
        if siblings.raised:
            error = siblings.raised[0]
            for task in tasks:
                # Errors of other nodes are not recorded, so this note is the only report of them.
                failure = self.attempted[task.key].error if task.key in self.attempted else None
                if failure is not None and not isinstance(failure, asyncio.CancelledError):
                    add_note(error, f"node {task.node!r} failed as well: {shown(failure)}")
            raise error
        has_failed = any(result.error is not None for result in self.attempted.values())
        if siblings.drained is not None and not has_failed:
            raise siblings.drained

    async def _run_among(self, group: asyncio.TaskGroup, siblings: Siblings, task: Task) -> None:
        try:
            result = await self._attempt(task)
            siblings.left -= 1
            if result.error is not None:
                siblings.stop()
            elif siblings.left:
                siblings.finished.append(result.outcome)
                if not siblings.is_recording:
                    siblings.is_recording = True
                    siblings.running.append(group.create_task(self._record(siblings)))
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except Draining as drained:
            # A graph inside the node stops where it is; the sibling tasks finish.
            siblings.drained = drained
        except BaseException as error:  # the store's, or a node's that is no `Exception`: raised once all have ended
            siblings.raised.append(error)
            siblings.stop()

    async def _record(self, siblings: Siblings) -> None:
        """Record what has finished while others run; what finishes meanwhile is recorded together, after that.

        With the last of them nothing is left to wait for: their superstep's commit is about to record it.
        """
        try:
            while siblings.finished and siblings.left:
                if self._mutation() is not None:
                    siblings.stop()
                    return
                batch, siblings.finished = siblings.finished[:_LARGEST_BATCH], siblings.finished[_LARGEST_BATCH:]
                await self._save(batch)
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # the store's: raised once all have ended
            siblings.raised.append(error)
            siblings.stop()
        finally:
            siblings.is_recording = False

    def _blame_for_cancellations(self, tasks: Sequence[Task]) -> None:
        """Nobody cancelled the run, so what was cancelled in it was by a node: itself, or one of its siblings."""
        errors = [result.error for result in self.attempted.values() if result.error is not None]
        if any(not isinstance(error, asyncio.CancelledError) for error in errors):
            # A failure stopped the others.
            return
        for task in tasks:
            result = self.attempted.get(task.key)
            if result is not None and isinstance(result.error, asyncio.CancelledError):
                self.attempted[task.key] = TaskOutput(result.outcome, own_cancellation(task, result.error))
        if errors:
            # Tasks without an outcome were cancelled because of it.
            return
        for task in tasks:
            if task.key not in self.attempted:
                failure = own_cancellation(task, asyncio.CancelledError())
                previous = self.recorded.get(task.key)
                self.attempted[task.key] = failed_instead(task, attempt_number(previous), previous, failure)

    async def _attempt(self, task: Task) -> TaskOutput:
        """Attempt the task as often as its policies allow. Its outcome is in `attempted` when this returns."""
        run, previous, trial = self.run, self.recorded.get(task.key), AttemptState()
        gate = None if self.siblings is None else self.siblings.gate
        while True:
            if isinstance(previous, Failed) and previous.retry_at is not None:
                pause = (previous.retry_at - run.shared.now()) / 1_000_000
                if pause > SUSPENDED_PAUSE and run.shared.owned is not None and run.parent is None:
                    # A worker continues the run at that time, and holds nothing until then.
                    self.saved[task.key] = previous
                    self.attempted[task.key] = output = TaskOutput(previous)
                    return output
                await asyncio.sleep(pause)
            elif trial.pause:
                await asyncio.sleep(trial.pause)
            # Records are not behind the gate: how many nodes may run must not delay what is kept of them.
            if gate is not None:
                await gate.acquire()
            try:
                owned = run.shared.owned
                if owned is not None and owned.may_be_taken:
                    raise Draining
                if run.shared.sink.is_active and task.node != START:
                    await run.shared.sink.emit(started_event(run, self.state, task, previous))
                result = await attempt(run, self.state, task, previous, trial)
            finally:
                if gate is not None:
                    gate.release()
            again = None if result.error is None else await self._after_failure(task, result, trial)
            if again is None or isinstance(again, TaskOutput):
                self.attempted[task.key] = output = again or result
                return output
            previous = again

    async def _after_failure(
        self, task: Task, result: TaskOutput, trial: AttemptState
    ) -> TaskOutput | Failed | Handling:
        """The recorded outcome that another attempt starts from, or the task's output if there is no other attempt."""
        try:
            again = tried_again(self.run, task, result, trial)
        except Exception as error:  # what a `retry_on` raised: the task has failed, and is done with
            error.__cause__ = result.error
            return TaskOutput(result.outcome, error)
        if again is None or self._mutation() is not None:
            # Another attempt would be given what was changed: it has to begin with what is stored.
            return result
        if self.run.is_stopped():
            # A task that turned its cancellation into an error, or failed in its thread meanwhile, is not retried now.
            return TaskOutput(again, asyncio.CancelledError())
        (standing,) = await self._save([again])
        # Another process may have got further with the task.
        return standing if isinstance(standing, Failed | Handling) else TaskOutput(standing)

    async def _save(self, outcomes: Sequence[Outcome], status: StatusChange | None = None) -> tuple[Outcome, ...]:
        self.saved.update((outcome.task.key, outcome) for outcome in outcomes)
        standing = await self.run.store.save(outcomes, self.publication_of, status)
        for mine, outcome in zip(outcomes, standing, strict=True):
            if outcome is not mine:
                # Another writer recorded this task first: the outcome recorded first replaces this one.
                self.attempted[outcome.task.key] = TaskOutput(outcome)
                self.saved[outcome.task.key] = outcome
        return standing

    async def _save_rest_of(self, cancelled: asyncio.CancelledError) -> None:
        grace = self.run.request.grace
        try:
            if not await wind_up(self._save_rest(), grace):
                log.grace_is_over("the store's last call", grace)
        except Exception as error:
            # The cancellation wins, but not silently.
            raise cancelled from error

    async def _save_rest(self, status: StatusChange | None = None) -> None:
        """Record what was come to and is not recorded: no commit will."""
        self._fail_changed()
        rest = self._unsaved()
        if rest or status is not None:
            await self._save(rest, status)

    def _unsaved(self) -> list[Outcome]:
        kept = [result.outcome for _, result in sorted(self.attempted.items()) if result.is_kept]
        return [outcome for outcome in kept if not self._is_saved(outcome)]

    def _fail_changed(self) -> None:
        """Have those tasks fail whose results are not recorded, if what they were given was changed in place."""
        if (error := self._mutation()) is None:
            return
        for task in self.state.plan:
            result = self.attempted.get(task.key)
            if result is None or self._is_saved(result.outcome) or isinstance(result.outcome, Failed | Handling):
                continue
            previous = self.saved.get(task.key, self.recorded.get(task.key))
            self.attempted[task.key] = failed_instead(task, result.outcome.attempt, previous, error)

    def _mutation(self) -> StateMutatedError | None:
        if self.given is None:
            # Most supersteps need no more than this: one comparison, and nothing that has to be made for it.
            lengths = self.run.lengths
            if lengths is None or not lengths.changed():
                return None
            self.given = Given(self.run, self.state.plan)
        return self.given.mutation()

    async def refuse(self, keys: Collection[str]) -> NoReturn:
        """Record that the superstep failed, and raise: these keys were changed since nodes returned them."""
        self.given = self.given or Given(self.run, self.state.plan)
        error = self.given.report(keys)
        await self._save_rest(failure(error))
        raise error

    def _is_saved(self, outcome: Outcome) -> bool:
        return self.saved.get(outcome.task.key) is outcome

    def _executed(self) -> Outcomes:
        done: list[Done] = []
        waiting: list[Outcome] = []
        for task in self.state.plan:
            result = self.attempted.get(task.key)
            outcome = result.outcome if result is not None and result.error is None else self.outcome_of(task)
            outcome = self.early.get(task.key, outcome)
            if isinstance(outcome, Done):
                done.append(outcome)
            elif outcome is not None:
                # Every task has run, or waits.
                waiting.append(outcome)
        uncommitted: list[Done] = []
        for outcome in done:
            key = outcome.task.key
            if key in self.attempted and self.saved.get(key) is not outcome:
                uncommitted.append(outcome)
        return Outcomes(tuple(done), tuple(uncommitted), tuple(waiting))

    def outcome_of(self, task: Task) -> Outcome | None:
        """A task's outcome so far: its earlier failure, if it was stopped before its next attempt ended."""
        result = self.attempted.get(task.key)
        if result is not None and (result.error is None or result.is_kept):
            return result.outcome
        return self.saved.get(task.key, self.recorded.get(task.key))

    def so_far(self) -> dict[Key, Outcome]:
        """The tasks' outcomes so far, for a later attempt of the caller in this process."""
        return {task.key: outcome for task in self.state.plan if (outcome := self.outcome_of(task)) is not None}

    def publication_of(self, outcomes: Sequence[Outcome]) -> Publication:
        """The publication of these outcomes, for once they are recorded."""
        return Publication(self.run.shared.sink, task_events(self.run, self.state, outcomes))


def first_error(
    run: GraphRun, state: State, tasks: Sequence[Task], attempted: Mapping[Key, TaskOutput]
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
            run.report_mutation(raised)
        if not isinstance(raised, asyncio.CancelledError):
            attempt_no = attempted[failed_task.key].outcome.attempt
            log.node_failed(run.request.thread_id, state.step + 1, failed_task.node, attempt_no, raised)
    task, error = errors[0]
    if not isinstance(error, asyncio.CancelledError):
        thread = run.request.thread_id
        where = f", thread {thread!r}" if thread is not None else ""
        add_note(
            error,
            f"in node {task.node!r} (task {id_of(run, task)}) of superstep {state.step + 1}{where}",
        )
    for other, another in errors[1:]:
        if not isinstance(another, asyncio.CancelledError):
            add_note(error, f"node {other.node!r} failed as well: {shown(another)}")
    return error
