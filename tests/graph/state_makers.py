"""A state class of each kind, with one key of a type that a test chooses."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypedDict

import msgspec
import pydantic

# Untyped: a type checker requires literal arguments.
_typed_dict: Any = TypedDict


def as_typed_dict(declared: Any, key: str = "log") -> Any:
    return _typed_dict("State", {key: declared})


def as_dataclass(declared: Any, key: str = "log") -> Any:
    return dataclasses.make_dataclass("State", [(key, declared)])


def as_struct(declared: Any, key: str = "log") -> Any:
    return msgspec.defstruct("State", [(key, declared)])


def as_model(declared: Any, key: str = "log") -> Any:
    fields: Any = {key: (declared, ...)}
    return pydantic.create_model("State", **fields)


Kind = Callable[[Any], Any]
KINDS: list[Kind] = [as_typed_dict, as_dataclass, as_struct, as_model]
