"""The nodes and edges of the drawing of a graph."""

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypedDict

import pytest

from durable_graph import END, START, Drawing, NodeError
from durable_graph.errors import InvalidOptionError, UnknownNameError
from durable_graph.graph import GraphBuilder, Topology
from durable_graph.graph.drawing import drawing_of
from tests.errors.kinds import of_kind


class State(TypedDict):
    topic: str
    drafts: Annotated[list[str], operator.add]


async def node(state: State) -> None:
    """Changes nothing."""


def anything(state: State) -> str:
    return END


def graph(*names: str) -> GraphBuilder[State]:
    """These nodes, the first of them after START."""
    builder = GraphBuilder(State)
    for name in names:
        builder.add_node(name, node)
    return builder.add_edge(START, names[0])


def with_node(topology: Topology, name: str, **facts: Any) -> Topology:
    """The topology with other facts about one node."""
    return replace(topology, nodes={**topology.nodes, name: replace(topology.nodes[name], **facts)})


@dataclass(frozen=True)
class Nested:
    """A stand-in for a compiled graph that is a node of another graph."""

    topology: Topology
    persistence: Literal["inherit"] = "inherit"

    async def run_as_node(self, given: Any) -> Any:
        """Never called: a drawing runs no node."""


def essay() -> Topology:
    return graph("plan", "write", "review").add_edge("plan", "write").add_edge("write", "review").topology(name="essay")


def edges_of(drawing: Drawing) -> list[str]:
    return [line.strip() for line in str(drawing).splitlines() if " -> " in line]


# Nodes and edges


def test_a_chain_leads_from_start_to_end() -> None:
    drawing = drawing_of(essay())

    assert drawing.name == "essay"
    assert [node.id for node in drawing.nodes] == [START, "plan", "write", "review", END]
    assert [node.kind for node in drawing.nodes] == ["start", "node", "node", "node", "end"]
    assert edges_of(drawing) == ["__start__ -> plan", "plan -> write", "write -> review", "review -> __end__"]


def test_a_node_with_an_explicit_edge_to_end_has_one_edge_to_end() -> None:
    assert edges_of(drawing_of(graph("plan").add_edge("plan", END).topology())) == [
        "__start__ -> plan",
        "plan -> __end__",
    ]


def test_a_graph_that_never_ends_has_no_end() -> None:
    drawing = drawing_of(graph("a", "b").add_edge("a", "b").add_edge("b", "a").topology())

    assert [node.id for node in drawing.nodes] == [START, "a", "b"]
    assert edges_of(drawing) == ["__start__ -> a", "a -> b", "b -> a"]


def test_choices_of_a_router_are_conditional_edges_with_a_label_if_it_differs_from_the_node() -> None:
    builder = graph("draft", "revise", "publish")
    builder.add_conditional_edges("draft", anything, {True: "publish", "again": "revise", "revise": "revise", "": END})

    assert edges_of(drawing_of(builder.topology())) == [
        "__start__ -> draft",
        "draft -> revise (conditional)",
        "draft -> revise (conditional: again)",
        "draft -> publish (conditional: True)",
        "draft -> __end__ (conditional: '')",
        "revise -> __end__",
        "publish -> __end__",
    ]


def test_a_router_without_declared_choices_has_an_edge_to_every_node_and_to_end() -> None:
    drawing = drawing_of(graph("a", "b").add_conditional_edges("a", anything).topology())

    assert edges_of(drawing) == [
        "__start__ -> a",
        "a -> a (conditional)",
        "a -> b (conditional)",
        "a -> __end__ (conditional)",
        "b -> __end__",
    ]


def test_a_router_has_edges_to_the_nodes_in_its_annotation() -> None:
    def route(state: State) -> Literal["b", "__end__"]:
        return "b"

    drawing = drawing_of(graph("a", "b", "c").add_edge("a", "c").add_conditional_edges("a", route).topology())

    assert "a -> b (conditional)" in edges_of(drawing)
    assert "a -> a (conditional)" not in edges_of(drawing)


def test_two_routers_with_the_same_choice_are_drawn_as_one_edge() -> None:
    def other(state: State) -> str:
        return "b"

    builder = graph("a", "b").add_conditional_edges("a", anything, ["b"]).add_conditional_edges("a", other, ["b"])

    assert edges_of(drawing_of(builder.topology())).count("a -> b (conditional)") == 1


