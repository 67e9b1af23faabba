"""The injected parameters of tools, which the graph provides and the model does not see: state, store, runtime."""

import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, get_args, get_origin

from langchain_core.tools import BaseTool, InjectedToolArg

# LangChain has no public name for this class, although its documentation uses it for a tool's runtime.
from langchain_core.tools.base import _DirectlyInjectedToolArg
from pydantic import BaseModel
from pydantic_core import core_schema

from durable_graph import ExecutionInfo
from durable_graph.graph.type_variables import ContextT, StateT
from durable_graph_langchain.errors import ToolInjectionError


class InjectedState(InjectedToolArg):
    """Annotates a tool's parameter that receives the state: `Annotated[dict, InjectedState]`.

    `Annotated[str, InjectedState("user")]` receives one key of the state. If the state does not have the key, the
    parameter's default is used.
    """

    def __init__(self, field: str | None = None) -> None:
        self.field = field


class InjectedStore(InjectedToolArg):
    """Annotates a tool's parameter that receives the graph's store: `Annotated[Any, InjectedStore()]`."""


@dataclass(frozen=True)
class ToolRuntime(_DirectlyInjectedToolArg, Generic[ContextT, StateT]):
    """The context of a tool call, for a parameter that is annotated with this class.

    `execution_info.task_id` belongs to this single call, and is the same on every attempt and after every crash: use it
    as the idempotency key for external services. `execution_info`, `context` and `store` are None outside a run.
    `tools` are all tools of the node.
    """

    state: StateT
    context: ContextT
    config: Any
    stream_writer: Callable[[Any], Any]
    tool_call_id: str
    store: Any = None
    tools: list[BaseTool] = field(default_factory=list)
    execution_info: ExecutionInfo | None = None
    server_info: None = None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        # LangChain dumps the arguments of each call, which would copy the whole state.
        kept = core_schema.plain_serializer_function_ser_schema(lambda value: value)
        return core_schema.is_instance_schema(cls, serialization=kept)


@dataclass(frozen=True, slots=True)
class Injection:
    """The injected parameters of a tool. `fields` has the key of the state for each, None for the whole state.

    Parameters in `hidden` are injected by other code, such as `InjectedToolCallId` by LangChain. Parameters in
    `optional` have a default.
    """

    fields: Mapping[str, str | None]
    stores: tuple[str, ...]
    runtimes: tuple[str, ...]
    hidden: tuple[str, ...]
    optional: frozenset[str]

    @property
    def names(self) -> frozenset[str]:
        """The parameters whose values never come from the model."""
        return frozenset((*self.fields, *self.stores, *self.runtimes, *self.hidden))

    def values(self, tool: str, runtime: ToolRuntime[Any, Any], messages_key: str) -> dict[str, Any]:
        """The injected arguments of a call. A state that is a list has messages. Raises `ToolInjectionError`."""
        given: dict[str, Any] = dict.fromkeys(self.runtimes, runtime)
        for name in self.stores:
            if runtime.store is not None:
                given[name] = runtime.store
            elif name not in self.optional:
                raise ToolInjectionError(tool, name, "the graph has no store; give one to compile(store=...)")
        state: Any = {messages_key: runtime.state} if isinstance(runtime.state, list) else runtime.state
        for name, key in self.fields.items():
            if key is None:
                given[name] = state
            elif (found := _read(state, key)) is not _MISSING:
                given[name] = found
            elif name not in self.optional:
                there = ", ".join(map(repr, state)) if isinstance(state, Mapping) else type(state).__qualname__
                raise ToolInjectionError(tool, name, f"the state has no key {key!r}; there is: {there or 'nothing'}")
        return given


_MISSING: Final = object()


def _read(state: Any, key: str) -> Any:
    return state.get(key, _MISSING) if isinstance(state, Mapping) else getattr(state, key, _MISSING)


def injection_of(tool: BaseTool) -> Injection:
    """The injected parameters of a tool, by the annotations of its function and of its arguments' schema."""
    fields: dict[str, str | None] = {}
    stores: list[str] = []
    runtimes: list[str] = []
    hidden: list[str] = []
    for name, hint in _annotations_of(tool).items():
        for marker in _markers(hint):
            if _is(marker, InjectedState):
                fields[name] = getattr(marker, "field", None)
            elif _is(marker, InjectedStore):
                stores.append(name)
            elif _is(marker, ToolRuntime):
                runtimes.append(name)
            elif _is(marker, InjectedToolArg):
                hidden.append(name)
    return Injection(fields, tuple(stores), tuple(runtimes), tuple(hidden), _optional_in(tool))


def _is(marker: Any, kind: type) -> bool:
    return isinstance(marker, kind) or (isinstance(marker, type) and issubclass(marker, kind))


def _markers(hint: Any) -> Iterator[Any]:
    yield get_origin(hint) or hint
    for inner in get_args(hint):
        yield from _markers(inner)


def _annotations_of(tool: BaseTool) -> dict[str, Any]:
    hints = {}
    for function in _functions_of(tool):
        hints.update(_hints_of(function))
    schema = tool.args_schema
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        hints.update(_hints_of(schema))
    return hints


def _functions_of(tool: BaseTool) -> Iterator[Any]:
    own = [getattr(tool, name, None) for name in ("func", "coroutine")]
    yield from (function for function in own if function is not None) if any(own) else (tool._run, tool._arun)


def _hints_of(annotated: Any) -> dict[str, Any]:
    try:
        hints = typing.get_type_hints(annotated, include_extras=True)
    except Exception:
        # A name may be imported for type checkers only. LangChain itself has to read the annotations of a tool, unless
        # the tool has its own schema; then no other code reads them.
        return {}
    hints.pop("return", None)
    return hints


def _optional_in(tool: BaseTool) -> frozenset[str]:
    schema = tool.args_schema
    if not (isinstance(schema, type) and issubclass(schema, BaseModel)):
        return frozenset()
    return frozenset(name for name, each in schema.model_fields.items() if not each.is_required())
