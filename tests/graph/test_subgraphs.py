"""Compiled graphs as nodes of other graphs, and compiled graphs that a function names."""

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Annotated, Any, TypedDict
from unittest.mock import AsyncMock

import pytest

from durable_graph import START, CompiledGraph, StateGraph
from durable_graph.errors import GraphValidationError
from durable_graph.graph.subgraph import Subgraph, subgraphs_in
from tests.errors.kinds import of_kind
from tests.ids import without_address


class State(TypedDict, total=False):
    topic: str
    best: Any


class Inner(TypedDict, total=False):
    topic: str
    notes: Annotated[list[str], operator.add]


async def work(state: Any) -> None: ...


def compiled(schema: Any = Inner, name: str = "inner", **options: Any) -> Any:
    builder: Any = StateGraph(schema, **options.pop("schemas", {}))
    return builder.add_node("work", work).add_edge(START, "work").compile(name=name, **options)


def around(*graphs: Any, schema: Any = State, **options: Any) -> Any:
    builder: Any = StateGraph(schema)
    for graph in graphs:
        builder.add_node(graph)
        builder.set_entry_point(graph.topology.name)
    return builder.topology(**options)


# As nodes


def test_a_compiled_graph_is_a_subgraph() -> None:
    assert isinstance(compiled(), Subgraph)


def test_a_graph_is_a_node_under_its_own_name_or_another() -> None:
    inner = compiled()
    builder: Any = StateGraph(State).add_node(inner).add_node("again", inner).add_sequence([compiled(name="last")])
    builder.add_edge(START, "inner").add_edge("inner", "again").add_edge("again", "last")
    nodes = builder.topology().nodes

    assert list(nodes) == ["inner", "again", "last"]
    assert nodes["inner"].subgraph is nodes["again"].subgraph is inner
    assert nodes["inner"].is_async


@pytest.mark.parametrize(("checkpointer", "persistence"), [(None, "inherit"), (True, "thread"), (False, "none")])
def test_the_checkpointer_option_determines_the_persistence_of_a_graph(checkpointer: Any, persistence: str) -> None:
    assert compiled(checkpointer=checkpointer).persistence == persistence


def test_a_mock_is_a_function_like_any_other() -> None:
    mock = AsyncMock()
    node = StateGraph(State).add_node("mock", mock).add_edge(START, "mock").topology().nodes["mock"]

    assert node.subgraph is None
    assert node.action is mock


def test_a_builder_is_refused_as_a_node() -> None:
    builder: Any = StateGraph(State)

    with pytest.raises(GraphValidationError, check=of_kind("argument")):
        builder.add_node("inner", StateGraph(Inner))


class Stranger(TypedDict):
    number: int


def test_a_subgraph_need_not_share_a_key_with_its_parent() -> None:
    inner = compiled(Stranger)

    assert around(inner).nodes["inner"].subgraph is inner


def test_a_subgraph_may_share_a_key_that_only_the_input_of_another_node_has() -> None:
    def counts(state: Stranger) -> None: ...

    builder: Any = StateGraph(State)
    builder.add_node(counts).add_node(compiled(Stranger)).add_edge("counts", "inner")

    assert "number" in builder.set_entry_point("counts").topology().channels


# Stored types


@dataclass
class Draft:
    text: str


@dataclass
class Answer:
    text: str


class Drafts(TypedDict, total=False):
    topic: str
    drafts: list[Draft]


def test_a_value_of_type_any_may_be_of_a_class_that_a_subgraph_declares_or_lists() -> None:
    inner = compiled(Drafts, types=[("reply", Answer)])
    codec = around(compiled(State, "middle", types=())).codecs["best"].value
    deep = around(inner).codecs["best"].value

    assert deep.decode(deep.encode([Draft("a"), Answer("b")])) == [Draft("a"), Answer("b")]
    with pytest.raises(TypeError, match="Draft"):
        codec.encode(Draft("a"))


def test_classes_of_a_subgraph_two_levels_below_can_be_stored() -> None:
    middle: Any = StateGraph(State).add_node(compiled(Drafts, types=[("reply", Answer)])).set_entry_point("inner")
    outer = around(middle.compile(name="middle"))

    assert outer.argument.decode(outer.argument.encode((Draft("a"), Answer("b")))) == (Draft("a"), Answer("b"))


