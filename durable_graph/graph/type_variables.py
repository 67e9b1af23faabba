"""The type variables of graphs. Those with defaults may be omitted: `StateGraph[State]`."""

import sys
from typing import Any, ClassVar, Protocol

if sys.version_info >= (3, 13):
    from typing import TypeVar
else:
    from typing_extensions import TypeVar

StateT = TypeVar("StateT", default=Any)
ContextT = TypeVar("ContextT", default=Any)
# A node that accepts a base class of the context also accepts the context.
ContextT_co = TypeVar("ContextT_co", default=Any, covariant=True)
InputT = TypeVar("InputT", default=StateT)
OutputT = TypeVar("OutputT", default=StateT)
# The type of `runtime` in nodes. A higher layer defines the class.
RuntimeT = TypeVar("RuntimeT", default=Any)
NodeNameT = TypeVar("NodeNameT", bound=str, default=str)


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


class _Struct(Protocol):
    __struct_fields__: ClassVar[tuple[str, ...]]


class _Model(Protocol):
    __pydantic_fields__: ClassVar[dict[str, Any]]


RecordT = TypeVar("RecordT", bound=_Dataclass | _Struct | _Model)
"""An output class with fields: `ainvoke` returns a dict of the fields, not an instance."""

__all__ = ["ContextT", "ContextT_co", "InputT", "NodeNameT", "OutputT", "RecordT", "RuntimeT", "StateT"]
