"""A thread that is not in the state for what was asked of it."""

from collections.abc import Iterable

from durable_graph.errors.running import InvalidUpdateError
from durable_graph.errors.tree import DurableGraphError, listed, names, quoted


class UnknownThreadError(DurableGraphError, LookupError):
    """A thread that the store does not have."""

    def __init__(self, thread_id: str) -> None:
        self.thread_id = thread_id
        super().__init__(f"the store has no thread {thread_id!r}; list_threads lists the ones it has")


class ThreadExistsError(DurableGraphError, ValueError):
    """A thread that would have to be new."""

    def __init__(self, thread_id: str) -> None:
        self.thread_id = thread_id
        super().__init__(f"thread {thread_id!r} already exists; delete it first or choose another id")


class UnknownCheckpointError(DurableGraphError, LookupError):
    """A checkpoint id that the thread does not have."""

    def __init__(self, thread_id: str, checkpoint_id: object) -> None:
        self.thread_id = thread_id
        self.checkpoint_id = checkpoint_id
        super().__init__(
            f"thread {thread_id!r} has no checkpoint {quoted(checkpoint_id)}; aget_state_history lists the ones it has"
        )


class NothingToResumeError(DurableGraphError, ValueError):
    """`ainvoke(None)` on a thread that has nothing left to run."""

    def __init__(self, thread_id: str | None, why: str) -> None:
        self.thread_id = thread_id
        self.why = why
        whose = f"thread {thread_id!r}" if thread_id is not None else "this call"
        super().__init__(f"{whose} has nothing to resume: {why}; pass an input to start a run")


class UnfinishedThreadError(DurableGraphError):
    """New input for a thread that still has tasks to run, under `if_unfinished="reject"`."""

    def __init__(self, thread_id: str, pending: Iterable[str]) -> None:
        self.thread_id = thread_id
        self.pending: tuple[str, ...] = tuple(pending)
        super().__init__(
            f"thread {thread_id!r} still has to run: {listed(self.pending)}; resume it with ainvoke(None), "
            f"or pass if_unfinished='resume' or 'supersede'"
        )


class ThreadBusyError(DurableGraphError):
    """Another call of this process is at work on the thread, and this one does not wait for its turn.

    A run waits with `if_busy="wait"`; `can_wait` is False for other calls, such as `aupdate_state`.
    """

    def __init__(self, thread_id: str, *, can_wait: bool = True) -> None:
        self.thread_id = thread_id
        self.can_wait = can_wait
        way_out = (
            "await that one, or pass if_busy='wait' to take turns" if can_wait else "await that one, then repeat it"
        )
        super().__init__(f"thread {thread_id!r} is being run by another call in this process; {way_out}")


class CheckpointConflictError(DurableGraphError):
    """Another writer extended the thread first. Nothing of this step was stored, nothing of the other's was lost."""

    def __init__(self, thread_id: str, *, expected: int, found: int, checkpoint_id: str) -> None:
        self.thread_id = thread_id
        self.expected = expected
        self.found = found
        self.checkpoint_id = checkpoint_id
        super().__init__(
            f"thread {thread_id!r} was extended by another writer: this run built on version {expected}, "
            f"the thread is at {found} (checkpoint {checkpoint_id!r}); "
            f"read the state again and repeat the call if it still applies"
        )


class GraphRecursionError(DurableGraphError, RecursionError):
    """`recursion_limit` supersteps ran and there are still tasks to run. The thread can be resumed."""

    def __init__(self, limit: int, pending: Iterable[str]) -> None:
        self.limit = limit
        self.pending: tuple[str, ...] = tuple(pending)
        super().__init__(
            f"the run reached its recursion_limit of {limit} supersteps with {listed(self.pending)} still to run; "
            f"raise the limit and resume, or check that the graph ends"
        )


class AmbiguousUpdateError(InvalidUpdateError, ValueError):
    """An update of a thread's state that does not say which node it is to count as. Nothing was changed."""

    def __init__(self, candidates: Iterable[str]) -> None:
        self.candidates: tuple[str, ...] = tuple(candidates)
        super().__init__(
            f"the update has to say which node it counts as: pass as_node, one of {names(self.candidates)}"
        )


class UnknownTaskError(DurableGraphError, LookupError):
    """A task id that no task of the thread's plan has, or none of the node where one is named."""

    def __init__(self, thread_id: str, task_id: object, *, node: str | None, known: Iterable[str]) -> None:
        self.thread_id = thread_id
        self.task_id = task_id
        self.node = node
        self.known: tuple[str, ...] = tuple(known)
        whose = "" if node is None else f" of node {node!r}"
        super().__init__(
            f"thread {thread_id!r} has no task {quoted(task_id)}{whose} to run; those it has: {names(self.known)}"
        )


class UnknownNamespaceError(DurableGraphError, LookupError):
    """A checkpoint namespace that no graph is found for."""

    def __init__(self, ns: str, *, known: Iterable[str]) -> None:
        self.ns = ns
        self.known: tuple[str, ...] = tuple(known)
        super().__init__(f"no nested graph is found at {ns!r}; nodes with one: {names(self.known)}")
