"""States whose annotations are kept as text, as `from __future__ import annotations` does it."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Annotated, Generic, NotRequired, Optional, Required, TypedDict, TypeVar

import msgspec
import pydantic
from typing_extensions import ReadOnly, TypeAliasType

from durable_graph import UntrackedValue

T = TypeVar("T")
Log = Annotated[list[T], operator.add]
NamedLog = TypeAliasType("NamedLog", Annotated[list[T], operator.add], type_params=(T,))
Secret = TypeAliasType("Secret", "Annotated[object, UntrackedValue]")


class AsTypedDict(TypedDict, total=False):
    plain: Annotated[list[str], operator.add]
    optional: Annotated[list[str], operator.add] | None
    alias: Log[str]
    named: NamedLog[str]
    either: Optional[NamedLog[str]]  # noqa: UP045  # what the test is about
    quoted: "Log[str] | None"  # noqa: UP037  # what the test is about
    required: Required[Log[str]]
    not_required: NotRequired[ReadOnly[NamedLog[str]]]
    secret: Secret


class AsGenericDict(TypedDict, Generic[T], total=False):
    plain: Annotated[list[T], operator.add]
    optional: Log[T] | None
    named: NamedLog[T]
    secret: Secret


class AsInheritedDict(AsGenericDict[str], total=False):
    either: Optional[NamedLog[str]]  # noqa: UP045  # what the test is about


@dataclass
class AsDataclass(Generic[T]):
    plain: Annotated[list[T], operator.add]
    optional: Annotated[list[T], operator.add] | None
    alias: Log[T]
    named: NamedLog[T]
    either: Optional[NamedLog[T]]  # noqa: UP045  # what the test is about
    secret: Secret


class AsStruct(msgspec.Struct):
    plain: Annotated[list[str], operator.add]
    optional: Annotated[list[str], operator.add] | None
    alias: Log[str]
    named: NamedLog[str]
    either: Optional[NamedLog[str]]  # noqa: UP045  # what the test is about
    secret: Secret


class AsModel(pydantic.BaseModel):
    plain: Annotated[list[str], operator.add]
    optional: Annotated[list[str], operator.add] | None
    alias: Log[str]
    named: NamedLog[str]
    either: Optional[NamedLog[str]]  # noqa: UP045  # what the test is about
    secret: Secret
