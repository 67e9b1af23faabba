"""Calls that a thread refuses: it belongs to another graph, is finished or cancelled, or has another request."""

from typing import Self

from durable_graph.errors.tree import DurableGraphError, bounded


class WrongGraphError(DurableGraphError):
    """A thread that belongs to another graph than the called graph. Nothing was read or written.

    `stored` is the name of the graph that the thread belongs to, `called` the name of the graph that was called, or
    None if it has no name.
    """

    def __init__(self, thread_id: str, *, stored: str | None, called: str | None) -> None:
        self.thread_id = thread_id
        self.stored = stored
        self.called = called
        given = f"the graph {called!r}" if called is not None else "a graph without a name"
        if called is None:
            remedy = f"compile it with name={stored!r}, if it is this graph"
        else:
            remedy = f"if it was renamed, compile it with formerly=({stored!r},)"
        super().__init__(f"thread {thread_id!r} belongs to the graph {stored!r}, and {given} was called; {remedy}")


class ThreadFinishedError(DurableGraphError):
    """New input for a thread without pending tasks, under `if_finished="reject"`. Nothing was stored."""

    def __init__(self, thread_id: str) -> None:
        self.thread_id = thread_id
        super().__init__(
            f"thread {thread_id!r} is finished; read it with aget_state, start another thread, "
            f"or pass if_finished='run' or 'return'"
        )

    @classmethod
    def of_message(cls, thread_id: str) -> Self:
        """The error for a signal or an update of a thread whose runs have ended."""
        error = cls(thread_id)
        text = (
            f"thread {thread_id!r} has no unfinished run to receive this; start one with app.start, "
            f"or continue a failed one with app.retry"
        )
        error.args = (bounded(text),)
        return error


class ThreadCancelledError(DurableGraphError):
    """The thread was cancelled, while this call ran it or earlier. A cancelled thread cannot be resumed or answered.

    Finished results are recorded. `graph.areopen` makes the thread resumable; new input is accepted.
    """

    def __init__(self, thread_id: str) -> None:
        self.thread_id = thread_id
        super().__init__(f"thread {thread_id!r} was cancelled; call graph.areopen({thread_id!r}) to make it resumable")

    @classmethod
    def of_message(cls, thread_id: str) -> Self:
        """The error for a signal or an update of a thread whose last run was cancelled."""
        error = cls(thread_id)
        text = (
            f"the last run of thread {thread_id!r} was cancelled, so none receives this; continue it with app.retry, "
            f"or start another one with app.start"
        )
        error.args = (bounded(text),)
        return error


class KeyReusedError(DurableGraphError, ValueError):
    """The thread has another request under this key: another input, or one for another graph.

    `stored` and `given` are the digests of both requests, and `checkpoint_id` is the checkpoint of the first request.
    """

    def __init__(self, thread_id: str, key: str, *, stored: bytes, given: bytes, checkpoint_id: str) -> None:
        self.thread_id = thread_id
        self.key = key
        self.stored = stored
        self.given = given
        self.checkpoint_id = checkpoint_id
        super().__init__(
            f"thread {thread_id!r} has another request under the key {key!r}, as checkpoint {checkpoint_id!r}; "
            f"a key stands for one input of one graph: give this request another key"
        )

    @classmethod
    def of_run(cls, thread_id: str, key: str, *, stored: bytes, given: bytes) -> Self:
        """The error for a run whose key has started another run."""
        error = cls(thread_id, key, stored=stored, given=given, checkpoint_id="")
        text = f"thread {thread_id!r} has another request under the key {key!r}"
        error.args = (bounded(f"{text}; a key stands for one input of one graph: give this request another key"),)
        return error
