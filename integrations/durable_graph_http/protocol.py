"""Events of runs in the thread streaming protocol of LangGraph's clients: `{type, event_id, seq, method, params}`.

`seq` is `event id * 64 + place`, where an event makes one or several protocol events. It is the same in every process
and on every connection. An event that makes more than `PLACES` protocol events gives the first ones one `seq` for all,
after which a client that reconnects gets all of them again: `event_id` is unique, and clients drop what they have seen.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from durable_graph import (
    CheckpointCommitted,
    CustomEvent,
    Event,
    EventsRetracted,
    Interrupt,
    LoggedEvent,
    MessageEvent,
    RunInterrupted,
    TaskFailed,
    TaskFinished,
    TaskInterrupted,
)
from durable_graph.extending import ItemsOfEvent
from durable_graph_http.frames import event_shown, retraction, with_questions
from durable_graph_http.message_protocol import MessageProtocol
from durable_graph_http.partial_messages import field_of

STEPS = 64
PLACES = STEPS - 4
"""The number of protocol events of an event that have a `seq` of their own. The last ones are for the run's end."""
END = STEPS - 1
"""The place of the end of a run."""

LEG_MARK = "~"
"""Separates the id of a run from the name of a part of it."""

CHANNELS = ("values", "updates", "messages", "tools", "lifecycle", "input", "checkpoints", "tasks", "custom")

_METHODS = {"input": "input.requested"}

Ending = Literal["completed", "failed"]


class ProtocolEvent(msgspec.Struct, frozen=True):
    """One event of the protocol. `channel` is the one that a client subscribes to."""

    seq: int
    event_id: str
    channel: str
    ns: tuple[str, ...]
    data: Any
    at: float
    node: str | None = None

    def shown(self) -> dict[str, Any]:
        """The event as it is sent. Its time is in milliseconds."""
        params: dict[str, Any] = {"namespace": self.ns, "timestamp": round(self.at * 1000), "data": self.data}
        if self.node is not None:
            params["node"] = self.node
        return {
            "type": "event",
            "event_id": self.event_id,
            "seq": self.seq,
            "method": _METHODS.get(self.channel, self.channel),
            "params": params,
        }

    def is_after(self, since: int) -> bool:
        """Whether a client that has seen everything up to `since` gets the event."""
        # The `seq` without a place is shared by several events, of which the client may have got some only.
        return self.seq > since or (self.seq == since and since % STEPS == 0)


class _Made(msgspec.Struct, frozen=True):
    """A protocol event without its number. `leg` names the part of the run whose boundary it is."""

    channel: str
    ns: tuple[str, ...]
    data: Any
    node: str | None = None
    leg: str | None = None


