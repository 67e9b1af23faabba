"""The tasks of one superstep, side by side: each outcome is durable before it counts.

One task alone is awaited where it is: a task group of one costs as much as the rest of the superstep. A task that
finishes while siblings run is recorded at once; the last one's outcome is left to the superstep's commit.
"""

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import anyio.lowlevel

from durable_graph._engine.state import State
from durable_graph._engine.task import Done, Failed, Identity, Outcome, Task, task_id
from durable_graph._runtime import log
from durable_graph._runtime.attempt import Attempted, Setting, attempt, attempt_number, own_cancellation, shown
from durable_graph._runtime.cancellation import wind_up
from durable_graph._runtime.durability import Durability, Publish
from durable_graph._runtime.events import AnyEvent, TaskFailed, TaskFinished, TaskStarted
from durable_graph.graph import START

Key = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Executed:
    """Every task of the plan is done. `riding` are the outcomes that the commit has still to record."""

    done: tuple[Done, ...]
    riding: tuple[Done, ...]


@dataclass(slots=True)
class _Siblings:
    """The tasks of a superstep while they run. `left` have not come to anything yet.

    What stops them is not an error that leaves one of them: for that, Python 3.11 cancels the task that the group is
    in, which is the caller's, and does not take it back.
    """

    left: int
    gate: asyncio.Semaphore | None
    running: list[asyncio.Task[None]] = field(default_factory=list)
    raised: list[BaseException] = field(default_factory=list)
    is_stopped: bool = False

    def stop(self) -> None:
        """Cancel those that still run, once all have begun: what fails at once is told of every one of them."""
        if not self.is_stopped:
            self.is_stopped = True
            asyncio.get_running_loop().call_soon(self._cancel)

    def _cancel(self) -> None:
        for task in self.running:
            task.cancel()


