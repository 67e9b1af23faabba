"""The types of nodes and routers: type checkers report a node of the wrong state type."""

from collections.abc import Awaitable, Hashable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from durable_graph.graph.control import Command, Send

_Taken = TypeVar("_Taken", contravariant=True)
_Told = TypeVar("_Told", contravariant=True)
_Given = TypeVar("_Given", covariant=True)
_Input = TypeVar("_Input")
_Instance = TypeVar("_Instance")
_Runtime = TypeVar("_Runtime")


class TakesState(Protocol[_Taken, _Given]):
    """`node(state)`"""

    def __call__(self, state: _Taken, /) -> _Given: ...


class TakesRuntime(Protocol[_Taken, _Told, _Given]):
    """`node(state, runtime)`"""

    def __call__(self, state: _Taken, /, *, runtime: _Told) -> _Given: ...


class TakesRuntimeSecond(Protocol[_Taken, _Told, _Given]):
    """`node(state, rt)`: a parameter annotated with `Runtime` may have any name."""

    def __call__(self, state: _Taken, runtime: _Told, /) -> _Given: ...


class TakesConfig(Protocol[_Taken, _Given]):
    """`node(state, config)`"""

    def __call__(self, state: _Taken, /, *, config: Any) -> _Given: ...


class TakesWriter(Protocol[_Taken, _Given]):
    """`node(state, writer)`"""

    def __call__(self, state: _Taken, /, *, writer: Any) -> _Given: ...


class TakesRuntimeAndConfig(Protocol[_Taken, _Told, _Given]):
    """`node(state, runtime, config)`, in either order"""

    def __call__(self, state: _Taken, /, *, runtime: _Told, config: Any) -> _Given: ...


class TakesRuntimeAndWriter(Protocol[_Taken, _Told, _Given]):
    """`node(state, runtime, writer)`, in either order"""

    def __call__(self, state: _Taken, /, *, runtime: _Told, writer: Any) -> _Given: ...


class TakesConfigAndWriter(Protocol[_Taken, _Given]):
    """`node(state, config, writer)`, in either order"""

    def __call__(self, state: _Taken, /, *, config: Any, writer: Any) -> _Given: ...


class TakesEverything(Protocol[_Taken, _Told, _Given]):
    """`node(state, runtime, config, writer)`, in any order"""

    def __call__(self, state: _Taken, /, *, runtime: _Told, config: Any, writer: Any) -> _Given: ...


class RunnableLike(Protocol):
    """A runnable of LangChain: a chain, a model, a `RunnableLambda`. It is awaited with the state and a config."""

    def get_name(self, suffix: str | None = None, *, name: str | None = None) -> str: ...

    async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any: ...  # noqa: A002  # LangChain's name


_Router: TypeAlias = (
    TakesState[_Input, _Given]
    | TakesRuntime[_Input, _Runtime, _Given]
    | TakesRuntimeSecond[_Input, _Runtime, _Given]
    | TakesConfig[_Input, _Given]
    | TakesRuntimeAndConfig[_Input, _Runtime, _Given]
)
_Action: TypeAlias = (
    _Router[_Input, _Given, _Runtime]
    | TakesWriter[_Input, _Given]
    | TakesRuntimeAndWriter[_Input, _Runtime, _Given]
    | TakesConfigAndWriter[_Input, _Given]
    | TakesEverything[_Input, _Runtime, _Given]
)
_Update: TypeAlias = Mapping[str, Any] | _Instance | Command[Any]
_Result: TypeAlias = _Update[_Instance] | Sequence[_Update[_Instance]] | None

NodeAction: TypeAlias = _Action[_Input, _Result[_Instance] | Awaitable[_Result[_Instance]], _Runtime] | RunnableLike
"""A node, async or plain. It takes its input, and `runtime`, `config` and `writer` if it has parameters of these names;
it returns a dict of updates, an instance of the state's class, a Command, a list of these, or None. A runnable of
LangChain is a node as well."""

Chosen: TypeAlias = Hashable | Send | Sequence[Hashable | Send]
RouterPath: TypeAlias = _Router[_Input, Chosen | Awaitable[Chosen], _Runtime] | RunnableLike
"""A router, async or plain: from the state to a node's name, END, a key of its path_map, a Send, or a list of these. It
takes `runtime` and `config` as well if it has parameters of these names."""
