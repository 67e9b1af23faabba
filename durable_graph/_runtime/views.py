"""LangGraph's stream modes, as views of the typed events."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from durable_graph._runtime.events import (
    AnyEvent,
    CheckpointCommitted,
    CustomEvent,
    MessageEvent,
    ReaderGap,
    RunInterrupted,
    RunResumed,
    TaskFailed,
    TaskFinished,
    TaskInterrupted,
    TaskStarted,
)
from durable_graph.errors import InvalidOptionError
from durable_graph.graph import Interrupt

StreamMode = Literal["values", "updates", "custom", "messages", "tasks", "checkpoints", "debug"]
View = Callable[[AnyEvent], list[Any]]
Keys = str | Sequence[str] | None

INTERRUPT = "__interrupt__"


def _values_of(event: AnyEvent, keys: Keys) -> list[Any]:
    """The whole state: as the run begins, after every superstep that changed it, and as it stops for answers."""
    match event:
        case RunResumed():
            return [_only(event.values, keys)]
        case CheckpointCommitted() if event.changed or event.source != "loop":
            return [_only(event.values, keys)]
        case RunInterrupted() if event.interrupts:
            values = _only(event.values, keys)
            return [{**(values if isinstance(values, dict) else {}), INTERRUPT: event.interrupts}]
    return []


def _updates_of(event: AnyEvent, keys: Keys) -> list[Any]:
    """`{node: what it wrote}` for every task that finished; None for one that wrote nothing."""
    match event:
        case TaskFinished():
            update = {event.node: _only(event.update, keys)}
            return [{**update, "__metadata__": {"cached": True}} if event.is_cached else update]
        case RunInterrupted():
            return [{INTERRUPT: event.interrupts}]
    return []


def _custom_of(event: AnyEvent, keys: Keys) -> list[Any]:
    """What nodes told by their writer."""
    return [event.data] if isinstance(event, CustomEvent) else []


def _messages_of(event: AnyEvent, keys: Keys) -> list[Any]:
    """`(message, metadata)` for every message that a node pushed, unless it is tagged "nostream"."""
    if isinstance(event, MessageEvent) and "nostream" not in event.metadata.get("tags", ()):
        return [(event.message, dict(event.metadata))]
    return []


def _tasks_of(event: AnyEvent, keys: Keys) -> list[Any]:
    """A dict as a task starts, and one as it ends."""
    match event:
        case TaskStarted():
            started = {"id": event.task_id, "name": event.node, "input": event.input, "triggers": event.triggers}
            return [{**started, "metadata": dict(event.metadata)} if event.metadata else started]
        case TaskFinished():
            return [_ended(event, result=_result(event))]
        case TaskInterrupted():
            return [_ended(event, interrupts=[{"value": each.value, "id": each.id} for each in event.interrupts])]
        case TaskFailed() if not event.will_retry:
            return [_ended(event, error=event.error)]
    return []


def _ended(event: TaskFinished | TaskInterrupted | TaskFailed, **said: Any) -> dict[str, Any]:
    return {"id": event.task_id, "name": event.node, "error": None, "result": {}, "interrupts": [], **said}


def _result(event: TaskFinished) -> Any:
    if not isinstance(event.update, list):
        return {} if event.update is None else event.update
    # A channel that the task wrote more than once: all of it, in order.
    together: dict[str, Any] = {}
    for update in event.update:
        for key, value in update.items():
            together.setdefault(key, []).append(value)
    return together


def _checkpoints_of(event: AnyEvent, keys: Keys) -> list[Any]:
    """A dict for every checkpoint, once it is durable."""
    if not isinstance(event, CheckpointCommitted):
        return []
    tasks = [{"id": id_, "name": node, "interrupts": (), "state": None} for id_, node in event.tasks]
    return [
        {
            "config": _config(event, event.checkpoint_id),
            "parent_config": None if event.parent_checkpoint_id is None else _config(event, event.parent_checkpoint_id),
            "values": _only(event.values, keys),
            "metadata": dict(event.metadata),
            "next": list(event.next),
            "tasks": tasks,
        }
    ]


def _config(event: CheckpointCommitted, checkpoint_id: str | None) -> dict[str, Any]:
    place = {"thread_id": event.thread_id, "checkpoint_ns": "|".join(event.ns)}
    return {"configurable": place if checkpoint_id is None else {**place, "checkpoint_id": checkpoint_id}}


def _debug_of(event: AnyEvent, keys: Keys) -> list[Any]:
    """What "checkpoints" and "tasks" give, with the superstep and the time."""
    kind = {CheckpointCommitted: "checkpoint", TaskStarted: "task"}.get(type(event), "task_result")
    payloads = _checkpoints_of(event, keys) or _tasks_of(event, keys)
    now = datetime.now(UTC).isoformat()
    return [{"step": event.step, "timestamp": now, "type": kind, "payload": payload} for payload in payloads]


def _only(values: Any, keys: Keys) -> Any:
    """The part of the state that was asked for."""
    if isinstance(values, list):
        return [_only(each, keys) for each in values]
    if not isinstance(values, Mapping):
        return values
    if keys is None:
        return dict(values)
    if isinstance(keys, str):
        return values.get(keys)
    return {key: value for key, value in values.items() if key in keys}


_VIEWS: dict[str, Callable[[AnyEvent, Keys], list[Any]]] = {
    "values": _values_of,
    "updates": _updates_of,
    "custom": _custom_of,
    "messages": _messages_of,
    "tasks": _tasks_of,
    "checkpoints": _checkpoints_of,
    "debug": _debug_of,
}


def view_of(
    modes: StreamMode | Sequence[StreamMode],
    *,
    subgraphs: bool = False,
    version: str = "v1",
    output_keys: Keys = None,
) -> View:
    """One mode gives its payloads, a list of modes `(mode, payload)` pairs; with `subgraphs` the namespace comes first.

    With `version="v2"` all of them are `{"type": mode, "ns": namespace, "data": payload}`. Where events were dropped
    for a slow reader, the `ReaderGap` itself takes their place.

    Raises `InvalidOptionError` for a mode or a version that there is not.
    """
    wanted: list[str] = [modes] if isinstance(modes, str) else list(modes)
    if not wanted or any(mode not in _VIEWS for mode in wanted):
        option = "stream_mode"
        known = " or ".join(map(repr, get_args(StreamMode)))
        raise InvalidOptionError(option, modes, allowed=f"{known}, or a list of them")
    if version not in ("v1", "v2"):
        option = "version"
        raise InvalidOptionError(option, version, allowed='"v1" or "v2"')

    def view(event: AnyEvent) -> list[Any]:
        if isinstance(event, ReaderGap):
            return [event]
        return [
            _shaped(event, mode, payload)
            for mode in wanted
            if subgraphs or not event.ns or mode == "messages"
            for payload in _VIEWS[mode](event, output_keys)
        ]

    def _shaped(event: AnyEvent, mode: str, payload: Any) -> Any:
        if version == "v2":
            return _part(event, mode, payload)
        shaped = payload if isinstance(modes, str) else (mode, payload)
        if not subgraphs:
            return shaped
        return (event.ns, shaped) if isinstance(modes, str) else (event.ns, *shaped)

    return view


def _part(event: AnyEvent, mode: str, payload: Any) -> dict[str, Any]:
    part = {"type": mode, "ns": event.ns, "data": payload}
    if mode != "values":
        return part
    interrupts: tuple[Interrupt, ...] = event.interrupts if isinstance(event, RunInterrupted) else ()
    if isinstance(payload, dict):
        part["data"] = {key: value for key, value in payload.items() if key != INTERRUPT}
    return {**part, "interrupts": interrupts}
