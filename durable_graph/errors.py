"""Every exception a caller can meet, in one tree.

An error says what happened and whose move it is, and carries its facts as attributes.
"""

from collections.abc import Iterable
from typing import Any, Self


class DurableGraphError(Exception):
    """Anything that durable_graph itself raises."""

    def __reduce__(self) -> tuple[Any, ...]:
        # The default rebuilds from the message alone and fails for errors whose constructor takes facts:
        # one such failure inside a process pool hangs the pool.
        return _rebuild, (type(self), self.args, dict(self.__dict__))

    @classmethod
    def _from_parts(cls, args: tuple[Any, ...], facts: dict[str, Any]) -> Self:
        error = cls.__new__(cls)
        error.args = args
        error.__dict__.update(facts)
        return error


def _rebuild(kind: type[DurableGraphError], args: tuple[Any, ...], facts: dict[str, Any]) -> DurableGraphError:
    return kind._from_parts(args, facts)


def names(known: Iterable[object]) -> str:
    """A list for a message: `a, b, c`, or `(none)`."""
    return ", ".join(sorted(str(name) for name in known)) or "(none)"


# Describing a graph -----------------------------------------------------------------------------


class GraphValidationError(DurableGraphError, ValueError):
    """The graph cannot run as described. `problems` lists everything that is wrong with it."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems: tuple[str, ...] = tuple(problems)
        listed = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"the graph cannot be compiled:\n{listed}")


class InvalidStateSchemaError(DurableGraphError, TypeError):
    """A class that cannot describe a state, or a type that no channel can hold."""

    def __init__(self, schema: object, why: str) -> None:
        self.schema = schema
        self.why = why
        shown = getattr(schema, "__name__", repr(schema))
        super().__init__(f"{shown} cannot be used as a state: {why}")


class GraphDescriptionError(DurableGraphError, TypeError):
    """A call of the builder that describes nothing, such as a node that cannot be called."""


class UnreachableNodeWarning(UserWarning):
    """Nodes that no edge leads to. They run only if a `Send` names them."""

    def __init__(self, nodes: Iterable[str]) -> None:
        self.nodes: tuple[str, ...] = tuple(nodes)
        super().__init__(
            f"no edge leads to {', '.join(repr(node) for node in self.nodes)}; add one, "
            f"or name it in the path_map of the router that sends to it"
        )


class UnstorableTypeError(InvalidStateSchemaError):
    """A declared type whose values could never be stored. `where` says whose type it is."""

    def __init__(self, declared: object, *, where: str, why: str, remedy: str) -> None:
        self.where = where
        self.remedy = remedy
        super().__init__(declared, why)
        shown = declared.__qualname__ if isinstance(declared, type) else str(declared)
        self.args: tuple[Any, ...] = (f"{where}: values of type {shown} cannot be stored: {why}; {remedy}",)


# What a run is given ----------------------------------------------------------------------------


class InvalidUpdateError(DurableGraphError):
    """Something that is no update of the state: in an input, or in what a node returned."""


class UnknownStateKeyError(InvalidUpdateError, KeyError):
    """A key that the state does not have."""

    def __init__(self, key: object, *, where: str, known: Iterable[str]) -> None:
        self.key = key
        self.where = where
        self.known: tuple[str, ...] = tuple(sorted(known))
        super().__init__(f"{where} has the key {key!r}, which the state does not; its keys are: {names(self.known)}")

    def __str__(self) -> str:
        # KeyError shows the repr of its message.
        return str(self.args[0])


class MissingStateKeyError(DurableGraphError, KeyError):
    """A node's input cannot be built: its class requires a key that has no value yet."""

    def __init__(self, key: str, *, schema: str, known: Iterable[str]) -> None:
        self.key = key
        self.schema = schema
        self.known: tuple[str, ...] = tuple(sorted(known))
        super().__init__(
            f"{schema} requires {key!r}, which has no value yet (those that have one: {names(self.known)}); "
            f"pass it in the input or give it a default"
        )

    def __str__(self) -> str:
        # KeyError shows the repr of its message.
        return str(self.args[0])


class ConcurrentUpdateError(InvalidUpdateError):
    """Two writes in one superstep to a channel that has no reducer to merge them."""

    def __init__(self, channel: str, *, nodes: Iterable[str]) -> None:
        self.channel = channel
        self.nodes: tuple[str, ...] = tuple(nodes)
        super().__init__(
            f"channel {channel!r} takes one write per superstep and got {len(self.nodes)}, "
            f"from: {', '.join(self.nodes)}; declare it as Annotated[<type>, <reducer>] to merge them"
        )


class InvalidNodeResultError(InvalidUpdateError, TypeError):
    """A node returned something that is neither a dict of updates, nor the state's class, nor None."""

    def __init__(self, node: str, result: object, *, expected: str) -> None:
        self.node = node
        self.result_type: type = type(result)
        super().__init__(f"node {node!r} returned {_article(type(result).__name__)}; a node returns {expected}")


