"""The topology that a builder makes."""

import functools
import operator
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypedDict

import pytest

from durable_graph import END, START, Send
from durable_graph.channels import Joined
from durable_graph.errors import DurableGraphError, GraphValidationError, UnreachableNodeWarning
from durable_graph.graph import GraphBuilder
from tests.errors.kinds import of_kind


class State(TypedDict):
    topic: str
    drafts: Annotated[list[str], operator.add]


async def plan(state: State) -> dict[str, Any]:
    return {"topic": "tea"}


async def write(state: State) -> dict[str, Any]:
    return {"drafts": ["..."]}


def review(state: State) -> None:
    """Changes nothing."""


def chain() -> GraphBuilder[State]:
    return GraphBuilder(State).add_sequence([plan, write, ("review", review)]).add_edge(START, "plan")


# Nodes and edges


def test_a_sequence_is_a_chain_of_edges() -> None:
    topology = chain().topology(name="essay")

    assert topology.name == "essay"
    assert topology.entry == ("plan",)
    assert {name: node.edges for name, node in topology.nodes.items()} == {
        "plan": ("write",),
        "write": ("review",),
        "review": (),
    }


def test_a_node_is_named_after_its_function_unless_it_is_given_a_name() -> None:
    topology = (
        GraphBuilder(State).add_node(plan).add_node("second", plan).add_sequence([review]).set_entry_point("plan")
    )
    topology.add_edge("plan", "second").add_edge("second", "review")

    assert list(topology.topology().nodes) == ["plan", "second", "review"]


def test_an_edge_that_is_added_twice_exists_once() -> None:
    topology = chain().add_edge("plan", "write").add_edge("write", END).add_edge("write", END).topology()

    assert topology.nodes["plan"].edges == ("write",)
    assert topology.nodes["write"].edges == ("review",)


def test_the_points_of_entry_and_finish_are_edges() -> None:
    by_name = GraphBuilder(State).add_node(plan).set_entry_point("plan").set_finish_point("plan").topology()
    by_edge = GraphBuilder(State).add_node(plan).add_edge(START, "plan").add_edge("plan", END).topology()

    assert by_name.entry == by_edge.entry == ("plan",)
    assert by_name.nodes == by_edge.nodes


def test_a_topology_does_not_change_with_its_builder() -> None:
    builder = chain()
    before = builder.topology()
    builder.add_node("later", plan).add_edge("review", "later")

    assert list(before.nodes) == ["plan", "write", "review"]
    assert before.nodes["review"].edges == ()
    assert builder.topology().nodes["review"].edges == ("later",)


# Joins


def test_a_list_of_sources_is_a_join() -> None:
    topology = (
        GraphBuilder(State)
        .add_node(plan)
        .add_node(write)
        .add_node(review)
        .add_edge(START, "plan")
        .add_edge(START, "write")
        .add_edge(["write", "plan"], "review")
        .add_edge(("plan", "write"), "review")
        .topology()
    )
    (join,) = topology.joins

    assert (join.channel, join.rule, join.target) == (
        "#join:plan+write:review",
        Joined(frozenset({"plan", "write"})),
        "review",
    )
    assert topology.joins_of_source == {"plan": (join,), "write": (join,)}
    assert topology.joins_of_target == {"review": (join,)}
    assert topology.nodes["plan"].edges == ()
    assert set(topology.codecs) == {"topic", "drafts", join.channel, "#deferred"}
    assert topology.codecs[join.channel].value.encode(("plan",))


def test_a_join_of_one_source_is_an_edge() -> None:
    topology = GraphBuilder(State).add_node(plan).add_node(write).add_edge(START, "plan").add_edge(["plan"], "write")

    assert topology.topology().nodes["plan"].edges == ("write",)
    assert topology.topology().joins == ()


def test_a_join_into_end_is_omitted() -> None:
    assert chain().add_edge(["plan", "write"], END).topology().joins == ()


def test_joins_of_different_sources_have_different_channels() -> None:
    builder = GraphBuilder(State)
    for name in ("a", "b", "c", "a+b", "b+c", "d"):
        builder.add_node(name, plan).add_edge(START, name)
    builder.add_edge(["a+b", "c"], "d").add_edge(["a", "b+c"], "d")

    assert len({join.channel for join in builder.topology().joins}) == 2


