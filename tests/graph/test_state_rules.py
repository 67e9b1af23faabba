"""Annotations of state keys that declare the rule of a channel or a managed value."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec
import pydantic
import pytest

from durable_graph import (
    AnyValue,
    EphemeralValue,
    IsLastStep,
    LastValue,
    MessagesState,
    RemainingSteps,
    Topic,
    UntrackedValue,
    add_messages,
)
from durable_graph.channels import Messages, Reduced
from durable_graph.graph import Place, Schema
from durable_graph.graph.managed import IsLastStepManager, RemainingStepsManager
from durable_graph.graph.schema import ROOT


class Handle:
    """A class that cannot be stored and that pydantic does not know."""


class AsTypedDict(TypedDict, total=False):
    last: Annotated[int, LastValue]
    any_of: Annotated[int, AnyValue]
    note: Annotated[int, EphemeralValue]
    notes: Annotated[int, EphemeralValue(int, guard=False)]
    hidden: Annotated[Handle | None, UntrackedValue]
    topic: Annotated[Sequence[str], Topic]
    kept: Annotated[list[str], Topic(str, accumulate=True)]
    messages: Annotated[list[Any], add_messages]
    is_last: IsLastStep
    remaining: RemainingSteps


@dataclass
class AsDataclass:
    remaining: RemainingSteps
    is_last: IsLastStep
    last: Annotated[int, LastValue] = 0
    any_of: Annotated[int, AnyValue] = 0
    note: Annotated[int, EphemeralValue] = 0
    notes: Annotated[int, EphemeralValue(int, guard=False)] = 0
    hidden: Annotated[Handle | None, UntrackedValue] = None
    topic: Annotated[Sequence[str], Topic] = ()
    kept: Annotated[list[str], Topic(str, accumulate=True)] = field(default_factory=list)
    messages: Annotated[list[Any], add_messages] = field(default_factory=list)


class AsStruct(msgspec.Struct, kw_only=True):
    remaining: RemainingSteps
    is_last: IsLastStep
    last: Annotated[int, LastValue] = 0
    any_of: Annotated[int, AnyValue] = 0
    note: Annotated[int, EphemeralValue] = 0
    notes: Annotated[int, EphemeralValue(int, guard=False)] = 0
    hidden: Annotated[Handle | None, UntrackedValue] = None
    topic: Annotated[Sequence[str], Topic] = ()
    kept: Annotated[list[str], Topic(str, accumulate=True)] = []
    messages: Annotated[list[Any], add_messages] = []


class AsModel(pydantic.BaseModel, arbitrary_types_allowed=True):
    remaining: RemainingSteps
    is_last: IsLastStep
    last: Annotated[int, LastValue] = 0
    any_of: Annotated[int, AnyValue] = 0
    note: Annotated[int, EphemeralValue] = 0
    notes: Annotated[int, EphemeralValue(int, guard=False)] = 0
    hidden: Annotated[Handle | None, UntrackedValue] = None
    topic: Annotated[Sequence[str], Topic] = ()
    kept: Annotated[list[str], Topic(str, accumulate=True)] = []
    messages: Annotated[list[Any], add_messages] = []


WITH_INSTANCES: list[type] = [AsDataclass, AsStruct, AsModel]


@pytest.mark.parametrize("state", [AsTypedDict, *WITH_INSTANCES])
def test_every_kind_of_class_declares_the_same_rules(state: type) -> None:
    schema = Schema.of(state)

    assert schema.channels() == {
        "last": LastValue(int),
        "any_of": AnyValue(int),
        "note": EphemeralValue(int),
        "notes": EphemeralValue(int, guard=False),
        "hidden": UntrackedValue(Handle | None),
        "topic": Topic(str),
        "kept": Topic(str, accumulate=True),
        "messages": Messages(list[Any]),
    }
    assert schema.managed == {"remaining": RemainingStepsManager, "is_last": IsLastStepManager}
    assert schema.misfits == ()


@pytest.mark.parametrize("state", WITH_INSTANCES)
def test_an_instance_receives_the_managed_values_of_its_task(state: Any) -> None:
    schema = Schema.of(state)

    given = schema.read({"last": 3}, Place(step=2, remaining=1))
    outside = schema.read({})

    assert (given.last, given.remaining, given.is_last) == (3, 1, True)
    assert (outside.last, outside.remaining, outside.is_last) == (0, 0, False)
    assert set(schema.updates(given) or ()).isdisjoint(schema.managed)


def test_a_dict_receives_managed_values_only_inside_a_task() -> None:
    schema = Schema.of(AsTypedDict)

    assert schema.read({"last": 3}, Place(step=0, remaining=5)) == {"last": 3, "remaining": 5, "is_last": False}
    assert schema.read({"last": 3}) == {"last": 3}


def test_the_last_rule_or_reducer_of_an_annotation_is_used() -> None:
    class State(TypedDict):
        reduced: Annotated[int, LastValue, max]
        last: Annotated[int, max, "a remark", LastValue]
        computed: Annotated[RemainingSteps, "a remark"]
        optional: NotRequired[Annotated[str, EphemeralValue]]

    schema = Schema.of(State)

    assert schema.channels() == {
        "reduced": Reduced(int, max),
        "last": LastValue(int),
        "optional": EphemeralValue(str),
    }
    assert list(schema.managed) == ["computed"]


def test_a_rule_that_cannot_hold_the_type_is_reported_with_its_key() -> None:
    class State(TypedDict):
        topic: Annotated[int, Topic]
        messages: Annotated[str, add_messages]

    assert Schema.of(State).misfits == (
        "State.topic: a Topic holds a list: declare it as Annotated[list[<item>], Topic]",
        "State.messages: add_messages merges a list: declare it as list[<message>]",
    )


def test_a_state_of_messages_may_have_more_keys() -> None:
    class State(MessagesState):
        topic: str

    assert Schema.of(State).channels() == {"messages": Messages(list[Any]), "topic": LastValue(str)}


# One value


@pytest.mark.parametrize(
    ("state", "rule"),
    [
        (int, LastValue(int)),
        (dict, LastValue(dict)),
        (list[str], LastValue(list[str])),
        (int | None, LastValue(int | None)),
        (Any, LastValue(Any)),
        (Annotated[int, max], Reduced(int, max)),
        (Annotated[list[str], Topic], Topic(str)),
        (Annotated[list[Any], add_messages], Messages(list[Any])),
        (Annotated[AsDataclass, operator.or_], Reduced(AsDataclass, operator.or_)),
    ],
)
def test_the_type_of_one_value_is_one_channel(state: Any, rule: Any) -> None:
    schema = Schema.of(state)

    assert schema.is_single
    assert schema.channels() == {ROOT: rule}


def test_a_node_receives_one_value_and_returns_it() -> None:
    schema = Schema.of(list[int])

    assert schema.read({ROOT: [1]}) == [1]
    assert schema.read({}) is None
    assert schema.updates({"any": "thing"}) == {ROOT: {"any": "thing"}}
    assert schema.name == "list[int]"


def test_a_state_class_in_annotated_is_not_a_single_value() -> None:
    schema = Schema.of(Annotated[AsDataclass, "a remark"])

    assert not schema.is_single
    assert schema.cls is AsDataclass
