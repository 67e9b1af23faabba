"""Messages that arrive in chunks: each is put together again."""

from collections.abc import Mapping
from typing import Any

import msgspec

from durable_graph import Event, EventsRetracted, MessageEvent, TaskFailed, TaskFinished

CHUNK = "Chunk"

_TYPES = {"AIMessage": "ai", "HumanMessage": "human", "SystemMessage": "system", "ToolMessage": "tool"}


class SeenMessage(msgspec.Struct, frozen=True):
    """A message as far as its event completes it. `is_first`: no event before had its id. `is_repeated`: its chunks
    were emitted before, and this is the same message as a whole."""

    id: str | None
    whole: Any
    is_first: bool
    is_chunk: bool
    is_repeated: bool


class PartialMessages:
    """Puts the messages of one run together. It has to see every event of the run, from the first one on."""

    def __init__(self) -> None:
        # The chunks so far, by the id of the message, until the task that streams it has ended.
        self._open: dict[str, Any] = {}
        # The ids of messages, by the task that emitted them first.
        self._ids: dict[str, str] = {}

    def see(self, event: Event) -> SeenMessage | None:
        """The message of an event, None for another event."""
        match event:
            case MessageEvent():
                return self._message(event)
            case EventsRetracted(task_id=task):
                self._close(task)
                self._ids = {id_: other for id_, other in self._ids.items() if other != task}
            case TaskFinished(task_id=task) | TaskFailed(task_id=task):
                self._close(task)
            case _:
                pass
        return None

    def _close(self, task: str) -> None:
        for id_ in [id_ for id_ in self._open if self._ids.get(id_) == task]:
            del self._open[id_]

    def _message(self, event: MessageEvent) -> SeenMessage:
        message = event.message
        given = field_of(message, "id")
        id_ = str(given) if isinstance(given, str | int) and not isinstance(given, bool) else None
        is_chunk = is_message_chunk(message)
        if id_ is None:
            return SeenMessage(None, message, is_first=True, is_chunk=is_chunk, is_repeated=False)
        is_first = id_ not in self._ids
        self._ids.setdefault(id_, event.task_id)
        if not is_chunk:
            self._open.pop(id_, None)
            is_repeated = event.origin == "returned" and not is_first
            return SeenMessage(id_, message, is_first=is_first, is_chunk=False, is_repeated=is_repeated)
        before = self._open.get(id_)
        whole = self._open[id_] = message if before is None else _joined(before, message)
        return SeenMessage(id_, whole, is_first=is_first, is_chunk=True, is_repeated=False)


def field_of(message: object, name: str) -> Any:
    """A field of a message: of an object of LangChain, or of a dict. None if it has none."""
    return message.get(name) if isinstance(message, Mapping) else getattr(message, name, None)


def is_message_chunk(message: object) -> bool:
    """Whether the message is a chunk of a message."""
    kind = field_of(message, "type")
    return isinstance(kind, str) and kind.endswith(CHUNK)


def fields_of(message: object) -> dict[str, Any]:
    """The fields of a message, a chunk's as those of a whole message."""
    dump = getattr(message, "model_dump", None)
    found: Any = dump() if callable(dump) else message
    fields: dict[str, Any] = dict(found) if isinstance(found, Mapping) else {"content": str(found)}
    kind = fields.get("type")
    if isinstance(kind, str) and kind.endswith(CHUNK):
        whole = kind.removesuffix(CHUNK)
        fields["type"] = _TYPES.get(whole, whole.removesuffix("Message").lower())
        fields.pop("tool_call_chunks", None)
        fields.pop("chunk_position", None)
    return fields


def _joined(before: Any, chunk: Any) -> Any:
    if isinstance(before, Mapping) and isinstance(chunk, Mapping):
        old, new = before.get("content"), chunk.get("content")
        content = old + new if isinstance(old, str) and isinstance(new, str) else new
        return {**before, **chunk, "content": content}
    return before + chunk