def test_a_class_keeps_the_tag_of_its_subgraph() -> None:
    inner = compiled(Drafts, types=[("reply", Answer)])

    stored = around(inner).argument.encode(Answer("a"))

    assert stored == inner.topology.argument.encode(Answer("a"))
    assert around(inner, types=[("mine", Answer)]).argument.decode(stored) == Answer("a")


def test_classes_of_a_graph_that_a_node_calls_can_be_stored() -> None:
    inner = compiled(Drafts)

    async def call(state: State) -> Any:
        return await inner.ainvoke(state)

    argument = StateGraph(State).add_node(call).set_entry_point("call").topology().argument

    assert argument.decode(argument.encode(Draft("a"))) == Draft("a")


def test_a_subgraph_and_its_parent_may_have_different_classes_of_the_same_name() -> None:
    def of_its_own() -> Any:
        @dataclass
        class Draft:
            text: str

        Draft.__qualname__ = "Draft"
        return Draft

    class Outer(TypedDict, total=False):
        topic: str
        draft: of_its_own()  # type: ignore[valid-type]  # the class is what matters
        best: Any

    topology = around(compiled(Drafts), schema=Outer)

    assert topology.nodes["inner"].subgraph is not None
    with pytest.raises(TypeError, match="Draft"):
        topology.codecs["best"].value.encode(Draft("a"))


# In functions


GRAPH = compiled(name="of the module")
SPACE = SimpleNamespace(graphs=SimpleNamespace(deep=compiled(name="behind attributes")))


def names_in(action: Callable[..., Any]) -> list[str]:
    return [graph.topology.name for graph in subgraphs_in(action)]


async def of_module(state: Any) -> Any:
    return await GRAPH.ainvoke(state)


async def behind_attributes(state: Any) -> Any:
    return await SPACE.graphs.deep.ainvoke(state)


async def in_a_comprehension(state: Any) -> Any:
    return [await GRAPH.ainvoke(each) for each in state]


async def by_a_helper(state: Any) -> Any:
    return await of_module(state)


def none_at_all(state: Any) -> None: ...


class Holder:
    def __init__(self) -> None:
        self.graph = compiled(name="of the object")
        self.unused = compiled(name="unused")

    async def run(self, state: Any) -> Any:
        return await self.graph.ainvoke(state)

    async def __call__(self, state: Any) -> Any:
        return await self.graph.ainvoke(state)

    @property
    def graphs(self) -> Any:
        raise AssertionError

    def asks(self, state: Any) -> Any:
        return self.graphs


def with_graph(state: Any, graph: CompiledGraph[Any]) -> Any:
    return graph.ainvoke(state)


@pytest.mark.parametrize(
    ("action", "names"),
    [
        (of_module, ["of the module"]),
        (behind_attributes, ["behind attributes"]),
        (in_a_comprehension, ["of the module"]),
        (by_a_helper, ["of the module"]),
        (lambda state: [GRAPH.ainvoke(state)], ["of the module"]),
        (functools.wraps(of_module)(lambda state: None), ["of the module"]),
        (Holder().run, ["of the object"]),
        (Holder(), ["of the object"]),
        (functools.partial(with_graph, graph=GRAPH), ["of the module"]),
        (functools.partial(functools.partial(by_a_helper)), ["of the module"]),
        (Holder().asks, []),
        (none_at_all, []),
        (print, []),
        ([].append, []),
        (dict, []),
        (AsyncMock(), []),
    ],
    ids=without_address,
)
def test_graphs_that_a_function_names_are_found(action: Callable[..., Any], names: list[str]) -> None:
    assert names_in(action) == names


def test_each_graph_is_found_once_in_the_order_in_which_it_is_named() -> None:
    one, two = compiled(name="one"), compiled(name="two")

    async def both(state: Any) -> Any:
        return await one.ainvoke(await two.ainvoke(await one.ainvoke(state)))

    assert names_in(both) == ["one", "two"]


def test_a_variable_without_a_value_is_ignored() -> None:
    one = compiled(name="one")

    async def node(state: Any) -> Any:
        return later, await one.ainvoke(state)

    assert names_in(node) == ["one"]
    later = compiled(name="later")
    assert names_in(node) == ["later", "one"]
