"""The type variables that graphs are generic in. Those with defaults may be left out: `StateGraph[State]`."""

import sys
from typing import Any

if sys.version_info >= (3, 13):
    from typing import TypeVar
else:
    from typing_extensions import TypeVar

StateT = TypeVar("StateT", default=Any)
ContextT = TypeVar("ContextT", default=Any)
InputT = TypeVar("InputT", default=StateT)
OutputT = TypeVar("OutputT", default=StateT)
NodeNameT = TypeVar("NodeNameT", bound=str, default=str)

__all__ = ["ContextT", "InputT", "NodeNameT", "OutputT", "StateT"]
