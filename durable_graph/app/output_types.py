"""Type variables of the results of a run."""

from typing import Any, ClassVar, Protocol, TypeVar


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


class _Struct(Protocol):
    __struct_fields__: ClassVar[tuple[str, ...]]


class _Model(Protocol):
    __pydantic_fields__: ClassVar[dict[str, Any]]


RecordT = TypeVar("RecordT", bound=_Dataclass | _Struct | _Model)
"""An output class with fields: `ainvoke` returns a dict of the fields, not an instance."""
