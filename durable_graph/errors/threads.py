"""Threads that are not in the state that a call requires."""

from collections.abc import Iterable
from typing import Self

from durable_graph.errors.tree import DurableGraphError, bounded, listed


class UnknownThreadError(DurableGraphError, LookupError):
    """A thread that the store does not have."""

    def __init__(self, thread_id: str) -> None:
        self.thread_id = thread_id
        super().__init__(f"the store has no thread {thread_id!r}; list_threads lists the ones it has")


class ThreadExistsError(DurableGraphError, ValueError):
    """A thread that already exists, for a call that creates one."""

    def __init__(self, thread_id: str) -> None:
        self.thread_id = thread_id
        super().__init__(f"thread {thread_id!r} already exists; delete it first or choose another id")


class NothingToResumeError(DurableGraphError, ValueError):
    """`ainvoke(None)` on a thread without pending tasks, an answer without an open question, or a repeated request
    whose result the thread no longer has.
    """

    def __init__(self, thread_id: str | None, why: str, *, remedy: str = "pass an input to start a run") -> None:
        self.thread_id = thread_id
        self.why = why
        whose = f"thread {thread_id!r}" if thread_id is not None else "this call"
        super().__init__(f"{whose} has nothing to resume: {why}; {remedy}")


class UnfinishedThreadError(DurableGraphError):
    """New input for a thread with pending tasks, under `if_unfinished="reject"`; or, under "resume", for a thread that
    stopped at a question or a breakpoint before its tasks were done (`is_stopped`).
    """

    def __init__(self, thread_id: str, pending: Iterable[str], *, is_stopped: bool = False) -> None:
        self.thread_id = thread_id
        self.pending: tuple[str, ...] = tuple(pending)
        self.is_stopped = is_stopped
        remedy = (
            "answer its questions with Command(resume=...), pass a breakpoint with ainvoke(None), "
            "or pass if_unfinished='supersede'"
            if is_stopped
            else "resume it with ainvoke(None), or pass if_unfinished='resume' or 'supersede'"
        )
        super().__init__(f"thread {thread_id!r} still has to run: {listed(self.pending)}; {remedy}")


class ThreadBusyError(DurableGraphError):
    """Another call of this process is running the thread, and this call does not wait for its turn.

    A run waits with `if_busy="wait"`; `can_wait` is False for other calls, such as `aupdate_state`. If the thread
    belongs to a run that workers execute, `run_id` is its id, and `worker` the worker that holds it.
    """

    def __init__(self, thread_id: str, *, can_wait: bool = True) -> None:
        self.thread_id = thread_id
        self.can_wait = can_wait
        self.run_id: str | None = None
        self.worker: str | None = None
        way_out = "await that call, or pass if_busy='wait'" if can_wait else "await that call, then repeat this one"
        super().__init__(f"thread {thread_id!r} is being run by another call in this process; {way_out}")

    @classmethod
    def of_run(cls, thread_id: str, run_id: str, worker: str | None = None) -> Self:
        """The error for a thread that belongs to an unfinished run, which `worker` executes if it is known."""
        error = cls(thread_id)
        error.run_id, error.worker = run_id, worker
        held = f", which the worker {worker} executes" if worker else ""
        text = (
            f"thread {thread_id!r} belongs to the unfinished run {run_id!r}{held}; use app.answer, the run's "
            f"handle (result, cancel), or app.start with if_busy='wait'"
        )
        error.args = (bounded(text),)
        return error

    @classmethod
    def of_update(cls, thread_id: str, run_id: str) -> Self:
        """The error for an update that cannot be discarded, because the thread's run may be about to apply it."""
        error = cls(thread_id, can_wait=False)
        error.run_id = run_id
        text = (
            f"a worker executes the run {run_id!r} of thread {thread_id!r}, and may be about to apply the update; "
            f"discard it once the run waits or has ended, or cancel the run"
        )
        error.args = (bounded(text),)
        return error


class CheckpointConflictError(DurableGraphError):
    """Another writer extended the thread first, or deleted it. The other writer's data is intact.

    The call stopped. These attributes name the data that it had stored before:

    `input_checkpoint_id`: the checkpoint that the call's input made, with the `update` and `goto` of a `Command`. None:
    the input was not stored. `newest_checkpoint_id`: the last checkpoint that the call committed; None: it committed
    none. `recorded`: the nodes whose results it recorded after that checkpoint; a run that resumes the thread has these
    results, and those of their `@task`s and nested graphs. `answered`: the ids of the questions that it answered.

    Updates of a thread's state (`aupdate_state`, `abulk_update_state`) are stored whole or not at all; after this
    error, not at all. `is_deleted`: the thread was deleted, with all data that the call had stored. `expected` and
    `found` are versions of the thread, and `checkpoint_id` is the newest checkpoint that was found.
    """

    def __init__(
        self,
        thread_id: str,
        *,
        expected: int,
        found: int,
        checkpoint_id: str,
        input_checkpoint_id: str | None = None,
        newest_checkpoint_id: str | None = None,
        recorded: Iterable[str] = (),
        answered: Iterable[str] = (),
        is_deleted: bool = False,
    ) -> None:
        self.thread_id = thread_id
        self.expected = expected
        self.found = found
        self.checkpoint_id = checkpoint_id
        self.input_checkpoint_id = input_checkpoint_id
        self.newest_checkpoint_id = newest_checkpoint_id
        self.recorded: tuple[str, ...] = tuple(recorded)
        self.answered: tuple[str, ...] = tuple(answered)
        self.is_deleted = is_deleted
        super().__init__(f"thread {thread_id!r} was {self._event()}; {'; '.join(self._stayed())}")

    def _event(self) -> str:
        if self.is_deleted:
            return "deleted by another writer, with everything that this call had stored"
        return (
            f"extended by another writer: this run built on version {self.expected}, "
            f"the thread is at {self.found} (checkpoint {self.checkpoint_id!r})"
        )

    def _stayed(self) -> list[str]:
        """Texts about the stored parts of the call, and the remedy."""
        stayed = []
        if self.input_checkpoint_id is not None:
            stayed.append(f"its input is stored, as checkpoint {self.input_checkpoint_id!r}")
        elif self.newest_checkpoint_id is not None:
            stayed.append(
                f"its input was not stored, its steps up to checkpoint {self.newest_checkpoint_id!r} are stored"
            )
        if self.answered:
            stayed.append(f"its answers to {_counted(self.answered, 'question')} are stored")
        if self.recorded:
            stayed.append(f"the results of {_counted(self.recorded, 'node')} are stored")
        if self.input_checkpoint_id is not None or self.answered:
            return [
                *stayed,
                "do not repeat the call: read the state, and resume the thread with None if tasks are left",
            ]
        if stayed:
            return [*stayed, "read the state again before you repeat the call"]
        return ["nothing of this call was stored: read the state again and repeat the call if it still applies"]


def _counted(what: tuple[str, ...], noun: str) -> str:
    return f"{len(what)} {noun}{'s' if len(what) > 1 else ''}"


class GraphRecursionError(DurableGraphError, RecursionError):
    """`recursion_limit` supersteps ran, and tasks are still pending. The thread can be resumed."""

    def __init__(self, limit: int, pending: Iterable[str]) -> None:
        self.limit = limit
        self.pending: tuple[str, ...] = tuple(pending)
        super().__init__(
            f"the run reached its recursion_limit of {limit} supersteps with {listed(self.pending)} still to run; "
            f"raise the limit and resume, or check that the graph ends"
        )
