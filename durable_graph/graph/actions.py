"""The shapes of what users hand to the builder: a node of the wrong state type is an error in a type checker."""

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from durable_graph.graph.control import Command, Send
from durable_graph.graph.type_variables import StateT

_Taken = TypeVar("_Taken", contravariant=True)
_Given = TypeVar("_Given", covariant=True)
_Input = TypeVar("_Input")
_Instance = TypeVar("_Instance")


class TakesState(Protocol[_Taken, _Given]):
    """`node(state)`"""

    def __call__(self, state: _Taken, /) -> _Given: ...


class TakesRuntime(Protocol[_Taken, _Given]):
    """`node(state, runtime)`"""

    def __call__(self, state: _Taken, /, *, runtime: Any) -> _Given: ...


class TakesConfig(Protocol[_Taken, _Given]):
    """`node(state, config)`"""

    def __call__(self, state: _Taken, /, *, config: Any) -> _Given: ...


class TakesRuntimeAndConfig(Protocol[_Taken, _Given]):
    """`node(state, runtime, config)`, in either order"""

    def __call__(self, state: _Taken, /, *, runtime: Any, config: Any) -> _Given: ...


_Action: TypeAlias = (
    TakesState[_Input, _Given]
    | TakesRuntime[_Input, _Given]
    | TakesConfig[_Input, _Given]
    | TakesRuntimeAndConfig[_Input, _Given]
)
_Update: TypeAlias = Mapping[str, Any] | _Instance | Command[Any]
_Result: TypeAlias = _Update[_Instance] | Sequence[_Update[_Instance]] | None

NodeAction: TypeAlias = _Action[_Input, _Result[_Instance] | Awaitable[_Result[_Instance]]]
"""A node, async or plain. It takes its input, and `runtime` and `config` if it has parameters called so; it returns a
dict of updates, an instance of the state's class, or None."""

Chosen: TypeAlias = Hashable | Send | Sequence[Hashable | Send]
RouterPath: TypeAlias = Callable[[StateT], Chosen | Awaitable[Chosen]]
"""A router, async or plain: from the state to a node's name, END, a key of its path_map, a Send, or a list of these."""
