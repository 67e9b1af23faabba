"""TypedDicts whose annotations are kept as text: Python's own `__required_keys__` sees no qualifiers in them."""

from __future__ import annotations

from typing import Annotated, Any, Generic, NotRequired, Required, TypedDict, TypeVar

import msgspec
import typing_extensions
from typing_extensions import ReadOnly

T = TypeVar("T")


class Total(TypedDict):
    always: int
    maybe: NotRequired[int]
    maybe_noted: Annotated[NotRequired[int], "a remark"]
    maybe_fixed: ReadOnly[NotRequired[int]]
    fixed: ReadOnly[int]


class Partial(TypedDict, total=False):
    maybe: int
    always: Required[int]
    always_noted: Annotated[Required[ReadOnly[int]], "a remark"]


class PartialFromTotal(Total, total=False):
    maybe_too: int
    always_too: Required[int]


class TotalFromPartial(Partial):
    always_too: int
    maybe_too: NotRequired[int]


class Narrowed(Total, total=False):
    always: int  # type: ignore[misc]  # Python allows it


class Of(TypedDict, Generic[T]):
    always: T
    maybe: NotRequired[T]


class OfInts(Of[int], total=False):
    maybe_too: int


class Twin(typing_extensions.TypedDict):
    always: int
    maybe: typing_extensions.NotRequired[int]


Call = TypedDict("Call", {"always": "int", "maybe-not": "NotRequired[int]"})


def linked_in_a_function() -> Any:
    """Instances of a Struct that is local to a function and refers to itself."""

    class Link(msgspec.Struct):
        size: int
        next: Link | None = None
        others: list[Link] = []

    return Link(1, Link(2), [Link(3)])
