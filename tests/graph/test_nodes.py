"""Nodes: their callables, their inputs, and the types that a graph can store because of them."""

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict
from unittest.mock import AsyncMock

import pydantic
import pytest

from durable_graph import END, START, LastValue
from durable_graph.channels import Accumulated, Reduced
from durable_graph.graph import GraphBuilder


class State(TypedDict):
    topic: str
    drafts: Annotated[list[str], operator.add]


async def plan(state: State) -> dict[str, Any]:
    return {"topic": "tea"}


def review(state: State) -> None:
    """Changes nothing."""


def route(state: State) -> str:
    return END


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
        (dict, False),
    ],
)
def test_any_callable_is_a_node(action: Callable[..., Any], is_async: bool) -> None:
    node = GraphBuilder(State).add_node("it", action).add_edge(START, "it").topology().nodes["it"]

    assert node.action is action
    assert node.is_async == is_async
    assert not node.injected


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
def test_parameters_that_are_already_bound_are_not_injected(
    action: Callable[..., Any], injected: tuple[str, ...]
) -> None:
    node = GraphBuilder(State).add_node("it", action).add_edge(START, "it").topology().nodes["it"]

    assert tuple(node.injected) == injected


# Inputs of nodes


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
    assert set(topology.codecs) == {*topology.channels, "#deferred"}


@pytest.mark.parametrize("action", [plan, untyped, as_dict, as_unknown, print])
def test_a_node_without_an_input_class_receives_the_whole_state(action: Callable[..., Any]) -> None:
    topology = topology_of(action)

    assert topology.nodes["it"].input is topology.state


def test_an_input_schema_takes_precedence_over_the_annotation() -> None:
    assert topology_of(untyped, input_schema=Private).nodes["it"].input.cls is Private
    assert topology_of(private, input_schema=State).nodes["it"].input.cls is State


def test_a_model_can_read_a_state_of_another_kind() -> None:
    assert topology_of(reads_model).nodes["it"].input.read({"topic": "tea"}) == Model(topic="tea")


def test_a_router_receives_the_class_of_its_annotation() -> None:
    def choose(state: Model) -> str:
        return state.topic

    builder: Any = GraphBuilder(State).add_node("plan", plan).set_entry_point("plan")
    topology = builder.add_conditional_edges("plan", choose).add_conditional_edges("plan", route).topology()

    assert [router.input.cls for router in topology.nodes["plan"].routers] == [Model, State]


def test_an_input_may_narrow_a_type_of_the_state() -> None:
    class Wide(TypedDict):
        topic: str | int | None
        best: Annotated[Any, max]

    class Narrow(TypedDict):
        topic: str | None
        best: int

    def narrow(state: Narrow) -> None: ...

    builder: Any = GraphBuilder(Wide)
    assert builder.add_node(narrow).set_entry_point("narrow").topology().channels == {
        "topic": LastValue(str | int | None),
        "best": Reduced(Any, max),
    }


# Stored types


def test_a_value_of_type_any_may_be_of_a_class_that_the_graph_names() -> None:
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


def test_a_send_argument_may_be_of_a_class_that_the_caller_lists() -> None:
    def identity(state: Any) -> None: ...

    topology = GraphBuilder(State).add_node(identity).set_entry_point("identity").topology(types=[("best", Best)])

    assert topology.argument.decode(topology.argument.encode(Best(1))) == Best(1)