def test_a_conditional_entry_leads_out_of_start() -> None:
    builder = graph("a", "b").set_conditional_entry_point(anything, {"fast": "b"})

    assert edges_of(drawing_of(builder.topology()))[:2] == ["__start__ -> a", "__start__ -> b (conditional: fast)"]


def test_a_join_has_an_edge_from_each_node_it_waits_for() -> None:
    builder = graph("a", "b", "c").add_edge(START, "b").add_edge(["b", "a"], "c")

    drawing = drawing_of(builder.topology())

    assert [(edge.source, edge.target) for edge in drawing.edges if edge.is_join] == [("a", "c"), ("b", "c")]
    assert edges_of(drawing)[-3:] == ["a -> c (join)", "b -> c (join)", "c -> __end__"]


def test_two_joins_into_one_node_are_distinguished() -> None:
    builder = graph("a", "b", "c", "d").add_edge(["a", "b"], "d").add_edge(["b", "c"], "d")
    builder.add_edge("a", "b").add_edge("a", "c")

    assert [edge for edge in edges_of(drawing_of(builder.topology())) if edge.endswith(")")] == [
        "a -> d (join: join 1)",
        "b -> d (join: join 1)",
        "b -> d (join: join 2)",
        "c -> d (join: join 2)",
    ]


def test_destinations_of_commands_are_conditional_edges() -> None:
    builder = graph("ask").add_node("answer", node, destinations=("ask", END)).add_edge("ask", "answer")

    assert edges_of(drawing_of(builder.topology())) == [
        "__start__ -> ask",
        "ask -> answer",
        "answer -> ask (conditional)",
        "answer -> __end__ (conditional)",
    ]


def test_a_drawing_does_not_depend_on_the_order_of_calls_of_the_builder() -> None:
    def described(*orders: Callable[[GraphBuilder[State]], object]) -> Drawing:
        builder = graph("a", "b", "c")
        for add in orders:
            add(builder)
        return drawing_of(builder.topology())

    def edge(builder: GraphBuilder[State]) -> object:
        return builder.add_edge("a", "b")

    def join(builder: GraphBuilder[State]) -> object:
        return builder.add_edge(["b", "a"], "c")

    def router(builder: GraphBuilder[State]) -> object:
        return builder.add_conditional_edges("b", anything, {"y": "c", "x": "c"})

    assert described(edge, join, router) == described(router, join, edge)


# Marks


def test_deferred_nodes_are_marked() -> None:
    drawing = drawing_of(graph("plan").add_node("review", node, defer=True).add_edge("plan", "review").topology())

    assert [node.id for node in drawing.nodes if node.is_deferred] == ["review"]
    assert str(drawing).splitlines()[-1].strip() == "review: deferred"


def test_nodes_with_an_error_handler_are_marked() -> None:
    def handler(state: State, error: NodeError) -> None:
        """Handles it."""

    builder = graph("plan").add_node("write", node, error_handler=handler).add_edge("plan", "write")

    drawing = drawing_of(builder.topology())

    assert [node.id for node in drawing.nodes if node.has_error_handler] == ["write"]
    assert str(drawing).splitlines()[-1].strip() == "write: error handler"


def test_metadata_is_kept_with_its_node() -> None:
    builder = graph("plan").add_node("write", node, metadata={"owner": "ops"}).add_edge("plan", "write")

    drawing = drawing_of(builder.topology())

    assert {node.id: node.metadata for node in drawing.nodes if node.metadata} == {"write": {"owner": "ops"}}


def test_breakpoints_are_marked() -> None:
    drawing = drawing_of(essay(), interrupt_before=["write", "review"], interrupt_after=("review",))

    assert {node.id: node.interrupts for node in drawing.nodes if node.interrupts} == {
        "write": ("before",),
        "review": ("before", "after"),
    }
    assert str(drawing).splitlines()[-1].strip() == "review: interrupt before and after"


def test_a_star_is_a_breakpoint_at_every_node_and_not_at_start_or_end() -> None:
    drawing = drawing_of(essay(), interrupt_after="*")

    assert [node.id for node in drawing.nodes if node.interrupts] == ["plan", "write", "review"]


