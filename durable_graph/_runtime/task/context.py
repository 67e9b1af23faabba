"""The objects that a node may get besides the state, by a parameter or by a function."""

import dataclasses
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic
from weakref import ref

import msgspec

from durable_graph._runtime.events.model import AnyEvent, CustomEvent, MessageEvent
from durable_graph._runtime.events.sink import Room, StreamWriter
from durable_graph._runtime.request.callbacks import Origin
from durable_graph._runtime.request.run import RunControl
from durable_graph._runtime.task.run_context import TaskContext, context_of
from durable_graph.errors import InvalidOptionError
from durable_graph.errors.elsewhere import RUNTIME, missing_attribute
from durable_graph.graph.entrypoints import SAVED
from durable_graph.graph.type_variables import ContextT, ContextT_co
from durable_graph.records import checkpoint_id


class ExecutionInfo(msgspec.Struct, frozen=True, gc=False):
    """Which task is being run.

    `task_id` is the same on every attempt and after every crash, and different for every other task: hand it to outside
    services as the idempotency key. `node_attempt` counts from 1, across resumes.
    `node_first_attempt_time` is when this process began with the task, in seconds since the epoch.
    """

    thread_id: str | None
    checkpoint_id: str | None
    checkpoint_ns: str
    task_id: str
    node: str
    step: int
    node_attempt: int
    node_first_attempt_time: float | None = None
    run_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime(Generic[ContextT_co]):
    """Given to a node that has a parameter annotated with it, or called `runtime`.

    `context` is what the call was given as `context=`. `store` is what the graph, or the graph around it, was compiled
    with as `store=`, None without. `stream_writer` tells the run's reader something.
    `previous` is what an entrypoint last saved. `control` is the call's `RunControl`, if it has one.
    """

    context: ContextT_co
    execution_info: ExecutionInfo
    stream_writer: StreamWriter
    previous: Any = None
    control: RunControl | None = None
    store: Any = None
    server_info: None = None
    task_context: TaskContext | None = dataclasses.field(default=None, repr=False, compare=False)

    if not typing.TYPE_CHECKING:
        # A checker that saw it would take every name for an attribute.
        def __getattr__(self, name):
            missing_attribute(self, name, RUNTIME)

    @property
    def drain_requested(self) -> bool:
        """Whether the run was asked to stop before its next superstep."""
        return self.control is not None and self.control.drain_requested

    def heartbeat(self) -> None:
        """Say that the node is alive: its idle timeout starts over."""
        if self.task_context is not None:
            self.task_context.beat()


def get_runtime(context_schema: type[ContextT] | None = None) -> Runtime[ContextT]:
    """The runtime of the node that is running. `context_schema` is for type checkers.

    Raises `OutsideOfRunError`.
    """
    return runtime_of(context_of("get_runtime()"))


def get_stream_writer() -> StreamWriter:
    """The running node's writer of "custom" stream events. Raises `OutsideOfRunError`."""
    return writer_of(context_of("get_stream_writer()"))


def get_store() -> Any:
    """The object that the running graph, or the graph around it, was compiled with as `store=`.

    Raises `OutsideOfRunError`, and `InvalidOptionError` where there is none.
    """
    return store_of(context_of("get_store()"))


def store_of(context: TaskContext) -> object:
    """The store of the run. Raises `InvalidOptionError` where it has none."""
    store = context.run.request.store
    if store is None:
        option = "store"
        raise InvalidOptionError(
            option, None, allowed=f"given to compile(store=...), since {context.node!r} asks for it"
        )
    return store


def push_message(message: object, *, metadata: Mapping[str, Any] | None = None) -> Room:
    """Tell the run's reader a message, or a piece of one, in stream mode "messages", with what is known of the node.

    Await what it gives to wait until the reader has room. The state is written only by what the node returns. A message
    whose `metadata` has the tag "nostream" is not shown; the node's and the call's own tags count as well.

    Raises `OutsideOfRunError` and `StreamOverflowError`.
    """
    context = context_of("push_message()")
    run = context.run

    def make(data: object) -> AnyEvent:
        given = metadata or {}
        tags = [*run.request.tags, *context.metadata.get("tags", ()), *given.get("tags", ())]
        known = {**config_of(context)["metadata"], **given, "tags": list(dict.fromkeys(tags))}
        return message_event(context, data, known, "pushed")

    return StreamWriter(run.shared.sink, make, context.streamed)(message)


def message_event(
    context: TaskContext, message: object, metadata: Mapping[str, object], origin: Origin
) -> MessageEvent:
    """A message of the code of `context`."""
    run = context.run
    return MessageEvent(
        thread_id=run.request.thread_id,
        ns=run.event_ns,
        step=context.step,
        task_id=context.task_id,
        node=context.node,
        message=message,
        metadata=metadata,
        origin=origin,
    )


