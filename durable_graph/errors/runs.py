"""Runs that outlive their process: unknown ones, ones without a result, and stores that keep none."""

from typing import Literal, Self

from durable_graph.errors.tree import DurableGraphError, bounded, quoted


class UnknownRunError(DurableGraphError, LookupError):
    """There is no such run: the id is of another store, or the run and its thread were deleted."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.thread_id: str | None = None
        super().__init__(f"there is no run {run_id!r} in this store; check the id, or whether its thread was deleted")

    @classmethod
    def of_thread(cls, thread_id: str) -> Self:
        """The error for a thread without a run that could be answered."""
        error = cls("")
        error.thread_id = thread_id
        text = f"thread {thread_id!r} has no unfinished run; start one, or call ainvoke on the thread"
        error.args = (bounded(text),)
        return error


class RunFailedError(DurableGraphError):
    """A run has ended without a result.

    `kind` is "failed" if a node or the run raised an error; "cancelled"; "deadline" if its deadline passed;
    "quarantined" if too many processes ended while they executed it. `error` is the text of the error or the reason.
    The results of finished tasks are kept.
    """

    def __init__(
        self, run_id: str, thread_id: str, kind: Literal["failed", "cancelled", "deadline", "quarantined"], error: str
    ) -> None:
        self.run_id = run_id
        self.thread_id = thread_id
        self.kind: Literal["failed", "cancelled", "deadline", "quarantined"] = kind
        self.error = error
        what = {"deadline": "reached its deadline", "quarantined": "is quarantined"}.get(kind, f"has {kind}")
        if kind == "cancelled":
            what = "was cancelled"
        super().__init__(
            f"run {run_id!r} of thread {thread_id!r} {what}: {error}; correct the cause, then app.retry({run_id!r})"
        )


class ChildFailedError(DurableGraphError):
    """A child run, which its parent awaits, has ended without a result.

    `run_id` and `thread_id` are those of the child, `kind` is that of `RunFailedError`, and `error` the text of its
    error or the reason.
    """

    def __init__(self, run_id: str, thread_id: str, kind: str, error: str) -> None:
        self.run_id = run_id
        self.thread_id = thread_id
        self.kind = kind
        self.error = error
        what = {"deadline": "reached its deadline", "cancelled": "was cancelled"}.get(kind, f"has {kind}")
        super().__init__(
            f"the child run {run_id!r} of thread {quoted(thread_id, 60)} {what}: {bounded(error, 150)}; "
            f"catch this error in the node, or correct the cause"
        )


class UpdateRefusedError(DurableGraphError):
    """An update of a running graph (`App.update`) cannot be applied. Its run fails, and the update stays.

    `key` is the key of the update: the caller's, or a random one. `why` is the text of the error, which is `__cause__`.
    """

    def __init__(self, thread_id: str, key: str, *, why: str) -> None:
        self.thread_id = thread_id
        self.key = key
        self.why = why
        thread, name = quoted(thread_id, 40), quoted(key, 40)
        super().__init__(
            f"update {name} of thread {thread} cannot be applied: {bounded(why, 170)}; "
            f"correct the graph and retry the run, or drop the update: app.discard_update({thread}, {name})"
        )

    def __repr__(self) -> str:
        # The run's row has it: the repr of a text with both kinds of quotes has backslashes.
        return f"{type(self).__name__}: {self}"


class RunDeadlockError(DurableGraphError):
    """A node waits for a run that cannot begin before the node has ended. The awaited run stays accepted.

    `run_id` is the awaited run. `slots` is the number of slots of this process, all of which are held by nodes that
    wait for runs; 0 for a run that is blocked behind the node's own run.
    """

    def __init__(self, run_id: str, *, slots: int) -> None:
        self.run_id = run_id
        self.slots = slots
        held = "the only slot is" if slots == 1 else f"all {slots} slots are"
        super().__init__(
            f"a node waits for run {run_id!r}, which cannot begin: {held} held by nodes that wait for runs, and no "
            f"other worker is alive; call the graph in the node (graph.ainvoke), raise concurrency=, or start another "
            f"worker"
        )

    @classmethod
    def of_own_thread(cls, run_id: str, thread_id: str) -> Self:
        """The error for a run that is the node's own, or blocked behind it."""
        error = cls(run_id, slots=0)
        text = (
            f"a node waits for run {run_id!r} of its own thread {quoted(thread_id, 60)}, which cannot end before the "
            f"node's run has ended; start it with another thread_id, or call the graph in the node (graph.ainvoke)"
        )
        error.args = (bounded(text),)
        return error


class MissingPowerError(DurableGraphError):
    """The saver cannot do this: it lacks a power that other savers have. `saver` is its class, `power` names it."""

    def __init__(self, saver: str, power: str) -> None:
        self.saver = saver
        self.power = power
        super().__init__(
            f"{saver} has no power {power!r}, which this call needs; "
            f"use SqliteSaver, PostgresSaver or MemorySaver, or give the saver that attribute"
        )