@pytest.mark.parametrize("name", ["wirte", START, END, ""])
def test_a_breakpoint_at_an_unknown_node_is_an_error_that_names_it(name: str) -> None:
    with pytest.raises(
        UnknownNameError,
        check=of_kind("node"),
        match=f"interrupt_before names '{name}'; the graph has: plan, review, write",
    ):
        drawing_of(essay(), interrupt_before=[name])


# Subgraphs


def research() -> Topology:
    sources = graph("web", "books").add_conditional_edges("web", anything, ["books", END]).topology()
    search = graph("ask", "sources").add_edge("ask", "sources").topology()
    around = graph("plan", "search").add_edge("plan", "search").topology()
    return with_node(around, "search", subgraph=Nested(with_node(search, "sources", subgraph=Nested(sources))))


def test_a_subgraph_is_one_node_unless_it_is_opened() -> None:
    drawing = drawing_of(research())

    assert {node.id: (node.kind, node.is_open) for node in drawing.nodes}["search"] == ("subgraph", False)
    assert edges_of(drawing) == ["__start__ -> plan", "plan -> search", "search -> __end__"]


def test_an_opened_subgraph_is_entered_at_its_start_and_left_at_its_end() -> None:
    drawing = drawing_of(research(), xray=1)

    assert {node.id: node.inside for node in drawing.nodes if node.inside or node.is_open} == {
        "search": None,
        "search:__start__": "search",
        "search:ask": "search",
        "search:sources": "search",
        "search:__end__": "search",
    }
    assert edges_of(drawing) == [
        "__start__ -> plan",
        "plan -> search:__start__",
        "search:__end__ -> __end__",
        "search:__start__ -> search:ask",
        "search:ask -> search:sources",
        "search:sources -> search:__end__",
    ]


@pytest.mark.parametrize(
    ("xray", "opened"),
    [
        (False, []),
        (0, []),
        (1, ["search"]),
        (2, ["search", "search:sources"]),
        (9, ["search", "search:sources"]),
        (True, ["search", "search:sources"]),
    ],
)
def test_subgraphs_are_opened_to_the_requested_depth(xray: Any, opened: list[str]) -> None:
    assert [node.id for node in drawing_of(research(), xray=xray).nodes if node.is_open] == opened


def test_no_edge_leads_to_the_frame_of_an_opened_subgraph() -> None:
    drawing = drawing_of(research(), xray=True)
    ends = {edge.source for edge in drawing.edges} | {edge.target for edge in drawing.edges}

    assert ends == {node.id for node in drawing.nodes if not node.is_open}


def test_a_command_to_the_parent_graph_has_an_edge_to_its_node_or_to_end() -> None:
    handing_over = with_node(graph("ask").topology(), "ask", destinations=("publish",))
    around = graph("desk", "publish").add_edge("desk", "publish").topology()

    opened = drawing_of(with_node(around, "desk", subgraph=Nested(handing_over)), xray=True)
    alone = drawing_of(handing_over)

    assert edges_of(opened)[1:3] == ["desk:__end__ -> publish", "publish -> __end__"]
    assert "desk:__end__" in [node.id for node in opened.nodes]
    assert edges_of(opened)[-2:] == ["desk:__start__ -> desk:ask", "desk:ask -> publish (conditional)"]
    assert edges_of(alone) == ["__start__ -> ask", "ask -> __end__ (conditional: publish)"]


def test_breakpoints_inside_a_subgraph_are_named_by_path() -> None:
    drawing = drawing_of(research(), xray=True, interrupt_before=["search:sources:web"])

    assert [node.id for node in drawing.nodes if node.interrupts] == ["search:sources:web"]
    with pytest.raises(UnknownNameError, check=of_kind("node"), match="search:sources:web"):
        drawing_of(research(), interrupt_before=["search:sources:web"])


def test_a_star_sets_no_breakpoints_inside_subgraphs() -> None:
    drawing = drawing_of(research(), xray=True, interrupt_before="*")

    assert [node.id for node in drawing.nodes if node.interrupts] == ["plan", "search"]


def test_a_negative_depth_of_opened_subgraphs_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="xray=-1 is not possible"):
        drawing_of(research(), xray=-1)
