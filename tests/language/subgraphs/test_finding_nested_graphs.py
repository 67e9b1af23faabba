"""`aget_subgraphs` finds graphs that are nodes and graphs that the function of a node refers to."""

import functools
from typing import Any

import pytest

from tests.graphs import Nodes, State


def named(name: str) -> Any:
    return Nodes().chain("x").compile(name=name)


class Box:
    def __init__(self, payload: Any) -> None:
        self.payload = payload


GRAPH = named("of the module")
CHAIN = Box(Box(named("behind attributes")))
LIST = [named("in a list")]


async def names_of(graph: Any, **options: Any) -> dict[str, str]:
    return {name: found.name async for name, found in graph.aget_subgraphs(**options)}


async def found_in(node: Any) -> str | None:
    graph = Nodes().chain(("node", node)).compile()
    return (await names_of(graph)).get("node")


async def test_graphs_as_nodes_are_found_by_the_names_of_their_nodes() -> None:
    inner = Nodes().chain(("deep", named("innermost"))).compile(name="inner")
    graph = Nodes().chain("a", ("inner", inner), ("other", named("other"))).compile()

    assert await names_of(graph) == {"inner": "inner", "other": "other"}


async def test_recurse_finds_graphs_inside_nested_graphs() -> None:
    inner = Nodes().chain(("deep", named("innermost"))).compile(name="inner")
    graph = Nodes().chain(("inner", inner), ("other", named("other"))).compile()

    assert await names_of(graph, recurse=True) == {"inner": "inner", "inner|deep": "innermost", "other": "other"}


def alike() -> Any:
    """A graph with namespaces that have a common prefix."""
    research = Nodes().chain(("review", named("research's review"))).compile(name="research")
    nodes = [("research", research), ("research_review", named("research_review")), ("review", named("review"))]
    return Nodes().chain(*nodes).compile()


@pytest.mark.parametrize(
    ("namespace", "name"),
    [
        ("research", "research"),
        ("research|review", "research's review"),
        ("research_review", "research_review"),
        ("review", "review"),
    ],
)
async def test_a_namespace_is_matched_by_whole_names(namespace: str, name: str) -> None:
    assert await names_of(alike(), namespace=namespace, recurse=True) == {namespace: name}


async def test_a_namespace_with_task_numbers_is_matched() -> None:
    assert await names_of(alike(), namespace="research:3.0|review:4.0", recurse=True) == {
        "research|review": "research's review"
    }


async def test_an_unknown_namespace_finds_no_graph() -> None:
    assert await names_of(alike(), namespace="nowhere", recurse=True) == {}


async def test_a_graph_in_a_closure_is_found() -> None:
    inner = named("closure")

    async def node(state: State) -> Any:
        return await inner.ainvoke(state)

    assert await found_in(node) == "closure"


async def test_a_graph_in_a_module_variable_is_found() -> None:
    async def node(state: State) -> Any:
        return await GRAPH.ainvoke(state)

    assert await found_in(node) == "of the module"


async def test_a_graph_behind_attributes_is_found() -> None:
    async def node(state: State) -> Any:
        return await CHAIN.payload.payload.ainvoke(state)

    assert await found_in(node) == "behind attributes"


async def test_a_graph_named_in_a_wrapped_function_is_found() -> None:
    inner = named("wrapped")

    async def node(state: State) -> Any:
        return await inner.ainvoke(state)

    @functools.wraps(node)
    async def wrapper(state: State) -> Any:
        return await node(state)

    assert await found_in(wrapper) == "wrapped"


async def test_an_unassigned_closure_variable_is_skipped() -> None:
    inner = named("beside")

    async def node(state: State) -> Any:
        return later, await inner.ainvoke(state)

    assert await found_in(node) == "beside"
    later = "only now"


async def test_a_graph_behind_a_subscript_is_not_found() -> None:
    async def subscript(state: State) -> Any:
        return await LIST[0].ainvoke(state)

    async def nothing(state: State) -> Any:
        return {}

    assert [await found_in(each) for each in (subscript, nothing)] == [None, None]


async def test_a_graph_in_an_attribute_of_self_is_found() -> None:
    class Holder:
        def __init__(self) -> None:
            self.graph = named("of self")

        async def node(self, state: State) -> Any:
            return await self.graph.ainvoke(state)

    assert await found_in(Holder().node) == "of self"


async def test_a_graph_that_refers_to_itself_is_found_once() -> None:
    graph: Any = None

    async def looks_at_itself(state: State) -> State:
        await graph.aget_state({"configurable": {"thread_id": "t"}})
        return {}

    graph = Nodes().chain(("node", looks_at_itself)).compile(name="itself")

    assert await names_of(graph, recurse=True) == {"node": "itself"}