# Routers


def route(state: State) -> str:
    return END


def literal(state: State) -> Literal["write", "__end__"]:
    return "write"


def literal_or_sends(state: State) -> list[Literal["write"] | Send] | Literal["review"]:
    return "review"


async def sends(state: State) -> list[Send]:
    return [Send("write", state)]


def literal_or_any_name(state: State) -> list[Literal["write"] | str]:
    return ["review"]


@pytest.mark.parametrize(
    ("path", "path_map", "choices"),
    [
        (literal_or_any_name, None, None),
        (route, None, None),
        (sends, None, None),
        (literal, None, {"write": "write", END: END}),
        (literal_or_sends, None, {"write": "write", "review": "review"}),
        (route, {True: "write", False: END}, {True: "write", False: END}),
        (route, ["write", END], {"write": "write", END: END}),
        (literal, {"write": "review"}, {"write": "review"}),
    ],
)
def test_the_choices_of_a_router_come_from_its_path_map_or_its_annotation(
    path: Callable[[State], Any], path_map: Any, choices: Any
) -> None:
    (router,) = chain().add_conditional_edges("plan", path, path_map).topology().nodes["plan"].routers

    assert (router.name, router.path, router.choices) == (path.__name__, path, choices)


def test_an_entry_point_may_be_a_router() -> None:
    topology = GraphBuilder(State).add_node(write).set_conditional_entry_point(literal).topology()

    assert topology.entry == ()
    assert [router.name for router in topology.entry_routers] == ["literal"]


def test_a_router_without_name_is_called_condition() -> None:
    topology = chain().add_conditional_edges("plan", lambda state: "write").topology()

    assert [router.name for router in topology.nodes["plan"].routers] == ["condition"]


# Unreachable nodes


def test_unreachable_nodes_cause_a_warning() -> None:
    builder = chain().add_node("lost", plan).add_node("island", plan).add_edge("island", "island")

    with pytest.warns(UnreachableNodeWarning, match="no edge leads to 'lost', 'island'") as caught:
        builder.topology()

    assert caught[0].filename == __file__


def test_nodes_behind_joins_and_routers_are_reachable() -> None:
    builder = GraphBuilder(State).add_node(plan).add_node(write).add_node(review)
    builder.set_conditional_entry_point(route, ["plan", "write"]).add_edge(["plan", "write"], "review")

    assert set(builder.topology().nodes) == {"plan", "write", "review"}


def test_a_router_without_declared_choices_makes_every_node_reachable() -> None:
    builder = chain().add_node("worker", plan).add_conditional_edges("plan", sends)

    assert "worker" in builder.topology().nodes


# Invalid calls


@pytest.mark.parametrize(
    "call",
    [
        lambda builder: builder.add_node("plan", None),
        lambda builder: builder.add_node("plan", 3),
        lambda builder: builder.add_node(3, plan),
        lambda builder: builder.add_node(3),
        lambda builder: builder.add_node(lambda state: None),
        lambda builder: builder.add_node(functools.partial(plan)),
        lambda builder: builder.add_sequence([("plan", 3)]),
        lambda builder: builder.add_edge(plan, "plan"),
        lambda builder: builder.add_edge([plan], "plan"),
        lambda builder: builder.add_edge("plan", plan),
        lambda builder: builder.add_edge("plan", ["plan"]),
        lambda builder: builder.add_edge({"plan", "write"}, "review"),
        lambda builder: builder.add_conditional_edges(plan, route),
        lambda builder: builder.add_conditional_edges("plan", "write"),
        lambda builder: builder.add_conditional_edges("plan", route, "write"),
        lambda builder: builder.add_conditional_edges("plan", route, [write]),
        lambda builder: builder.add_conditional_edges("plan", route, 3),
    ],
)
def test_an_invalid_call_of_the_builder_is_refused_at_once(call: Callable[[Any], object]) -> None:
    with pytest.raises(GraphValidationError, check=of_kind("argument")) as caught:
        call(GraphBuilder(State))

    assert isinstance(caught.value, DurableGraphError)
    assert isinstance(caught.value, TypeError)
