"""What a description becomes."""

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict
from unittest.mock import AsyncMock

import pydantic
import pytest

from durable_graph.channels import Accumulated, Joined, LastValue, Reduced
from durable_graph.errors import DurableGraphError, GraphDescriptionError, UnreachableNodeWarning
from durable_graph.graph import END, START, GraphBuilder, Send


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


def test_a_node_goes_by_its_function_or_by_the_name_it_is_given() -> None:
    topology = (
        GraphBuilder(State).add_node(plan).add_node("second", plan).add_sequence([review]).set_entry_point("plan")
    )
    topology.add_edge("plan", "second").add_edge("second", "review")

    assert list(topology.topology().nodes) == ["plan", "second", "review"]


def test_an_edge_given_twice_is_one() -> None:
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
    assert set(topology.codecs) == {"topic", "drafts", join.channel}
    assert topology.codecs[join.channel].value.encode(("plan",))


def test_a_join_of_one_source_is_an_edge() -> None:
    topology = GraphBuilder(State).add_node(plan).add_node(write).add_edge(START, "plan").add_edge(["plan"], "write")

    assert topology.topology().nodes["plan"].edges == ("write",)
    assert topology.topology().joins == ()


def test_a_join_into_the_end_has_nothing_to_run() -> None:
    assert chain().add_edge(["plan", "write"], END).topology().joins == ()


def test_joins_of_other_sources_have_other_channels() -> None:
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


@pytest.mark.parametrize(
    ("path", "path_map", "choices"),
    [
        (route, None, None),
        (sends, None, None),
        (literal, None, {"write": "write", END: END}),
        (literal_or_sends, None, {"write": "write", "review": "review"}),
        (route, {True: "write", False: END}, {True: "write", False: END}),
        (route, ["write", END], {"write": "write", END: END}),
        (literal, {"write": "review"}, {"write": "review"}),
    ],
)
def test_what_a_router_may_choose(path: Callable[[State], Any], path_map: Any, choices: Any) -> None:
    (router,) = chain().add_conditional_edges("plan", path, path_map).topology().nodes["plan"].routers

    assert (router.name, router.path, router.choices) == (path.__name__, path, choices)


def test_a_run_may_begin_with_a_choice() -> None:
    topology = GraphBuilder(State).add_node(write).set_conditional_entry_point(literal).topology()

    assert topology.entry == ()
    assert [router.name for router in topology.entry_routers] == ["literal"]


def test_a_router_without_name_is_called_condition() -> None:
    topology = chain().add_conditional_edges("plan", lambda state: "write").topology()

    assert [router.name for router in topology.nodes["plan"].routers] == ["condition"]


# Calling a node


class Worker:
    async def __call__(self, state: State) -> None: ...

    async def run(self, state: State) -> None: ...

    def now(self, state: State) -> None: ...


class PlainWorker:
    def __call__(self, state: State) -> None: ...


async def with_option(state: State, option: int) -> None: ...


@pytest.mark.parametrize(
    ("action", "is_async"),
    [
        (plan, True),
        (review, False),
        (Worker(), True),
        (PlainWorker(), False),
        (Worker().run, True),
        (Worker().now, False),
        (functools.partial(with_option, option=1), True),
        (functools.partial(functools.partial(with_option), option=1), True),
        (functools.partial(Worker.run, Worker()), True),
        (AsyncMock(), True),
        (lambda state: None, False),
        (print, False),
    ],
)
def test_any_callable_is_a_node(action: Callable[..., Any], is_async: bool) -> None:
    node = GraphBuilder(State).add_node("it", action).add_edge(START, "it").topology().nodes["it"]

    assert node.action is action
    assert node.is_async == is_async
    assert node.injected == ()


def both(state: State, runtime: Any, *, config: Any = None, other: int = 1, **more: Any) -> None: ...


def runtime_alone(state: State, runtime: Any) -> None: ...


@pytest.mark.parametrize(
    ("action", "injected"),
    [
        (both, ("runtime", "config")),
        (runtime_alone, ("runtime",)),
        (functools.partial(both, config={}), ("runtime",)),
        (plan, ()),
    ],
)
def test_a_node_is_given_what_it_names_and_was_not_given_yet(
    action: Callable[..., Any], injected: tuple[str, ...]
) -> None:
    node = GraphBuilder(State).add_node("it", action).add_edge(START, "it").topology().nodes["it"]

    assert node.injected == injected


# What nodes receive


class Private(TypedDict):
    drafts: list[str]
    notes: Annotated[set[str], operator.or_]
    score: int


class Model(pydantic.BaseModel):
    topic: str


@dataclass
class Best:
    value: int


class AnyState(TypedDict):
    best: Annotated[Any, lambda value, write: write]


async def private(state: Private) -> None: ...


def typed_as_text(state: "Private") -> None: ...


async def reads_model(state: Model) -> None: ...


def untyped(state):  # type: ignore[no-untyped-def]  # what the test is about
    ...


def as_dict(state: dict[str, Any]) -> None: ...