class InvalidInputError(InvalidUpdateError, TypeError):
    """The input of a run has the wrong shape."""

    def __init__(self, value: object, *, expected: str) -> None:
        self.input_type: type = type(value)
        super().__init__(f"the input is {_article(type(value).__name__)}; it has to be {expected}")


class NodeCancelledError(DurableGraphError):
    """A node raised `CancelledError` although nobody had cancelled the run."""

    def __init__(self, node: str) -> None:
        self.node = node
        super().__init__(
            f"node {node!r} raised CancelledError by itself; "
            f"a task that it awaits was cancelled: catch that in the node"
        )


class ReducerError(DurableGraphError):
    """A reducer raised. Nothing was committed, and the nodes' results are kept."""

    def __init__(self, channel: str, *, nodes: Iterable[str], why: str) -> None:
        self.channel = channel
        self.nodes: tuple[str, ...] = tuple(nodes)
        self.why = why
        super().__init__(
            f"the reducer of channel {channel!r} failed on the writes of {names(self.nodes)}: {why}; "
            f"the nodes' results are kept: correct the reducer and resume"
        )


class UnknownNodeError(DurableGraphError, LookupError):
    """A name that no node of the graph has."""

    def __init__(self, name: object, *, where: str, known: Iterable[str]) -> None:
        self.name = name
        self.where = where
        self.known: tuple[str, ...] = tuple(sorted(known))
        super().__init__(f"{where} {name!r}; the graph has: {names(self.known)}")


class UnknownRouteError(UnknownNodeError):
    """A router chose something that is no node."""


class UnknownSendTargetError(UnknownNodeError):
    """A `Send` to something that is no node."""


class StalePlanError(UnknownNodeError):
    """The stored plan of a thread names a node that this graph no longer has. The thread is untouched."""


class InvalidRouteError(DurableGraphError, TypeError):
    """A router returned something that is neither a node's name, nor END, nor a Send, nor a list of them."""

    def __init__(self, router: str, node: str, result: object) -> None:
        self.router = router
        self.node = node
        self.result_type: type = type(result)
        super().__init__(
            f"router {router!r} of node {node!r} returned {_article(type(result).__name__)}; "
            f"a router returns a node's name, END, a Send, or a list of these"
        )


class MissingThreadIdError(DurableGraphError, ValueError):
    """A graph with a checkpointer was called without saying for which thread."""

    def __init__(self) -> None:
        super().__init__(
            "this graph has a checkpointer, so the call has to name a thread: pass thread_id='...' "
            "or config={'configurable': {'thread_id': '...'}}"
        )


class MissingCheckpointerError(DurableGraphError, ValueError):
    """A call that needs stored state, on a graph without a checkpointer."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"{what} needs a checkpointer: compile(checkpointer=SqliteSaver('runs.db'))")


class UnknownConfigKeyError(DurableGraphError, ValueError):
    """A key of the config dict that means nothing here. It is refused rather than ignored."""

    def __init__(self, key: object, *, known: Iterable[str], remedy: str = "") -> None:
        self.key = key
        self.known: tuple[str, ...] = tuple(sorted(known))
        super().__init__(
            f"the config has no key {key!r}{'; ' + remedy if remedy else ''}; it knows: {names(self.known)}"
        )


class InvalidOptionError(DurableGraphError, ValueError):
    """An option with a value that it cannot take."""

    def __init__(self, option: str, value: object, *, allowed: str) -> None:
        self.option = option
        self.value = value
        self.allowed = allowed
        super().__init__(f"{option}={value!r} is not possible; it takes {allowed}")


class ContradictingOptionError(DurableGraphError, ValueError):
    """The config dict and a keyword argument say different things."""

    def __init__(self, option: str, *, keyword: object, config: object) -> None:
        self.option = option
        self.keyword = keyword
        self.config = config
        super().__init__(f"{option} is {keyword!r} as keyword and {config!r} in the config; give it once")


# Threads and checkpoints --------------------------------------------------------------------------


class UnknownThreadError(DurableGraphError, LookupError):
    """A thread that the store does not have."""

    def __init__(self, thread_id: str) -> None:
        self.thread_id = thread_id
        super().__init__(f"the store has no thread {thread_id!r}")


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
            f"thread {thread_id!r} has no checkpoint {checkpoint_id!r}; aget_state_history lists the ones it has"
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
            f"thread {thread_id!r} still has to run: {', '.join(self.pending)}; resume it with ainvoke(None), "
            f"or pass if_unfinished='resume' or 'supersede'"
        )


class ThreadBusyError(DurableGraphError):
    """Another run of this process is at work on the thread, and `if_busy` is "reject"."""

    def __init__(self, thread_id: str) -> None:
        self.thread_id = thread_id
        super().__init__(
            f"thread {thread_id!r} is being run by another call in this process; "
            f"await that one, or pass if_busy='wait' to take turns"
        )


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
            f"the run reached its recursion_limit of {limit} supersteps with {', '.join(self.pending)} still to run; "
            f"raise the limit and resume, or check that the graph ends"
        )


# Values and bytes --------------------------------------------------------------------------------


class UnstorableValueError(DurableGraphError, TypeError):
    """A value that would not come back equal and of the same type, refused before anything was stored.

    `channel` is where it was headed, `path` where it sits inside the value (`""` for the value itself).
    """

    def __init__(self, *, channel: str, path: str, type_name: str, why: str, remedy: str) -> None:
        self.channel = channel
        self.path = path
        self.type_name = type_name
        self.why = why
        self.remedy = remedy
        super().__init__(f"{channel}{path} is {_article(type_name)} and cannot be stored: {why}; {remedy}")


class ValueTooLargeError(DurableGraphError, ValueError):
    """A value over the checkpointer's size limit. Sizes are in bytes, encoded."""

    def __init__(self, *, channel: str, size: int, limit: int) -> None:
        self.channel = channel
        self.size = size
        self.limit = limit
        super().__init__(
            f"the value for {channel} takes {size} bytes and the limit is {limit}; "
            f"store it elsewhere and keep a reference in the state, or raise the checkpointer's max_value_bytes"
        )


