"""The type variables that graphs are generic in. Those with defaults may be left out: `StateGraph[State]`."""

import sys
from typing import Any

if sys.version_info >= (3, 13):
    from typing import TypeVar
else:
    from typing_extensions import TypeVar

StateT = TypeVar("StateT", default=Any)
ContextT = TypeVar("ContextT", default=Any)
# A node that can do with a part of the context can do with all of it.
ContextT_co = TypeVar("ContextT_co", default=Any, covariant=True)
InputT = TypeVar("InputT", default=StateT)
OutputT = TypeVar("OutputT", default=StateT)
# What nodes get as `runtime`. What that is, is told by the layer that makes it.
RuntimeT = TypeVar("RuntimeT", default=Any)
NodeNameT = TypeVar("NodeNameT", bound=str, default=str)

__all__ = ["ContextT", "ContextT_co", "InputT", "NodeNameT", "OutputT", "RuntimeT", "StateT"]
