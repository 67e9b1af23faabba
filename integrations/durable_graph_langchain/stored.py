"""Storing LangChain's messages and documents: the fields that differ from their defaults, by name."""

from collections.abc import Callable
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

_SLOTS = ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
"""The slots of a model's instance: its fields, the names of those that were set, extra fields, private attributes."""

_NO_DEFAULT = object()

_SET = "__fields_set__"
_EXTRA = "__extra__"


def stored(cls: type[BaseModel]) -> StoredType[Any]:
    """The `StoredType` of a class, with its name as the tag, so that the class may move inside LangChain."""
    defaults = _defaults(cls)
    return StoredType(
        cls,
        f"langchain.{cls.__name__}",
        encode=lambda value: _encoded(cls, defaults, value),
        decode=_decoder(cls, defaults),
        is_proven=True,
    )


def _defaults(cls: type[BaseModel]) -> dict[str, Any]:
    """The default of each field that has one. Lists and dicts have to be copied for each instance."""
    return {
        name: field.get_default(call_default_factory=True)
        for name, field in cls.model_fields.items()
        if not field.is_required()
    }


def _encoded(cls: type[BaseModel], defaults: dict[str, Any], value: Any) -> dict[str, Any]:
    if type(value) is not cls:
        raise TypeError(
            f"it is a {type(value).__qualname__}, and only {cls.__qualname__} itself is known; "
            f"list a StoredType of the subclass in compile(types=[...])"
        )
    fields = vars(value)
    data = {
        name: item
        for name, item in fields.items()
        if item is not (default := defaults.get(name, _NO_DEFAULT))
        and (type(item) is not type(default) or item != default)
    }
    chosen = value.__pydantic_fields_set__
    if chosen != data.keys():
        data[_SET] = sorted(chosen)
    if value.__pydantic_extra__:
        data[_EXTRA] = dict(value.__pydantic_extra__)
    return data


def _decoder(cls: type[BaseModel], defaults: dict[str, Any]) -> Callable[[Any], Any]:
    """A function from data to the instance. Each load of a thread calls it for every message. So the facts about the
    class are collected here, once, and the instance is made without pydantic's constructors, which do more work."""
    # The fields are in the order of the class, because the repr and the dump of an instance use this order.
    template = {name: defaults.get(name) for name in cls.model_fields}
    copied = [(name, default.copy) for name, default in defaults.items() if isinstance(default, list | dict)]
    names = template.keys()
    required = names - defaults.keys()
    has_extra = cls.model_config.get("extra") == "allow"
    new = object.__new__
    set_fields, set_chosen, set_extra, set_private = map(_setter, _SLOTS)

    def decoded(data: Any) -> Any:
        if data.keys() <= names:
            fields, chosen = data, set(data)
            extra: dict[str, Any] = {}
        else:
            fields, chosen, extra = _parted(cls, data)
        if not required <= fields.keys():
            raise ValueError(f"{cls.__qualname__} needs {', '.join(sorted(required - fields.keys()))}")
        values = template | fields
        for name, copy in copied:
            if name not in fields:
                values[name] = copy()
        made = new(cls)
        set_fields(made, values)
        set_chosen(made, chosen)
        set_extra(made, extra if has_extra else None)
        set_private(made, None)
        return made

    return decoded


def _setter(slot: str) -> Callable[[BaseModel, Any], None]:
    """A function that sets the slot. It does the same as `object.__setattr__`, without a lookup in each call."""
    setter: Callable[[BaseModel, Any], None] = BaseModel.__dict__[slot].__set__
    return setter


def _parted(cls: type[BaseModel], data: dict[str, Any]) -> tuple[dict[str, Any], set[str], dict[str, Any]]:
    """The fields that were stored, the names of those that were set, and the extra fields."""
    fields = dict(data)
    extra = fields.pop(_EXTRA, {})
    chosen = fields.pop(_SET, list(fields))
    if type(extra) is not dict or type(chosen) is not list or not {str}.issuperset(map(type, (*extra, *chosen))):
        raise ValueError(f"the names of fields of {cls.__qualname__} are not a list of str")
    if unknown := fields.keys() - cls.model_fields.keys():
        raise ValueError(f"{cls.__qualname__} has no field {', '.join(sorted(map(str, unknown)))}")
    return fields, set(chosen), extra


_CLASSES: tuple[type[BaseModel], ...] = (*MESSAGES, documents.Document)
TYPES = tuple(stored(cls) for cls in _CLASSES)