class RunProtocol:
    """Makes the protocol events of one run. It has to see every event of the run, from the first one on."""

    def __init__(self, items: ItemsOfEvent, run_id: str, graph: str, shown: str) -> None:
        self._items, self._run_id, self._graph, self._shown = items, run_id, graph, shown
        self._messages = MessageProtocol()
        # From a question to its answer, a run is several runs for clients: each is named by where it begins.
        self._leg: str | None = None
        self._legs = 0
        self._namespaces: set[tuple[str, ...]] = set()
        self._asked: set[str] = set()
        # The ids of tasks as namespaces of nested graphs have them.
        self._task_ids: dict[str, str] = {}

    def __call__(self, logged: LoggedEvent) -> list[ProtocolEvent]:
        """The protocol events of an event."""
        event = event_shown(logged.event, self._shown)
        made = list(self._made(logged.id, event))
        shared = max(len(made) - PLACES, 0)
        return [
            self._numbered(logged.id * STEPS + max(number + 1 - shared, 0), number, each, event.at)
            for number, each in enumerate(made)
        ]

    def ended(self, last_event: int, ending: Ending, at: float, error: str | None = None) -> ProtocolEvent:
        """The end of the run, whose last event has this id."""
        data: dict[str, Any] = {"event": ending, "graph_name": self._graph}
        if error is not None:
            data["error"] = error
        leg = self._leg or self._next_leg(last_event)
        self._leg = None
        return self._numbered(last_event * STEPS + END, END, _Made("lifecycle", (), data, leg=leg), at)

    def _numbered(self, seq: int, number: int, made: _Made, at: float) -> ProtocolEvent:
        place = f"{seq // STEPS}.{number}"
        # Clients read the run from the id of an event that begins or ends one.
        event_id = f"{self._run_id}:{place}" if made.leg is None else f"synth:{made.leg}:{place}"
        return ProtocolEvent(seq, event_id, made.channel, made.ns, made.data, at, made.node)

    def _next_leg(self, event: int) -> str:
        self._legs += 1
        return self._run_id if self._legs == 1 else f"{self._run_id}{LEG_MARK}{event}"

    # What an event makes

    def _made(self, id_: int, event: Event) -> Iterator[_Made]:
        if self._leg is None:
            self._leg = self._next_leg(id_)
            self._asked.clear()
            yield _Made("lifecycle", (), {"event": "running", "graph_name": self._graph}, leg=self._leg)
        yield from self._begun(event)
        if isinstance(event, CheckpointCommitted):
            self._note_tasks(event)
            yield _Made("checkpoints", event.ns, _checkpoint(event))
        yield from self._of_items(id_, event)
        for channel, data in self._messages(event):
            yield _Made(channel, event.ns, data, node=getattr(event, "node", None))
        yield from self._requests(event)
        yield from self._over(event)

    def _begun(self, event: Event) -> Iterator[_Made]:
        """A nested graph starts with its first event."""
        if event.ns and event.ns not in self._namespaces:
            self._namespaces.add(event.ns)
            name = event.ns[-1].partition(":")[0]
            yield _Made("lifecycle", event.ns, {"event": "started", "graph_name": name})

    def _note_tasks(self, event: CheckpointCommitted) -> None:
        for task in event.tasks:
            if task.checkpoint_ns is not None:
                self._task_ids[task.id] = task.checkpoint_ns.rpartition("|")[2].partition(":")[2]

    def _of_items(self, id_: int, event: Event) -> Iterator[_Made]:
        match event:
            case CustomEvent():
                yield _Made("custom", event.ns, _custom(event.data), node=event.node)
                return
            case EventsRetracted():
                void = retraction(id_ * STEPS, event)["retract"]
                yield _Made("custom", event.ns, {"name": "retract", "payload": void}, node=event.node)
                return
            case MessageEvent():
                return
            case _:
                pass
        asked = with_questions(event)
        for mode, payload in self._items(asked) if asked is not None else ():
            match mode:
                case "values":
                    yield from _values(event.ns, payload)
                case "updates" if isinstance(event, TaskFinished):
                    yield _Made("updates", event.ns, _update(event.node, payload.get(event.node)), node=event.node)
                case "tasks":
                    yield _Made("tasks", event.ns, {**payload, "id": self._task_ids.get(payload["id"], payload["id"])})
                case _:
                    pass

    def _requests(self, event: Event) -> Iterator[_Made]:
        """A request for each question, from the innermost task that asks it."""
        if not isinstance(event, TaskInterrupted | RunInterrupted):
            return
        for each in event.interrupts:
            if each.is_question and each.id not in self._asked:
                self._asked.add(each.id)
                yield _Made("input", event.ns, _request(each))

    def _over(self, event: Event) -> Iterator[_Made]:
        match event:
            case RunInterrupted() if with_questions(event) is not None:
                leg, self._leg = self._leg, None
                yield _Made("lifecycle", (), {"event": "interrupted", "graph_name": self._graph}, leg=leg)
            case CheckpointCommitted(next=()) if event.ns:
                yield _Made("lifecycle", event.ns, {"event": "completed", "graph_name": _name_of(event.ns)})
            case TaskFailed(will_retry=False) if event.ns:
                data = {"event": "failed", "graph_name": _name_of(event.ns), "error": event.error}
                yield _Made("lifecycle", event.ns, data)
            case _:
                pass


def _values(ns: tuple[str, ...], payload: Any) -> Iterator[_Made]:
    """The state; its interrupts have events of their own."""
    if not isinstance(payload, dict) or "__interrupt__" not in payload:
        yield _Made("values", ns, payload)
    elif len(payload) > 1:
        yield _Made("values", ns, {name: value for name, value in payload.items() if name != "__interrupt__"})


def _name_of(ns: tuple[str, ...]) -> str:
    return ns[-1].partition(":")[0]


def _checkpoint(event: CheckpointCommitted) -> dict[str, Any]:
    found = {"id": event.checkpoint_id, "step": event.step, "source": event.source}
    return found if event.parent_checkpoint_id is None else {**found, "parent_id": event.parent_checkpoint_id}


def _update(node: str, update: object) -> dict[str, Any]:
    return {"node": node, "values": update if isinstance(update, Mapping) else {} if update is None else update}


def _custom(data: object) -> dict[str, Any]:
    name = field_of(data, "name") if isinstance(data, Mapping) else None
    return {"name": name, "payload": data} if isinstance(name, str) and name else {"payload": data}


def _request(interrupt: Interrupt) -> dict[str, Any]:
    # Clients in JavaScript read `payload`, those in Python `value`.
    return {"interrupt_id": interrupt.id, "payload": interrupt.value, "value": interrupt.value}


class Subscription(msgspec.Struct, frozen=True):
    """What a client of a thread's stream asks for."""

    channels: frozenset[str]
    namespaces: tuple[tuple[str, ...], ...] | None = None
    depth: int | None = None

    def takes(self, event: ProtocolEvent) -> bool:
        """Whether the client gets the event."""
        return self._takes_channel(event) and self._takes_namespace(event.ns)

    def _takes_channel(self, event: ProtocolEvent) -> bool:
        if event.channel in self.channels:
            return True
        name = event.data.get("name") if event.channel == "custom" else None
        return name is not None and f"custom:{name}" in self.channels

    def _takes_namespace(self, ns: tuple[str, ...]) -> bool:
        if not self.namespaces:
            return self.depth is None or len(ns) <= self.depth
        return any(
            _has_prefix(ns, prefix) and (self.depth is None or len(ns) - len(prefix) <= self.depth)
            for prefix in self.namespaces
        )


def _has_prefix(ns: tuple[str, ...], prefix: tuple[str, ...]) -> bool:
    """Whether the namespace begins with the prefix, whose parts may be names of nodes alone."""
    return len(prefix) <= len(ns) and all(
        part in (own, own.partition(":")[0]) for part, own in zip(prefix, ns, strict=False)
    )