def as_unknown(state: "Nowhere") -> None:  # type: ignore[name-defined]  # noqa: F821 - imported for the checker alone
    ...


def topology_of(action: Callable[..., Any], **options: Any) -> Any:
    builder: Any = GraphBuilder(State)
    return builder.add_node("it", action, **options).add_edge(START, "it").topology()


@pytest.mark.parametrize("action", [private, typed_as_text])
def test_keys_that_only_a_nodes_input_has_are_channels(action: Callable[..., Any]) -> None:
    topology = topology_of(action)

    assert topology.nodes["it"].input.cls is Private
    assert topology.state.keys == ("topic", "drafts")
    assert topology.channels == {
        "topic": LastValue(str),
        "drafts": Accumulated(list[str], operator.add),
        "notes": Accumulated(set[str], operator.or_),
        "score": LastValue(int),
    }
    assert set(topology.codecs) == set(topology.channels)


@pytest.mark.parametrize("action", [plan, untyped, as_dict, as_unknown, print])
def test_a_node_that_names_no_other_state_receives_the_state(action: Callable[..., Any]) -> None:
    topology = topology_of(action)

    assert topology.nodes["it"].input is topology.state


def test_an_input_schema_says_what_the_annotation_does_not() -> None:
    assert topology_of(untyped, input_schema=Private).nodes["it"].input.cls is Private
    assert topology_of(private, input_schema=State).nodes["it"].input.cls is State


def test_a_model_can_read_a_state_of_another_kind() -> None:
    assert topology_of(reads_model).nodes["it"].input.read({"topic": "tea"}) == Model(topic="tea")


def test_a_router_receives_what_it_is_annotated_with() -> None:
    def choose(state: Model) -> str:
        return state.topic

    builder: Any = chain()
    topology = builder.add_conditional_edges("plan", choose).add_conditional_edges("plan", route).topology()

    assert [router.input.cls for router in topology.nodes["plan"].routers] == [Model, State]


def test_an_input_may_narrow_a_type_of_the_state() -> None:
    class Wide(TypedDict):
        topic: str | int | None

    class Narrow(TypedDict):
        topic: str | None

    def narrow(state: Narrow) -> None: ...

    builder: Any = GraphBuilder(Wide)
    assert builder.add_node(narrow).set_entry_point("narrow").topology().channels == {
        "topic": LastValue(str | int | None)
    }


# Storing


def test_values_of_any_type_may_be_what_the_graph_names() -> None:
    def keep_best(value: Best | None, write: Best) -> Best:
        return write

    class Loose(TypedDict):
        best: Annotated[Any, keep_best]

    def work(job: Model) -> None: ...

    builder: Any = GraphBuilder(Loose)
    topology = builder.add_node(work).set_entry_point("work").topology()
    codec = topology.codecs["best"]

    assert isinstance(topology.channels["best"], Reduced)
    assert codec.value.decode(codec.value.encode([Best(1)])) == [Best(1)]
    assert codec.update.decode(codec.update.encode(Best(1))) == Best(1)
    assert topology.argument.decode(topology.argument.encode(Model(topic="tea"))) == Model(topic="tea")


def test_values_of_any_type_may_be_what_the_caller_lists() -> None:
    def identity(state: Any) -> None: ...

    topology = GraphBuilder(State).add_node(identity).set_entry_point("identity").topology(types=[("best", Best)])

    assert topology.argument.decode(topology.argument.encode(Best(1))) == Best(1)


# Nodes that nothing leads to


def test_a_node_that_no_edge_leads_to_is_warned_of() -> None:
    builder = chain().add_node("lost", plan).add_node("island", plan).add_edge("island", "island")

    with pytest.warns(UnreachableNodeWarning, match="no edge leads to 'lost', 'island'") as caught:
        builder.topology()

    assert caught[0].filename == __file__


def test_nodes_behind_joins_and_routers_are_reached() -> None:
    builder = GraphBuilder(State).add_node(plan).add_node(write).add_node(review)
    builder.set_conditional_entry_point(route, ["plan", "write"]).add_edge(["plan", "write"], "review")

    assert set(builder.topology().nodes) == {"plan", "write", "review"}


def test_a_router_that_may_choose_any_node_may_reach_every_node() -> None:
    builder = chain().add_node("worker", plan).add_conditional_edges("plan", sends)

    assert "worker" in builder.topology().nodes


# Calls that describe nothing


@pytest.mark.parametrize(
    "call",
    [
        lambda builder: builder.add_node("plan", None),
        lambda builder: builder.add_node("plan", 3),
        lambda builder: builder.add_node(3, plan),
        lambda builder: builder.add_node(3),
        lambda builder: builder.add_node(lambda state: None),
        lambda builder: builder.add_node(functools.partial(with_option, option=1)),
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
def test_a_call_that_describes_nothing_is_refused_at_once(call: Callable[[Any], object]) -> None:
    with pytest.raises(GraphDescriptionError) as caught:
        call(GraphBuilder(State))

    assert isinstance(caught.value, DurableGraphError)
    assert isinstance(caught.value, TypeError)
