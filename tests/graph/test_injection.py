"""Parameters beside the state that are injected into nodes, routers and error handlers, by name and by annotation."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import pytest
from typing_extensions import TypeAliasType

from durable_graph import END, START, NodeError, Runtime, StreamWriter
from durable_graph.graph import GraphBuilder


class State(TypedDict, total=False):
    topic: str


@dataclass
class Context:
    user: str


class Elsewhere:
    """A class of the user with a nested class that has the name of a class of the library."""

    class Runtime: ...


def by_name(state: State, runtime: Any, config: Any, writer: Any, previous: Any) -> None: ...


def by_annotation(state: State, rt: Runtime[Context], tell: StreamWriter) -> None: ...


def as_text(state: State, rt: "Runtime[Context]") -> None: ...


def without_arguments(state: State, rt: Runtime) -> None: ...


def optional_by_annotation(
    state: State, rt: Runtime[Context] | None = None, tell: "StreamWriter | None" = None
) -> None: ...


RuntimeAlias = TypeAliasType("RuntimeAlias", "Runtime[Context]")
OptionalRuntimeAlias = TypeAliasType("OptionalRuntimeAlias", RuntimeAlias | None)


def by_an_alias(state: State, rt: RuntimeAlias, other: "OptionalRuntimeAlias" = None) -> None: ...


def by_an_alias_or_none(state: State, rt: "RuntimeAlias | None" = None) -> None: ...


def with_a_remark(state: State, rt: Annotated[Runtime[Context], "a remark"]) -> None: ...


def by_keyword(state: State, *, rt: Runtime[Context], config: Any = None, limit: int = 3, **more: Any) -> None: ...


def the_annotation_wins(state: State, writer: Runtime[Context]) -> None: ...


def of_another_class(state: State, rt: Elsewhere.Runtime | None = None, runtime: int = 3) -> None: ...


def with_an_unresolved_annotation(state: State, runtime: "Nowhere") -> None:  # type: ignore[name-defined]  # noqa: F821 - imported for the checker alone
    ...


def with_its_error(state: State, failure: NodeError, error: Any) -> None: ...


def with_an_optional_error(state: State, error: int = 3) -> None: ...


class Worker:
    def __call__(self, state: State, rt: Runtime[Context]) -> None: ...

    async def run(self, state: State, tell: StreamWriter) -> None: ...


GIVEN: Any = object()


def injected(action: Callable[..., Any]) -> Any:
    builder: Any = GraphBuilder(State)
    return builder.add_node("it", action).add_edge(START, "it").topology().nodes["it"].injected


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (by_name, {"runtime": "runtime", "config": "config", "writer": "writer", "previous": "previous"}),
        (by_annotation, {"rt": "runtime", "tell": "writer"}),
        (as_text, {"rt": "runtime"}),
        (without_arguments, {"rt": "runtime"}),
        (optional_by_annotation, {"rt": "runtime", "tell": "writer"}),
        (by_an_alias, {"rt": "runtime", "other": "runtime"}),
        (by_an_alias_or_none, {"rt": "runtime"}),
        (with_a_remark, {"rt": "runtime"}),
        (by_keyword, {"rt": "runtime", "config": "config"}),
        (the_annotation_wins, {"writer": "runtime"}),
        (of_another_class, {"runtime": "runtime"}),
        (with_an_unresolved_annotation, {"runtime": "runtime"}),
        (with_an_optional_error, {}),
        (Worker(), {"rt": "runtime"}),
        (Worker().run, {"tell": "writer"}),
        (functools.partial(by_annotation, tell=GIVEN), {"rt": "runtime"}),
        (functools.partial(by_name, runtime=1, config=2, writer=3), {"previous": "previous"}),
    ],
)
def test_parameters_of_a_node_are_injected_by_name_and_by_annotation(
    action: Callable[..., Any], expected: dict[str, str]
) -> None:
    assert injected(action) == expected


def test_an_error_handler_also_receives_the_error() -> None:
    builder: Any = GraphBuilder(State)
    builder.add_node("it", by_name, error_handler=with_its_error).set_entry_point("it")

    assert builder.topology().nodes["it"].error_handler.injected == {"failure": "error", "error": "error"}


def routes(state: State, rt: Runtime[Context], config: Any, writer: int = 3) -> str:
    return END


def test_a_router_receives_the_runtime_and_the_config() -> None:
    builder: Any = GraphBuilder(State)
    builder.add_node("it", lambda state: None).add_conditional_edges("it", routes)
    topology = builder.set_conditional_entry_point(routes).topology()

    for (router,) in (topology.nodes["it"].routers, topology.entry_routers):
        assert router.injected == {"rt": "runtime", "config": "config"}
