"""Events of a run as frames of server-sent events, in the stream modes of LangGraph's clients.

The id of a frame is `event id * 16 + slot`. Each kind of frame has a slot of its own, so the id of a frame depends on
the event and the kind only: not on the other modes that a client asks for, not on where it began, and not on the
process. What a frame holds depends on its event only, too, except for the modes of messages: their frames depend on
earlier chunks of the same message.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from durable_graph import (
    CheckpointCommitted,
    Event,
    EventsRetracted,
    Interrupt,
    LoggedEvent,
    MessageEvent,
    RunInterrupted,
    TaskInterrupted,
)
from durable_graph.extending import ItemsOfEvent
from durable_graph_http.partial_messages import PartialMessages, SeenMessage, fields_of
from durable_graph_http.values import encoded_text

SLOTS = 16

_SLOTS: Mapping[str, int] = {
    "metadata": 0,
    "values": 1,
    "updates": 2,
    "messages/metadata": 3,
    "messages/partial": 4,
    "messages/complete": 4,
    "messages": 5,
    "custom": 6,
    "tasks": 7,
    "checkpoints": 8,
    "debug": 9,
    "events": 10,
    "state_update": 11,
    "error": 14,
    "run_done": 15,
}
JOINED_SLOT = 13
"""The slot of the first frame of a client that joins: after those of an event, and before the end of the run."""
LAST_SLOT = SLOTS - 1

MODES = ("values", "updates", "messages", "messages-tuple", "custom", "tasks", "checkpoints", "debug", "events")
"""The stream modes of a run that a client may ask for."""

MESSAGE_MODES = frozenset({"messages", "messages-tuple"})

EVERY_MODE = "*"
"""The mode of frames that every reader of a run gets."""

_RETRACTABLE = frozenset({"custom", "messages", "messages-tuple", "events"})


def frame_id(event: int, name: str) -> int:
    """The id of the frame of this name that an event makes."""
    return event * SLOTS + _SLOTS[name]


class RunFrame:
    """A frame before it is filtered for a reader. `mode` is the one that asks for it, `name` becomes the name of the
    server-sent event. `is_everywhere`: readers without nested graphs get it, too."""

    __slots__ = ("_data", "_payload", "id", "is_everywhere", "mode", "name", "ns")

    def __init__(
        self, event: int, name: str, mode: str, payload: object, ns: tuple[str, ...] = (), *, is_pushed: bool = False
    ) -> None:
        self.id: int = frame_id(event, name)
        self.name: str = name
        self.mode: str = mode
        self.ns: tuple[str, ...] = ns
        self.is_everywhere: bool = not ns or is_pushed
        self._payload: object = payload
        self._data: str | None = None

    @property
    def size(self) -> int:
        """Its length once it is encoded."""
        return len(self._data or "")

    def data(self) -> str:
        """The payload as JSON, encoded once for all readers."""
        if self._data is None:
            self._data, self._payload = encoded_text(self._payload), None
        return self._data


class Wanted(msgspec.Struct, frozen=True):
    """The frames that a reader of a run asks for."""

    modes: frozenset[str]
    with_subgraphs: bool = False

    @property
    def has_messages(self) -> bool:
        """Whether frames depend on earlier events."""
        return not MESSAGE_MODES.isdisjoint(self.modes)

    def takes(self, frame: RunFrame) -> bool:
        """Whether the reader gets the frame."""
        if frame.mode == "retract":
            is_wanted = not _RETRACTABLE.isdisjoint(self.modes)
        else:
            is_wanted = frame.mode in self.modes or frame.mode == EVERY_MODE
        return is_wanted and (self.with_subgraphs or frame.is_everywhere)

    def name_of(self, frame: RunFrame) -> str:
        """The name of the server-sent event: with nested graphs, their namespace is part of it."""
        return "|".join((frame.name, *frame.ns)) if self.with_subgraphs else frame.name


class EventFrames:
    """Makes the frames of a run's events, all but those of messages. They depend on no earlier event.

    `run_id` is that of the run, `shown` the thread's id as the client knows it.
    """

    def __init__(self, items: ItemsOfEvent, run_id: str, shown: str) -> None:
        self._items, self._run_id, self._shown = items, run_id, shown

    def __call__(self, logged: LoggedEvent, *, is_start: bool) -> list[RunFrame]:
        """The frames of an event in the order of their ids. `is_start`: it is the run's first event."""
        frames = list(self._frames(logged.id, event_shown(logged.event, self._shown), is_start=is_start))
        frames.sort(key=lambda frame: frame.id)
        return frames

    def _frames(self, id_: int, event: Event, *, is_start: bool) -> Iterator[RunFrame]:
        if is_start:
            yield RunFrame(id_, "metadata", EVERY_MODE, {"run_id": self._run_id, "attempt": 1})
        yield RunFrame(id_, "events", "events", typed_event(event), event.ns)
        if isinstance(event, EventsRetracted):
            yield RunFrame(id_, "custom", "retract", retraction(id_ * SLOTS, event), event.ns)
            return
        asked = with_questions(event)
        if asked is None:
            return
        for mode, payload in self._items(asked):
            if mode != "messages":
                yield RunFrame(id_, mode, mode, _shown_interrupts(payload), event.ns)
        if isinstance(event, CheckpointCommitted) and not event.ns:
            yield RunFrame(id_, "state_update", "state_update", _state_update(event))
        if isinstance(event, RunInterrupted):
            yield RunFrame(id_, "run_done", "run_done", {"run_id": self._run_id, "status": "interrupted"})


