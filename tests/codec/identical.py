"""The equality of round trips: equal and of the same type throughout, including details that `==` ignores."""

import dataclasses
import struct
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from datetime import datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pydantic
import pydantic_core


def identical(one: Any, other: Any) -> bool:
    """Whether a program can distinguish the two values by nothing but object identity."""
    if type(one) is not type(other):
        return False
    for kind, same in SAME:
        if isinstance(one, kind):
            return same(one, other)
    if dataclasses.is_dataclass(one):
        return all(identical(getattr(one, field.name), getattr(other, field.name)) for field in dataclasses.fields(one))
    return bool(one == other)


def _same_moment(one: datetime | time, other: datetime | time) -> bool:
    plain, other_plain = one.replace(tzinfo=None), other.replace(tzinfo=None)
    return plain == other_plain and one.fold == other.fold and _same_zone(one.tzinfo, other.tzinfo)


def _same_set(one: Any, other: Any) -> bool:
    return len(one) == len(other) and all(any(identical(item, found) for found in other) for item in one)


def _same_mapping(one: Any, other: Any) -> bool:
    same_factory = not isinstance(one, defaultdict) or one.default_factory is other.default_factory
    return same_factory and _same_items(list(one.items()), list(other.items()))


def _same_items(one: Any, other: Any) -> bool:
    return len(one) == len(other) and all(map(identical, one, other))


def _same_model(one: pydantic.BaseModel, other: pydantic.BaseModel) -> bool:
    parts = ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
    return all(identical(getattr(one, part), getattr(other, part)) for part in parts)


def _same_struct(one: msgspec.Struct, other: msgspec.Struct) -> bool:
    return all(identical(getattr(one, name), getattr(other, name)) for name in type(one).__struct_fields__)


def _same_zone(one: tzinfo | None, other: tzinfo | None) -> bool:
    if isinstance(one, ZoneInfo) and isinstance(other, ZoneInfo):
        return one.key == other.key
    if isinstance(one, pydantic_core.TzInfo) and isinstance(other, pydantic_core.TzInfo):
        return one.utcoffset(None) == other.utcoffset(None)
    moment = datetime(2024, 1, 1)  # noqa: DTZ001 - a fixed offset is the same at every moment
    if isinstance(one, timezone) and isinstance(other, timezone):
        return one.utcoffset(moment) == other.utcoffset(moment) and one.tzname(moment) == other.tzname(moment)
    return one is None and other is None


def offset(hours: float, name: str | None = None) -> timezone:
    delta = timedelta(hours=hours)
    return timezone(delta) if name is None else timezone(delta, name)


SAME: tuple[tuple[Any, Callable[[Any, Any], bool]], ...] = (
    (float, lambda one, other: struct.pack(">d", one) == struct.pack(">d", other)),
    (Decimal, lambda one, other: bool(one.as_tuple() == other.as_tuple())),
    (Enum, lambda one, other: one is other),
    ((datetime, time), _same_moment),
    ((set, frozenset), _same_set),
    (Mapping, _same_mapping),
    (deque, lambda one, other: one.maxlen == other.maxlen and _same_items(one, other)),
    ((list, tuple), _same_items),
    (pydantic.BaseModel, _same_model),
    (msgspec.Struct, _same_struct),
)
