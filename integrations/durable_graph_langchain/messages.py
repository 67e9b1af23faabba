"""Message events: tokens and messages of chat models, and messages that nodes return."""

import dataclasses
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, GenerationChunk, LLMResult
from pydantic import BaseModel

from durable_graph import Command

T = TypeVar("T")
Emit = Callable[[Any, Mapping[str, Any], Any], None]

NO_STREAM: Final = "nostream"
"""A model with this tag emits no message events."""


class MessageHandler(BaseCallbackHandler):
    """Emits the messages of the chat models that one node or task calls.

    With this handler among their callbacks, models that can stream do so, also for `invoke`.
    """

    run_inline = True
    # If the reader is too slow, the error is raised in the code that emits the messages.
    raise_error = True

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._metadata: dict[UUID, dict[str, Any]] = {}
        self._streaming: set[UUID] = set()

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A call of a model starts."""
        if tags and NO_STREAM in tags:
            return
        # Tags that mark places in chains and graphs are no tags of the user.
        own = [tag for tag in tags or () if not tag.startswith("seq:step")]
        self._metadata[run_id] = {**(metadata or {}), "tags": own} if own else dict(metadata or {})

    def on_llm_new_token(
        self,
        token: str | list[str | dict[str, Any]],
        *,
        chunk: GenerationChunk | ChatGenerationChunk | None = None,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """A model streams a chunk of its message."""
        metadata = self._metadata.get(run_id)
        if metadata is not None and isinstance(chunk, ChatGenerationChunk):
            self._streaming.add(run_id)
            self._emit(chunk.message, metadata, "streamed")

    def on_llm_end(
        self, response: LLMResult, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        """A call of a model ends with its message."""
        metadata = self._metadata.pop(run_id, None)
        was_streamed = run_id in self._streaming
        self._streaming.discard(run_id)
        if metadata is None or was_streamed or not response.generations or not response.generations[0]:
            return
        generation = response.generations[0][0]
        if isinstance(generation, ChatGeneration):
            self._emit(generation.message, metadata, "streamed")

    def on_llm_error(
        self, error: BaseException, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        """A call of a model fails."""
        self._metadata.pop(run_id, None)
        self._streaming.discard(run_id)

    # LangChain's models stream on `invoke` if a handler has these two methods.

    def tap_output_aiter(self, run_id: UUID, output: AsyncIterator[T]) -> AsyncIterator[T]:
        """The stream, unchanged."""
        return output

    def tap_output_iter(self, run_id: UUID, output: Iterator[T]) -> Iterator[T]:
        """The stream, unchanged."""
        return output


class Returned:
    """A result of code, and its messages: in `result` each message has an id.

    The ids are derived from `place`, so emitted and stored messages have the same ids.
    """

    def __init__(self, result: Any, place: str) -> None:
        self._place = place
        self._ids: dict[int, BaseMessage] = {}
        self.messages: list[BaseMessage] = []
        self.result: Any = self._part(result)

    def _part(self, part: Any) -> Any:
        if isinstance(part, Command):
            update = self._part(part.update)
            return part if update is part.update else dataclasses.replace(part, update=update)
        if isinstance(part, BaseMessage):
            return self._message(part)
        if isinstance(part, list | tuple):
            return self._same(part, [self._part(each) for each in part])
        if isinstance(part, dict):
            values = {key: self._value(value) for key, value in part.items()}
            return part if all(values[key] is value for key, value in part.items()) else values
        for value in _fields_of(part):
            self._value(value)
        return part

    def _value(self, value: Any) -> Any:
        if isinstance(value, BaseMessage):
            return self._message(value)
        if isinstance(value, list | tuple):
            items = [self._message(each) if isinstance(each, BaseMessage) else each for each in value]
            return self._same(value, items)
        return value

    def _same(self, given: Sequence[Any], items: list[Any]) -> Any:
        """The given sequence if its items are unchanged, otherwise a new one."""
        if all(one is other for one, other in zip(given, items, strict=True)):
            return given
        return items if isinstance(given, list) else tuple(items)

    def _message(self, message: BaseMessage) -> BaseMessage:
        known = self._ids.get(id(message))
        if known is not None:
            return known
        told = message if message.id is not None else message.model_copy(update={"id": self._new_id()})
        # The result refers to the message, so no other object gets the same id.
        self._ids[id(message)] = told
        self.messages.append(told)
        return told

    def _new_id(self) -> str:
        text = f"{self._place} {len(self.messages)}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def ids_in(given: Any) -> set[str]:
    """The ids of the messages in a state or in an argument."""
    found: set[str] = set()
    for value in given.values() if isinstance(given, dict) else _fields_of(given):
        for each in value if isinstance(value, list | tuple) else (value,):
            if isinstance(each, BaseMessage) and each.id is not None:
                found.add(each.id)
    return found


def _fields_of(value: Any) -> list[Any]:
    """The values of an instance of a state's class."""
    if isinstance(value, type):
        return []
    if isinstance(value, BaseModel):
        names: Sequence[str] = list(type(value).model_fields)
    elif dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
    else:
        names = getattr(type(value), "__struct_fields__", ())
    return [getattr(value, name) for name in names if hasattr(value, name)]
