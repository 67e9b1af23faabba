"""LangGraph's stream modes, as views of the typed events."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from durable_graph._engine.results import by_key
from durable_graph._runtime.events.model import (
    AnswersRecorded,
    AnyEvent,
    CheckpointCommitted,
    CustomEvent,
    Event,
    MessageEvent,
    ReaderGap,
    RunInterrupted,
    RunResumed,
    TaskFailed,
    TaskFinished,
    TaskInterrupted,
    TaskStarted,
)
from durable_graph._runtime.request.output import (
    ANSWERED,
    INTERRUPT,
    Keys,
    as_output,
    check_keys,
    check_version,
    chosen,
)
from durable_graph.errors import InvalidOptionError
from durable_graph.graph import Topology

StreamMode = Literal["values", "updates", "custom", "messages", "tasks", "checkpoints", "debug"]
Modes = StreamMode | Sequence[StreamMode]
NO_STREAM = "nostream"
GAP = "gap"

_Ended = TaskFinished | TaskInterrupted | TaskFailed


class View:
    """Converts the events of one run, in their order, to the items of its stream modes.

    A view belongs to one run: the items of an event depend on earlier events.
    """

    def __init__(
        self, topology: Topology | None, modes: Modes, *, subgraphs: bool, version: str, output_keys: Keys
    ) -> None:
        self._topology = topology
        self._modes: tuple[str, ...] = (modes,) if isinstance(modes, str) else tuple(dict.fromkeys(modes))
        self._is_bare = isinstance(modes, str)
        self._with_subgraphs = subgraphs
        self._is_v2 = version == "v2"
        self._keys = output_keys
        self._own: tuple[str, ...] | None = None
        self._shown: dict[tuple[type, bool], tuple[str, ...]] = {}
        self._retrying: set[str] = set()
        self._asked: set[tuple[tuple[str, ...], str]] = set()
        self.has_messages: bool = "messages" in self._modes
        """Whether the reader wants messages."""
        self.lacks_messages: bool = self.has_messages
        """Whether the reader wants messages, and the run has emitted none so far."""
        self._emitted_messages: set[object] = set()
        self._committed: tuple[tuple[str, ...], str | None] | None = None
        self._makers: dict[str, Callable[[AnyEvent], object]] = {
            "values": self._values,
            "updates": self._updates,
            "custom": _custom,
            "messages": self._message,
            "tasks": self._task,
            "checkpoints": self._checkpoint,
            "debug": self._debug,
        }

    def wants(self, event: AnyEvent) -> bool:
        """Whether the event may make an item. Other events need not be buffered."""
        if self._own is None:
            # The outermost graph emits the first event of a run, for the accepted input or the checkpoint at which it
            # resumes. No nested graph runs before.
            self._own = event.ns
        return bool(self._modes_of(event))

    def _modes_of(self, event: AnyEvent) -> tuple[str, ...]:
        """The modes in which the event may make an item: looked up, since a token is an event."""
        kind = type(event)
        is_shown = self._with_subgraphs or event.ns == self._own
        if not is_shown and isinstance(event, MessageEvent):
            # Messages pushed by nodes are shown at any depth of nesting.
            is_shown = event.origin == "pushed"
        modes = self._shown.get((kind, is_shown))
        if modes is None:
            modes = tuple(mode for mode in self._modes if is_shown and issubclass(kind, _EVENTS_OF[mode]))
            self._shown[kind, is_shown] = modes
        return modes

    def __call__(self, event: AnyEvent) -> list[object]:
        """The items to yield for the event."""
        if isinstance(event, ReaderGap):
            return [self._shaped(event, GAP, event)]
        if not self.wants(event):
            return []
        parts: list[Any] = []
        if not self._is_another_attempt(event):
            for mode in self._modes_of(event):
                payload = self._makers[mode](event)
                if payload is not _NOTHING:
                    parts.append(self._shaped(event, mode, payload))
        self._note(event)
        return parts

    def begin_at(self, own: tuple[str, ...]) -> None:
        """The outermost graph has this namespace."""
        self._own = own

    def items_alone(self, event: AnyEvent) -> list[tuple[str, Any]]:
        """The items of an event by mode, whatever events were before it."""
        if isinstance(event, TaskFailed) and event.will_retry:
            return []
        found = [(mode, self._makers[mode](event)) for mode in self._modes_of(event)]
        if isinstance(event, RunInterrupted) and event.interrupts:
            # The `TaskInterrupted` events have the items of mode "updates".
            found = [(mode, payload) for mode, payload in found if mode != "updates"]
        return [(mode, payload) for mode, payload in found if payload is not _NOTHING]

    def _shaped(self, event: AnyEvent, mode: str, payload: object) -> object:
        if self._is_v2:
            return _part(event, mode, payload)
        named = (payload,) if self._is_bare else (mode, payload)
        parts = (event.ns, *named) if self._with_subgraphs else named
        return parts if len(parts) > 1 else payload

    # Events seen before

    def _is_another_attempt(self, event: AnyEvent) -> bool:
        """Whether a retry of a task starts or has been scheduled. Readers see one start and one end of each task."""
        if isinstance(event, TaskStarted) and event.task_id in self._retrying:
            self._retrying.discard(event.task_id)
            return True
        if isinstance(event, TaskFailed) and event.will_retry:
            self._retrying.add(event.task_id)
            return True
        return False

    def _note(self, event: AnyEvent) -> None:
        if isinstance(event, MessageEvent):
            self.lacks_messages = False
            self._emitted_messages.add(_id_of(event.message))
        elif isinstance(event, CheckpointCommitted):
            self._committed = event.ns, event.checkpoint_id
        elif isinstance(event, TaskInterrupted) and not event.provisional:
            self._asked.update((event.ns, each.id) for each in event.interrupts)

    # Modes

    def _values(self, event: AnyEvent) -> object:
        """The state: at the start of the run, after every superstep that wrote to it, when the run stops for answers,
        and at a breakpoint if tasks of the same superstep wrote to the state."""
        match event:
            case RunResumed() if (event.ns, event.checkpoint_id) != self._committed and event.values is not None:
                return self._chosen(event, event.values)
            case CheckpointCommitted() if self._is_new(event):
                return self._chosen(event, event.values)
            case RunInterrupted(interrupts=()) if self._has_changed(event.changed_keys):
                return self._chosen(event, event.values)
            case RunInterrupted() if event.interrupts:
                values = self._chosen(event, event.values)
                if self._is_v2:
                    return values
                # An output that is a single value cannot hold the interrupts: they replace it.
                is_one = not isinstance(values, Mapping) or (event.ns == self._own and not self._has_keys)
                return {**({} if is_one else values), INTERRUPT: event.interrupts}
            case AnswersRecorded():
                return {ANSWERED: event.answered}
        return _NOTHING

    def _is_new(self, event: CheckpointCommitted) -> bool:
        # A run from an older checkpoint yields its first state, as every resumed run does.
        is_start = self._keys is None and event.source == "fork" and event.ns == self._own
        return is_start or self._has_changed(event.changed_keys)

    def _has_changed(self, changed: tuple[str, ...]) -> bool:
        if self._keys is None:
            return bool(changed)
        wanted = (self._keys,) if isinstance(self._keys, str) else self._keys
        return any(key in changed for key in wanted)

    @property
    def _has_keys(self) -> bool:
        return self._topology is None or not self._topology.output.is_single

    def _chosen(self, event: AnyEvent, values: Any) -> Any:
        own = self._own_topology(event)
        return as_output(None if own is None else own.state, values, self._keys)

    def _own_topology(self, event: AnyEvent) -> Topology | None:
        """The graph whose output class version 2 makes of the values; None if they stay a dict."""
        return self._topology if self._is_v2 and event.ns == self._own else None

    def _message(self, event: AnyEvent) -> object:
        """`(message, metadata)` for every message, unless it is tagged "nostream", or returned and emitted before."""
        if not isinstance(event, MessageEvent) or NO_STREAM in (event.metadata.get("tags") or ()):
            return _NOTHING
        id_ = _id_of(event.message)
        if event.origin == "returned" and id_ is not None and id_ in self._emitted_messages:
            return _NOTHING
        return event.message, dict(event.metadata)

    def _updates(self, event: AnyEvent) -> object:
        """`{node: update}` for every finished task, with None for a task without writes; and interrupts."""
        match event:
            case TaskFinished():
                update = {event.node: self._update(event.update)}
                return {**update, "__metadata__": {"cached": True}} if event.is_cached else update
            case TaskInterrupted() if event.interrupts and not event.provisional:
                return {INTERRUPT: event.interrupts}
            case RunInterrupted(interrupts=()) if event.ns == self._own:
                return {INTERRUPT: ()}
            case RunInterrupted():
                # The `TaskInterrupted` events have yielded the other interrupts.
                new = tuple(each for each in event.interrupts if (event.ns, each.id) not in self._asked)
                return {INTERRUPT: new} if new else _NOTHING
            case AnswersRecorded():
                return {ANSWERED: event.answered}
        return _NOTHING

    def _update(self, update: object) -> object:
        if self._keys is None or not isinstance(update, Mapping | list):
            return update
        if isinstance(update, Mapping):
            found = chosen(update, self._keys)
            return None if found == {} else found
        parts = [part for part in map(self._update, update) if part is not None]
        return parts or None

    def _task(self, event: AnyEvent) -> object:
        """A dict at the start of a task, and another at its end."""
        match event:
            case TaskStarted():
                started = {"id": event.task_id, "name": event.node, "input": event.input, "triggers": event.triggers}
                return {**started, "metadata": dict(event.metadata)} if event.metadata else started
            case TaskFinished():
                return _ended(event, result=by_key(event.result))
            case TaskInterrupted() if event.interrupts:
                return _ended(event, interrupts=[{"value": each.value, "id": each.id} for each in event.interrupts])
            case TaskFailed():
                return _ended(event, error=event.error)
        return _NOTHING

    def _checkpoint(self, event: AnyEvent) -> object:
        """A dict for every checkpoint, once it is durable."""
        if not isinstance(event, CheckpointCommitted) or event.checkpoint_id is None:
            return _NOTHING
        parent = event.parent_checkpoint_id
        payload = {
            "config": _config(event, event.checkpoint_id),
            "parent_config": None if parent is None else _config(event, parent),
            "values": self._chosen(event, event.values),
            "metadata": dict(event.metadata),
            "next": list(event.next),
            "tasks": [
                {
                    "id": task.id,
                    "name": task.name,
                    "interrupts": (),
                    "state": None if task.checkpoint_ns is None else _place(event, task.checkpoint_ns),
                }
                for task in event.tasks
            ],
        }
        # A provisional checkpoint cannot be read until the run has ended.
        return {**payload, "provisional": True} if event.provisional else payload

    def _debug(self, event: AnyEvent) -> object:
        """The payloads of "checkpoints" and "tasks", with the superstep and the time."""
        is_checkpoint = isinstance(event, CheckpointCommitted)
        payload = self._checkpoint(event) if is_checkpoint else self._task(event)
        if payload is _NOTHING:
            return _NOTHING
        kind = "checkpoint" if is_checkpoint else "task" if isinstance(event, TaskStarted) else "task_result"
        when = datetime.fromtimestamp(event.at, UTC).isoformat()
        return {"step": event.step, "timestamp": when, "type": kind, "payload": payload}


class LoggedItems:
    """The items of the events of a run's event log, by mode: `(mode, payload)` pairs in the order of `MODES`.

    The items of an event depend on that event only, so a reader may begin anywhere. They are those of a `View` of the
    whole run, with three differences: items of nested graphs are included, a returned message whose id was emitted
    before is not left out, and a task's failure before a retry has no item.
    """

    def __init__(self, topology: Topology | None) -> None:
        self._view = View(topology, MODES, subgraphs=True, version="v1", output_keys=None)
        self._view.begin_at(())

    def __call__(self, event: Event) -> list[tuple[str, Any]]:
        """The items of the event."""
        return self._view.items_alone(event) if isinstance(event, AnyEvent) else []


_NOTHING: object = object()
MODES: tuple[StreamMode, ...] = get_args(StreamMode)
_TASKS = (TaskStarted, TaskFinished, TaskInterrupted, TaskFailed)
_EVENTS_OF: Mapping[str, tuple[type[AnyEvent], ...]] = {
    "values": (CheckpointCommitted, RunResumed, RunInterrupted, AnswersRecorded),
    "updates": (TaskFinished, TaskInterrupted, RunInterrupted, AnswersRecorded),
    "custom": (CustomEvent,),
    "messages": (MessageEvent,),
    "tasks": _TASKS,
    "checkpoints": (CheckpointCommitted,),
    "debug": (*_TASKS, CheckpointCommitted),
}


def view_of(
    modes: Modes,
    *,
    topology: Topology | None = None,
    subgraphs: bool = False,
    version: str = "v1",
    output_keys: Keys = None,
) -> View:
    """A view that yields the payloads of one mode, or `(mode, payload)` pairs for a list of modes; with `subgraphs`,
    the namespace comes first.

    With `version="v2"` every item is `{"type": mode, "ns": namespace, "data": payload}`. Items of "values" have the
    interrupts under "interrupts", and `data` of the class of the output schema of `topology`. `output_keys` chooses
    keys of the state, or one key's value. A `ReaderGap` replaces events that were dropped for a slow reader, in mode
    "gap".

    Raises `InvalidOptionError` for an unknown mode or version, and `StateKeyError`.
    """
    wanted: list[object] = list(modes) if isinstance(modes, Sequence) and not isinstance(modes, str) else [modes]
    known = get_args(StreamMode)
    if not wanted or any(mode not in known for mode in wanted):
        option = "stream_mode"
        allowed = " or ".join(map(repr, known))
        raise InvalidOptionError(option, modes, allowed=f"{allowed}, or a list of them")
    check_version(version)
    if topology is not None:
        check_keys(topology, output_keys)
    return View(topology, modes, subgraphs=subgraphs, version=version, output_keys=output_keys)


def _part(event: AnyEvent, mode: str, payload: object) -> dict[str, object]:
    part = {"type": mode, "ns": event.ns, "data": payload}
    if mode != "values":
        return part
    return {**part, "interrupts": event.interrupts if isinstance(event, RunInterrupted) else ()}


def _custom(event: AnyEvent) -> object:
    """The data that nodes wrote with their `StreamWriter`."""
    return event.data if isinstance(event, CustomEvent) else _NOTHING


def _id_of(message: object) -> object:
    id_ = message.get("id") if isinstance(message, dict) else getattr(message, "id", None)
    return id_ if isinstance(id_, str | int) else None


def _ended(event: _Ended, **fields: object) -> dict[str, object]:
    return {"id": event.task_id, "name": event.node, "error": None, "result": {}, "interrupts": [], **fields}


def _config(event: CheckpointCommitted, checkpoint_id: str) -> dict[str, object]:
    return _place(event, "|".join(event.ns), checkpoint_id=checkpoint_id)


def _place(event: CheckpointCommitted, ns: str, **more: str) -> dict[str, object]:
    return {"configurable": {"thread_id": event.thread_id, "checkpoint_ns": ns, **more}}