def get_config() -> Mapping[str, Any]:
    """The config of the running node. Raises `OutsideOfRunError`."""
    return config_of(context_of("get_config()"))


def runtime_of(context: TaskContext) -> Runtime:
    """The runtime as the code of `context` gets it."""
    request = context.run.request
    return Runtime(
        context=request.context,
        execution_info=info_of(context),
        stream_writer=writer_of(context),
        previous=previous_of(context),
        control=request.control,
        store=request.store,
        task_context=context,
    )


def previous_of(context: TaskContext) -> object:
    """The value that an entrypoint saved last; None in any other graph."""
    return context.state.values.get(SAVED)


def info_of(context: TaskContext) -> ExecutionInfo:
    """Which task `context` is an attempt at."""
    request = context.run.request
    return ExecutionInfo(
        thread_id=request.thread_id,
        checkpoint_id=checkpoint_id(context.state.no) if context.is_stored else None,
        checkpoint_ns=context.ns,
        task_id=context.task_id,
        node=context.node,
        step=context.step,
        node_attempt=context.number,
        node_first_attempt_time=context.first_started,
        run_id=request.run_id,
    )


def config_of(context: TaskContext) -> Mapping[str, Any]:
    """The call's config, with where the node is in its metadata, and with the callbacks that are in use."""
    given = context.run.request.config if context.observer is None else context.observer.config
    metadata = {
        **given.get("metadata", {}),
        **context.metadata,
        "langgraph_step": context.step,
        "langgraph_node": context.node,
        "langgraph_checkpoint_ns": context.ns,
    }
    # Copies: a node that changes them must not affect other nodes.
    own: dict[str, Any] = {**given, "metadata": metadata, "configurable": _configurable(given, context)}
    if "tags" in own:
        own["tags"] = list(own["tags"])
    return own


def _configurable(given: Mapping[str, Any], context: TaskContext) -> dict[str, object]:
    """The keys that the call passed, with the namespace of the node's graph and the checkpoint of its superstep."""
    own: dict[str, object] = {**given.get("configurable", {}), "checkpoint_ns": OwnPlace(context.run.ns, context)}
    # Dropped: the id that the call passed is of an outer graph, or of the checkpoint that the run continued from.
    own.pop("checkpoint_id", None)
    if context.is_stored:
        own["checkpoint_id"] = OwnPlace(checkpoint_id(context.state.no), context)
    return own


def writer_of(context: TaskContext) -> StreamWriter:
    """The stream writer of the code of `context`."""
    run = context.run
    thread_id, ns, step, node = run.request.thread_id, run.event_ns, context.step, context.node

    def make(data: object) -> AnyEvent:
        # A token may be an event: nothing is looked up for it that stays the same.
        return CustomEvent(thread_id=thread_id, ns=ns, step=step, task_id=context.task_id, node=node, data=data)

    return StreamWriter(run.shared.sink, make, context.streamed)


class OwnPlace(str):
    """The namespace, or the id of the checkpoint, that a node runs at.

    While the node runs, calls ignore this text in the config that the node passes to them: a graph that it calls is
    nested in it, or begins at the root of another thread, and a read of its thread returns the newest state. After the
    node has ended, and as a plain str, the text identifies that namespace or checkpoint.
    """

    __slots__ = ("_context",)
    _context: "ref[TaskContext]"

    def __new__(cls, text: str, context: TaskContext) -> "OwnPlace":
        """The text for the config of the code of `context`."""
        place = super().__new__(cls, text)
        place._context = ref(context)
        return place

    @property
    def is_left(self) -> bool:
        """Whether the code that got this text has ended."""
        context = self._context()
        return context is None or context.is_over

    def __deepcopy__(self, _: object) -> "OwnPlace":
        """The text itself, because a copy of the config is a config of the same node."""
        return self

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)


def meant(configurable: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """The keys of `configurable` without the place of running code that passes on its own config."""
    for key, value in configurable.items():
        if not isinstance(value, OwnPlace):
            yield key, value
        elif value.is_left:
            yield key, str(value)


def injected(
    context: TaskContext, wanted: Mapping[str, str], told: Mapping[str, object] | None = None
) -> dict[str, object]:
    """The values of a function's parameters besides its input: `wanted` names the kind of each."""
    if not wanted:
        return {}
    made: dict[str, Callable[[], object]] = {
        "runtime": lambda: runtime_of(context),
        "config": lambda: config_of(context),
        "writer": lambda: writer_of(context),
        "previous": lambda: previous_of(context),
        "store": lambda: store_of(context),
        "store or None": lambda: context.run.request.store,
        "store or default": lambda: context.run.request.store,
        "error": lambda: (told or {})["error"],
    }
    has_store = context.run.request.store is not None
    return {name: made[kind]() for name, kind in wanted.items() if has_store or kind != "store or default"}