@dataclass(slots=True)
class Superstep:
    """One superstep being run."""

    setting: Setting
    state: State
    recorded: dict[Key, Outcome]
    durability: Durability
    publish: Publish
    attempted: dict[Key, Attempted] = field(default_factory=dict)
    saved: set[Key] = field(default_factory=set)

    async def run(self) -> Executed:
        """Run what is not done yet.

        Raises what the first failed task raised, in the order of the plan, with a note that says where. By then every
        outcome is recorded, and so it is when a cancellation is raised.
        """
        open_tasks = [task for task in self.state.plan if not isinstance(self.recorded.get(task.key), Done)]
        if not open_tasks:
            return self._executed()
        being_cancelled = _cancellations()
        await self._run_open(open_tasks)
        is_cancelled = _cancellations() > being_cancelled
        if not is_cancelled:
            self._blame_for_cancellations(open_tasks)
        error = self._first_error(open_tasks)
        if isinstance(error, asyncio.CancelledError):
            # No node failed: the thread stays one that runs, which is how it is found to be resumed.
            await self._save_rest_of(error)
            raise error
        if error is not None:
            await self._save_rest(failed=True)
            # A failure does not make a cancellation that came with it undone.
            raise error
        if is_cancelled:
            late = asyncio.CancelledError()
            await self._save_rest_of(late)
            # An anyio scope takes back no cancellation but its own.
            await anyio.lowlevel.checkpoint_if_cancelled()
            raise late
        return self._executed()

    async def _run_open(self, tasks: Sequence[Task]) -> None:
        """Have every task come to something. What ends this early leaves with what had finished recorded."""
        try:
            if len(tasks) == 1:
                self.attempted[tasks[0].key] = await self._attempt(tasks[0])
            else:
                await self._run_group(tasks)
        except asyncio.CancelledError as cancelled:
            await self._save_rest_of(cancelled)
            raise
        except (Exception, KeyboardInterrupt, SystemExit):
            # The store's, which there is nothing to record with, or the end of the process.
            raise
        except BaseException:
            # A kind of a node's own, which is no failure to record.
            await self._save_rest()
            raise

    async def _run_group(self, tasks: Sequence[Task]) -> None:
        limit = self.setting.run.max_concurrency
        siblings = _Siblings(left=len(tasks), gate=None if limit is None else asyncio.Semaphore(limit))
        async with asyncio.TaskGroup() as group:
            siblings.running.extend(group.create_task(self._run_among(siblings, task)) for task in tasks)
        if siblings.raised:
            error = siblings.raised[0]
            for task in tasks:
                # What nodes raised besides is not recorded: it is told here or nowhere.
                if task.key in self.attempted and (failure := self.attempted[task.key].error) is not None:
                    error.add_note(f"node {task.node!r} failed as well: {shown(failure)}")
            raise error

    async def _run_among(self, siblings: "_Siblings", task: Task) -> None:
        try:
            # Records are not behind the gate: how many nodes may run must not delay what is kept of them.
            async with siblings.gate or nullcontext():
                result = await self._attempt(task)
            self.attempted[task.key] = result
            siblings.left -= 1
            if result.error is not None:
                siblings.stop()
            elif siblings.left:
                await self._save([result.outcome])
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # the store's, or a node's that is no `Exception`: raised once all have ended
            siblings.raised.append(error)
            siblings.stop()

    def _blame_for_cancellations(self, tasks: Sequence[Task]) -> None:
        """Nobody cancelled the run, so what was cancelled in it was by a node: itself, or one of its siblings."""
        for task in tasks:
            result = self.attempted.get(task.key)
            if result is not None and isinstance(result.error, asyncio.CancelledError):
                self.attempted[task.key] = Attempted(result.outcome, own_cancellation(task, result.error))
        if any(result.error is not None for result in self.attempted.values()):
            # Those that came to nothing were cancelled because of it.
            return
        for task in tasks:
            if task.key not in self.attempted:
                failure = own_cancellation(task, asyncio.CancelledError())
                number = attempt_number(self.recorded.get(task.key))
                self.attempted[task.key] = Attempted(Failed(task, number, shown(failure)), failure)

    async def _attempt(self, task: Task) -> Attempted:
        previous = self.recorded.get(task.key)
        if task.node != START:
            started = TaskStarted(
                thread_id=self.setting.run.thread_id,
                step=self.state.step + 1,
                task_id=self._id_of(task),
                node=task.node,
                attempt=attempt_number(previous),
            )
            await self.publish(started)
        return await attempt(self.setting, self.state, task, previous)

    async def _save(self, outcomes: Sequence[Outcome], *, failed: bool = False) -> None:
        self.saved.update(outcome.task.key for outcome in outcomes)
        standing = await self.durability.save(outcomes, self.events_of, "failed" if failed else None)
        for mine, outcome in zip(outcomes, standing, strict=True):
            if outcome is not mine:
                # Another writer recorded this task first: what it came to there is what it came to.
                self.attempted[outcome.task.key] = Attempted(outcome)

    async def _save_rest_of(self, cancelled: asyncio.CancelledError) -> None:
        grace = self.setting.run.grace
        try:
            if not await wind_up(self._save_rest(), grace):
                log.grace_is_over("the store's last call", grace)
        except Exception as error:
            # The cancellation wins, but not silently.
            raise cancelled from error

    async def _save_rest(self, *, failed: bool = False) -> None:
        """Record what finished and was not recorded: no commit will."""
        rest = [result.outcome for key, result in sorted(self.attempted.items()) if key not in self.saved]
        if rest or failed:
            await self._save(rest, failed=failed)

    def _executed(self) -> Executed:
        done: list[Done] = []
        for task in self.state.plan:
            result = self.attempted.get(task.key)
            outcome = result.outcome if result is not None else self.recorded[task.key]
            assert isinstance(outcome, Done)  # noqa: S101  # every other outcome was raised
            done.append(outcome)
        unsaved = self.attempted.keys() - self.saved
        riding = tuple(outcome for outcome in done if outcome.task.key in unsaved)
        return Executed(tuple(done), riding)

    def _first_error(self, tasks: Sequence[Task]) -> BaseException | None:
        """The first failure in the plan's order; the others are noted on it."""
        failed = [(task, self.attempted[task.key].error) for task in tasks if task.key in self.attempted]
        errors = [(task, error) for task, error in failed if error is not None]
        # A cancellation is raised last: it also stands for siblings that a failure had cancelled.
        errors.sort(key=lambda found: isinstance(found[1], asyncio.CancelledError))
        if not errors:
            return None
        for failed_task, failure in errors:
            if not isinstance(failure, asyncio.CancelledError):
                attempt_no = self.attempted[failed_task.key].outcome.attempt
                log.node_failed(self.setting.run.thread_id, self.state.step + 1, failed_task.node, attempt_no, failure)
        task, error = errors[0]
        if not isinstance(error, asyncio.CancelledError):
            thread = self.setting.run.thread_id
            where = f", thread {thread!r}" if thread is not None else ""
            error.add_note(
                f"in node {task.node!r} (task {self._id_of(task)}) of superstep {self.state.step + 1}{where}"
            )
        for other, another in errors[1:]:
            if not isinstance(another, asyncio.CancelledError):
                error.add_note(f"node {other.node!r} failed as well: {type(another).__name__}: {another}")
        return error

    def events_of(self, outcomes: Sequence[Outcome]) -> list[AnyEvent]:
        """What is told of these outcomes once they are recorded."""
        return [self._event(outcome) for outcome in outcomes if outcome.task.node != START]

    def _event(self, outcome: Outcome) -> AnyEvent:
        run, step, task = self.setting.run, self.state.step + 1, outcome.task
        if isinstance(outcome, Done):
            return TaskFinished(
                thread_id=run.thread_id,
                step=step,
                task_id=self._id_of(task),
                node=task.node,
                attempt=outcome.attempt,
                update={write.channel: write.value for write in outcome.writes} or None,
            )
        return TaskFailed(
            thread_id=run.thread_id,
            step=step,
            task_id=self._id_of(task),
            node=task.node,
            attempt=outcome.attempt,
            error=outcome.error,
        )

    def _id_of(self, task: Task) -> str:
        return task_id(self.setting.identity or Identity("", 0), task)


def _cancellations() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0