class DecodeError(DurableGraphError, ValueError):
    """Stored bytes that are not a value of the declared type."""

    def __init__(self, channel: str, why: str) -> None:
        self.channel = channel
        self.why = why
        super().__init__(f"the bytes stored for {channel} cannot be read: {why}")


class CorruptCheckpointError(DurableGraphError):
    """A stored row is damaged or missing, and no other takes its place. Other checkpoints and threads stay usable."""

    def __init__(self, thread_id: str, *, row: str, why: str, checkpoint_id: str | None = None) -> None:
        self.thread_id = thread_id
        self.row = row
        self.why = why
        self.checkpoint_id = checkpoint_id
        at = f", checkpoint {checkpoint_id!r}" if checkpoint_id else ""
        super().__init__(
            f"thread {thread_id!r}{at}: {row} is damaged ({why}); "
            f"restore it from a backup or go on from an older checkpoint"
        )


class ChannelChangedError(DurableGraphError):
    """What a thread has stored for a channel does not fit the channel as the graph declares it now."""

    def __init__(self, channel: str, *, why: str) -> None:
        self.channel = channel
        self.why = why
        super().__init__(
            f"the stored value of channel {channel!r} does not fit its declaration: {why}; "
            f"declare it as it was, or give the new channel another name"
        )


# The store ---------------------------------------------------------------------------------------


class StoreUnavailableError(DurableGraphError):
    """The store cannot be written or read now. No new node was started; the thread stays resumable."""

    def __init__(self, store: str, why: str) -> None:
        self.store = store
        self.why = why
        super().__init__(f"{store} is not available: {why}")


class StoreReadOnlyError(StoreUnavailableError):
    """The store may be read but not written."""


class StoreFullError(StoreUnavailableError):
    """There is no space left for the store."""


class NotADatabaseError(DurableGraphError):
    """A file that the saver did not make and will not touch."""

    def __init__(self, path: str, why: str) -> None:
        self.path = path
        self.why = why
        super().__init__(f"{path} cannot be used as a store: {why}; it was left as it is: choose another path")


class StoreFormatError(DurableGraphError):
    """A store written by a newer version of the library."""

    def __init__(self, store: str, *, found: int, supported: int) -> None:
        self.store = store
        self.found = found
        self.supported = supported
        super().__init__(
            f"{store} has format {found} and this version of durable-graph reads up to {supported}; "
            f"upgrade durable-graph"
        )


class UnknownBackendError(DurableGraphError, LookupError):
    """A checkpointer URL whose scheme no installed backend answers to."""

    def __init__(self, scheme: str, *, known: Iterable[str]) -> None:
        self.scheme = scheme
        self.known: tuple[str, ...] = tuple(sorted(known))
        super().__init__(
            f"no installed backend answers to {scheme!r}; installed: {names(self.known)}; "
            f"a backend comes with its extra, as in: pip install 'durable-graph[{scheme}]'"
        )


class CheckpointerMisuseError(DurableGraphError, RuntimeError):
    """A checkpointer used where or when it cannot be."""


class CheckpointerClosedError(CheckpointerMisuseError):
    """The checkpointer was closed."""

    def __init__(self, saver: str) -> None:
        self.saver = saver
        super().__init__(f"{saver} was closed; open a new one, or keep the call inside its `async with`")


class CheckpointerForkedError(CheckpointerMisuseError):
    """The process forked after the checkpointer was opened."""

    def __init__(self, saver: str) -> None:
        self.saver = saver
        super().__init__(
            f"{saver} was opened before a fork(); its connection belongs to the parent: open one per process"
        )


class CheckpointerLoopError(CheckpointerMisuseError):
    """The checkpointer belongs to another event loop."""

    def __init__(self, saver: str) -> None:
        self.saver = saver
        super().__init__(f"{saver} is in use by another event loop; open one per loop")


def _article(name: str) -> str:
    return f"{'an' if name[:1] in 'aeiouAEIOU' else 'a'} {name}"