class MessageFrames:
    """Makes the frames of a run's messages. It has to see every event of the run, from the first one on."""

    def __init__(self, shown: str) -> None:
        self._messages = PartialMessages()
        self._shown = shown

    def __call__(self, logged: LoggedEvent) -> list[RunFrame]:
        """The frames of an event, in the order of their ids."""
        event = logged.event
        seen = self._messages.see(event)
        if seen is None or not isinstance(event, MessageEvent) or "nostream" in (event.metadata.get("tags") or ()):
            return []
        metadata = _metadata_shown(event.metadata, event.thread_id, self._shown)
        return list(_message_frames(logged.id, event, seen, metadata))


def _message_frames(
    id_: int, event: MessageEvent, seen: SeenMessage, metadata: Mapping[str, Any]
) -> Iterator[RunFrame]:
    is_pushed = event.origin == "pushed"
    if seen.is_first and seen.id is not None:
        about = {seen.id: {"metadata": metadata}}
        yield RunFrame(id_, "messages/metadata", "messages", about, event.ns, is_pushed=is_pushed)
    name = "messages/partial" if seen.is_chunk else "messages/complete"
    yield RunFrame(id_, name, "messages", [fields_of(seen.whole)], event.ns, is_pushed=is_pushed)
    if not seen.is_repeated:
        yield RunFrame(id_, "messages", "messages-tuple", [event.message, metadata], event.ns, is_pushed=is_pushed)


def error_frame(last_event: int, error: Mapping[str, str]) -> RunFrame:
    """The last frame of a failed run, whose last event has this id."""
    return RunFrame(last_event, "error", EVERY_MODE, error)


def done_frame(last_event: int, run_id: str, status: str) -> RunFrame:
    """The frame of a thread's stream that ends a run, whose last event has this id."""
    return RunFrame(last_event, "run_done", "run_done", {"run_id": run_id, "status": status})


def typed_event(event: Event) -> dict[str, Any]:
    """An event as a JSON object: its fields, and its `type`."""
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    return {"type": event.__struct_config__.tag, **_shown_fields(fields)}


def retraction(before: int, event: EventsRetracted) -> dict[str, Any]:
    """What a client has to know about an `EventsRetracted`: frames of the task with ids below `before` are void."""
    return {"retract": {"task_id": event.task_id, "node": event.node, "before": before}}


def event_shown(event: Event, thread_id: str) -> Event:
    """The event with the thread's id as the client knows it."""
    if event.thread_id == thread_id:
        return event
    changed: dict[str, Any] = {"thread_id": thread_id}
    metadata = getattr(event, "metadata", None)
    if metadata:
        changed["metadata"] = _metadata_shown(metadata, event.thread_id, thread_id)
    return msgspec.structs.replace(event, **changed)


def _metadata_shown(metadata: Mapping[str, Any], stored: str | None, shown: str) -> dict[str, Any]:
    return {name: shown if name == "thread_id" and value == stored else value for name, value in metadata.items()}


def with_questions(event: Event) -> Event | None:
    """The event with those of its interrupts that a person answers. None if it only has others: then a task sleeps, or
    waits for a message, which clients see as progress."""
    if not isinstance(event, TaskInterrupted | RunInterrupted) or not event.interrupts:
        return event
    questions = tuple(each for each in event.interrupts if each.is_question)
    return msgspec.structs.replace(event, interrupts=questions) if questions else None


def shown_interrupt(interrupt: Interrupt) -> dict[str, Any]:
    """An interrupt as clients know it: `value` and `id`, and what else it has."""
    found: dict[str, Any] = {"value": interrupt.value, "id": interrupt.id}
    if interrupt.key is not None:
        found["key"] = interrupt.key
    if interrupt.due is not None:
        found["due"] = interrupt.due
    return found


def _shown_interrupts(payload: Any) -> Any:
    """The payload with its interrupts as clients know them."""
    if not isinstance(payload, dict):
        return payload
    return {
        name: [shown_interrupt(each) for each in value] if name == "__interrupt__" else value
        for name, value in payload.items()
    }


def _shown_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: [shown_interrupt(each) for each in value] if name == "interrupts" else value
        for name, value in fields.items()
    }


def _state_update(event: CheckpointCommitted) -> dict[str, Any]:
    configurable = {"thread_id": event.thread_id, "checkpoint_ns": "", "checkpoint_id": event.checkpoint_id}
    return {
        "values": event.values,
        "next": event.next,
        "checkpoint": configurable,
        "metadata": event.metadata,
    }
