"""How LangChain's messages and documents are stored: the fields that differ from their defaults, by name."""

from collections.abc import Callable
from copy import copy
from typing import Any

from langchain_core import documents, messages
from pydantic import BaseModel

from durable_graph import StoredType

MESSAGES: tuple[type[BaseModel], ...] = (
    messages.AIMessage,
    messages.AIMessageChunk,
    messages.ChatMessage,
    messages.ChatMessageChunk,
    messages.FunctionMessage,
    messages.FunctionMessageChunk,
    messages.HumanMessage,
    messages.HumanMessageChunk,
    messages.RemoveMessage,
    messages.SystemMessage,
    messages.SystemMessageChunk,
    messages.ToolMessage,
    messages.ToolMessageChunk,
)

_SET = "__fields_set__"
_EXTRA = "__extra__"


def stored(cls: type[BaseModel]) -> StoredType[Any]:
    """The class is stored under its name: a class of this name that moves inside of LangChain stays what it is."""
    defaults = _defaults(cls)
    return StoredType(
        cls,
        f"langchain.{cls.__name__}",
        encode=lambda value: _encoded(cls, defaults, value),
        decode=lambda data: _decoded(cls, defaults, data),
        is_proven=True,
    )


def _defaults(cls: type[BaseModel]) -> dict[str, Callable[[], Any]]:
    """For each field that has a default what makes it; only those whose default can be compared are left out."""
    return {
        name: _maker(field.get_default(call_default_factory=True))
        for name, field in cls.model_fields.items()
        if not field.is_required()
    }


def _maker(default: Any) -> Callable[[], Any]:
    return (lambda: copy(default)) if isinstance(default, list | dict) else (lambda: default)


def _encoded(cls: type[BaseModel], defaults: dict[str, Callable[[], Any]], value: Any) -> dict[str, Any]:
    if type(value) is not cls:
        raise TypeError(
            f"it is a {type(value).__qualname__}, and only {cls.__qualname__} itself is known; "
            f"list a StoredType of the subclass in compile(types=[...])"
        )
    fields = vars(value)
    data = {name: item for name, item in fields.items() if name not in defaults or _differs(item, defaults[name]())}
    chosen = value.__pydantic_fields_set__
    if chosen != data.keys():
        data[_SET] = sorted(chosen)
    if value.__pydantic_extra__:
        data[_EXTRA] = dict(value.__pydantic_extra__)
    return data


def _differs(item: Any, default: Any) -> bool:
    return type(item) is not type(default) or item != default


def _decoded(cls: type[BaseModel], defaults: dict[str, Callable[[], Any]], data: Any) -> Any:
    fields = dict(data)
    extra = fields.pop(_EXTRA, {})
    chosen = fields.pop(_SET, None)
    names = set(fields) if chosen is None else set(chosen)
    values = {name: fields[name] if name in fields else defaults[name]() for name in cls.model_fields}
    if not fields.keys() <= values.keys():
        raise ValueError(f"{cls.__qualname__} has no field {', '.join(sorted(fields.keys() - values.keys()))}")
    made = object.__new__(cls)
    object.__setattr__(made, "__dict__", values)
    object.__setattr__(made, "__pydantic_fields_set__", names)
    object.__setattr__(made, "__pydantic_extra__", extra if cls.model_config.get("extra") == "allow" else None)
    object.__setattr__(made, "__pydantic_private__", None)
    return made


_CLASSES: tuple[type[BaseModel], ...] = (*MESSAGES, documents.Document)
TYPES = tuple(stored(cls) for cls in _CLASSES)
