"""Messages in the thread streaming protocol: a start, content blocks with deltas, an end; and calls of tools."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from durable_graph import Event, EventsRetracted, MessageEvent, TaskFailed, TaskFinished
from durable_graph_http.partial_messages import CHUNK, field_of, fields_of, is_message_chunk

_ROLES = {"ai": "ai", "human": "human", "system": "system", "tool": "tool"}
_GROWING = {"text": "text", "reasoning": "reasoning", "tool_call_chunk": "args"}
_DELTAS = {"text": "text-delta", "reasoning": "reasoning-delta", "tool_call_chunk": "tool-call-delta"}


class _Open(msgspec.Struct):
    """A message of which there are chunks so far: its blocks by their place, and where the parts of a chunk go."""

    task: str
    blocks: list[dict[str, Any]] = []
    places: dict[Any, int] = {}
    usage: dict[str, Any] = {}
    metadata: dict[str, Any] = {}


class MessageProtocol:
    """Makes the protocol's events of the messages of one run: `(channel, data)` pairs. It has to see every event of
    the run, from the first one on."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}
        self._finished: set[str] = set()

    def __call__(self, event: Event) -> Iterator[tuple[str, dict[str, Any]]]:
        """The protocol's events of an event."""
        match event:
            case MessageEvent():
                yield from self._message(event)
            case EventsRetracted(task_id=task):
                for id_ in self._of(task):
                    del self._open[id_]
                    yield "messages", _about(id_, {"event": "error", "message": "another attempt at the task starts"})
            case TaskFinished(task_id=task) | TaskFailed(task_id=task):
                for id_ in self._of(task):
                    yield from self._end(id_)
            case _:
                pass

    def _of(self, task: str) -> list[str]:
        return [id_ for id_, message in self._open.items() if message.task == task]

    def _message(self, event: MessageEvent) -> Iterator[tuple[str, dict[str, Any]]]:
        message = event.message
        if "nostream" in (event.metadata.get("tags") or ()):
            return
        id_ = str(field_of(message, "id") or f"{event.task_id}:{event.at}")
        if is_message_chunk(message):
            yield from self._chunk(id_, event)
        elif id_ in self._open:
            yield from self._end(id_)
        elif id_ not in self._finished:
            yield from self._chunk(id_, event)
            yield from self._end(id_)
        if field_of(message, "type") == "tool":
            yield from _tool_result(message)

    def _chunk(self, id_: str, event: MessageEvent) -> Iterator[tuple[str, dict[str, Any]]]:
        message = event.message
        opened = self._open.get(id_)
        if opened is None:
            opened = self._open[id_] = _Open(event.task_id)
            yield "messages", _start(id_, event)
        for key, block in blocks_of(message):
            yield from _block(id_, opened, key, block)
        usage, metadata = field_of(message, "usage_metadata"), field_of(message, "response_metadata")
        if isinstance(usage, Mapping):
            opened.usage = _added(opened.usage, usage)
        if isinstance(metadata, Mapping):
            opened.metadata.update(metadata)
        if field_of(message, "chunk_position") == "last":
            yield from self._end(id_)

    def _end(self, id_: str) -> Iterator[tuple[str, dict[str, Any]]]:
        opened = self._open.pop(id_)
        self._finished.add(id_)
        done = [_finished(block) for block in opened.blocks]
        for index, block in enumerate(done):
            yield "messages", _about(id_, {"event": "content-block-finish", "index": index, "content": block})
        finish: dict[str, Any] = {"event": "message-finish"}
        if opened.usage:
            finish["usage"] = opened.usage
        if opened.metadata:
            finish["metadata"] = opened.metadata
        yield "messages", _about(id_, finish)
        for block in done:
            if block.get("type") == "tool_call" and block.get("id"):
                call = {"tool_call_id": block["id"], "tool_name": block["name"], "input": block["args"]}
                yield "tools", {"event": "tool-started", **call}


def _about(id_: str, data: dict[str, Any]) -> dict[str, Any]:
    """The data with the message that it is about: clients that read several messages at once look for one of these."""
    return {**data, "message_id": id_, "run_id": id_}


