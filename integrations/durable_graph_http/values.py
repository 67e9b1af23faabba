"""Values of a state as JSON."""

import dataclasses
from collections.abc import Mapping, Set
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec


def encoded(value: object) -> bytes:
    """The value as JSON. Every value that a state can hold has one: what JSON does not know is shown by its data, and
    what has no data by its text.

    A message of LangChain and any other pydantic model is the object of its fields, bytes are base64, times are in ISO
    8601, sets are lists, an error is `{"error": class, "message": text}`, and keys of dicts are texts.
    """
    try:
        return _ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError):
        # A dict whose keys are no texts, or a lone surrogate.
        return _ENCODER.encode(_plain(value, 0))


def encoded_text(value: object) -> str:
    """`encoded`, as text in one line."""
    return encoded(value).decode()


def _shown(value: Any) -> Any:
    if hasattr(value, "model_dump") and not isinstance(value, type):
        return value.model_dump()
    match value:
        case BaseException():
            return {"error": type(value).__name__, "message": str(value)}
        case Mapping():
            return dict(value)
        case Set():
            return list(value)
        case _:
            return str(value)


_ENCODER = msgspec.json.Encoder(enc_hook=_shown)
_DEEPEST = 100


def _plain(value: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        return "..."
    match value:
        case None | bool() | int() | float() | bytes():
            return value
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case Mapping():
            return {str(_plain(key, depth + 1)): _plain(each, depth + 1) for key, each in value.items()}
        case date() | time() | timedelta() | Decimal() | UUID() | Enum():
            # As the encoder shows them.
            return _plain(msgspec.to_builtins(value), depth + 1)
        case list() | tuple() | Set():
            return [_plain(each, depth + 1) for each in value]
        case msgspec.Struct():
            return _plain(msgspec.structs.asdict(value), depth + 1)
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {each.name: _plain(getattr(value, each.name), depth + 1) for each in dataclasses.fields(value)}
        case _:
            return _plain(_shown(value), depth + 1)