def _start(id_: str, event: MessageEvent) -> dict[str, Any]:
    kind = str(field_of(event.message, "type") or "ai")
    role = kind.removesuffix(CHUNK).removesuffix("Message").lower() if kind.endswith(CHUNK) else kind
    about = {
        "provider": event.metadata.get("ls_provider"),
        "model": event.metadata.get("ls_model_name"),
        "model_type": event.metadata.get("ls_model_type"),
        "langgraph_node": event.node,
    }
    start: dict[str, Any] = {"event": "message-start", "role": _ROLES.get(role, role), "id": id_}
    start["metadata"] = {name: value for name, value in about.items() if value is not None}
    called = field_of(event.message, "tool_call_id")
    if called:
        start["tool_call_id"] = called
    return {**start, "run_id": id_}


def blocks_of(message: object) -> list[tuple[Any, dict[str, Any]]]:
    """The content blocks of a message or a chunk, each with a key that is the same in the chunks that it is part of."""
    found: Any = getattr(message, "content_blocks", None)
    blocks = found if isinstance(found, list) else _plain_blocks(fields_of(message))
    keyed: list[tuple[Any, dict[str, Any]]] = []
    for place, block in enumerate(blocks):
        if isinstance(block, Mapping):
            plain = dict(block)
            index = plain.get("index")
            keyed.append(((plain.get("type"), place) if index is None else index, plain))
    return keyed


def _plain_blocks(fields: Mapping[str, Any]) -> list[Any]:
    content = fields.get("content")
    blocks: list[Any] = [{"type": "text", "text": content}] if isinstance(content, str) and content else []
    if isinstance(content, list):
        blocks = [{"type": "text", "text": each} if isinstance(each, str) else each for each in content]
    calls = fields.get("tool_calls")
    return [*blocks, *({**call, "type": "tool_call"} for call in calls or () if isinstance(call, Mapping))]


def _block(id_: str, opened: _Open, key: Any, block: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    kind = str(block.get("type", "text"))
    growing = _GROWING.get(kind)
    index = opened.places.get(key)
    if index is None:
        index = opened.places[key] = len(opened.blocks)
        first = {**block, growing: ""} if growing else {**block, **({"args": {}} if kind == "tool_call" else {})}
        opened.blocks.append(dict(first) if growing else block)
        yield "messages", _about(id_, {"event": "content-block-start", "index": index, "content": first})
    elif not growing:
        opened.blocks[index] = block
    if growing is None:
        return
    own, more = opened.blocks[index], block.get(growing) or ""
    own.update({name: value for name, value in block.items() if value is not None and name != growing})
    own[growing] = (own.get(growing) or "") + more
    if more:
        delta = {"type": _DELTAS[kind], growing: more}
        yield "messages", _about(id_, {"event": "content-block-delta", "index": index, "delta": delta})


def _finished(block: dict[str, Any]) -> dict[str, Any]:
    """The whole block. The arguments of a tool's call become an object, if they are one."""
    if block.get("type") != "tool_call_chunk":
        return block
    text = block.get("args") or "{}"
    call = {"id": block.get("id") or "", "name": block.get("name") or ""}
    try:
        arguments = json.loads(text)
    except ValueError:
        error = "The arguments of the call are no JSON"
        return {"type": "invalid_tool_call", **call, "args": text, "error": error}
    return {"type": "tool_call", **call, "args": arguments}


def _added(before: Mapping[str, Any], usage: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(before)
    for name, value in usage.items():
        old = found.get(name)
        is_number = isinstance(value, int) and isinstance(old, int)
        found[name] = old + value if is_number else value
    return found


def _tool_result(message: object) -> Iterator[tuple[str, dict[str, Any]]]:
    called = field_of(message, "tool_call_id")
    if not isinstance(called, str):
        return
    content = field_of(message, "content")
    if field_of(message, "status") == "error":
        yield "tools", {"event": "tool-error", "tool_call_id": called, "message": str(content)}
    else:
        yield "tools", {"event": "tool-finished", "tool_call_id": called, "output": content}
