"""Reducers in annotations: found in every spelling, and refused at compile time if they cannot be applied."""

import operator
from typing import Annotated, Any, NewType, Optional, Required, TypedDict, TypeVar, Union

import msgspec
import pydantic
import pytest
from typing_extensions import ReadOnly, TypeAliasType

from durable_graph import (
    START,
    GraphValidationError,
    LastValue,
    RemainingSteps,
    StateGraph,
    Topic,
    UntrackedValue,
    add_messages,
)
from durable_graph.channels import Accumulated, Channel, Messages, Reduced
from durable_graph.graph import Schema
from durable_graph.graph.managed import RemainingStepsManager
from tests.errors.kinds import of_kind
from tests.graph import postponed, postponed_elsewhere
from tests.graph.state_makers import KINDS, Kind, as_typed_dict

T = TypeVar("T")

Log = Annotated[list[str], operator.add]
LogOf = Annotated[list[T], operator.add]
NamedLog = TypeAliasType("NamedLog", Annotated[list[str], operator.add])
QuotedLog = TypeAliasType("QuotedLog", "Annotated[list[str], operator.add]")
NamedLogOf = TypeAliasType("NamedLogOf", Annotated[list[T], operator.add], type_params=(T,))
MaybeLog = TypeAliasType("MaybeLog", Optional[NamedLog])  # noqa: UP045  # the alias takes no `|` on Python 3.11
Strings = TypeAliasType("Strings", list[str])
NewLog = NewType("NewLog", Annotated[list[str], operator.add])
NewStrings = NewType("NewStrings", list[str])

ADDED = Accumulated(list[str], operator.add)
ADDED_OR_NONE = Accumulated(Optional[list[str]], operator.add, is_optional=True)  # noqa: UP045  # equal to `| None`

SPELLINGS: dict[str, tuple[Any, Channel]] = {
    "Annotated": (Log, ADDED),
    "Annotated | None": (Log | None, ADDED_OR_NONE),
    "None | Annotated": (None | Log, ADDED_OR_NONE),
    "Optional": (Optional[Log], ADDED_OR_NONE),  # noqa: UP045  # what the test is about
    "Union": (Union[None, Log], ADDED_OR_NONE),  # noqa: UP007  # what the test is about
    "an alias with an argument": (LogOf[str], ADDED),
    "a named alias": (NamedLog, ADDED),
    "a named alias in quotes": (QuotedLog, ADDED),
    "a named alias with an argument": (NamedLogOf[str], ADDED),
    "a named alias with an argument | None": (Optional[NamedLogOf[str]], ADDED_OR_NONE),  # noqa: UP045
    "an optional named alias": (MaybeLog, ADDED_OR_NONE),
    "an optional named alias | None": (Optional[MaybeLog], ADDED_OR_NONE),  # noqa: UP045
    "Annotated with a named alias inside": (Annotated[Strings, operator.add], ADDED),
    "Annotated around a named alias": (Annotated[NamedLog, "in order"], ADDED),
    "Annotated around an optional": (Annotated[Log | None, "in order"], ADDED_OR_NONE),
    "Annotated in Annotated": (Annotated[Annotated[list[str], operator.add], "in order"], ADDED),
    "NewType": (NewLog, ADDED),
    "Annotated with a NewType inside": (Annotated[NewStrings, operator.add], ADDED),
    "Annotated with None inside": (Annotated[list[str] | None, operator.add], Reduced(list[str] | None, operator.add)),
    "messages": (Annotated[list[Any], add_messages] | None, Messages(list[Any])),
    "messages behind a name": (TypeAliasType("M", Annotated[list[Any], add_messages]), Messages(list[Any])),
    "a rule": (Annotated[str, UntrackedValue] | None, UntrackedValue(Optional[str])),  # noqa: UP045
    "a rule behind a name": (TypeAliasType("U", Annotated[str, UntrackedValue]), UntrackedValue(str)),
    "a topic behind a name": (TypeAliasType("P", Annotated[list[str], Topic]), Topic(str)),
    "no reducer": (Optional[Strings], LastValue(Optional[Strings])),  # noqa: UP045
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_a_reducer_is_read_in_every_kind_of_state(kind: Kind, spelling: str) -> None:
    declared, channel = SPELLINGS[spelling]

    assert Schema.of(kind(declared)).channels() == {"log": channel}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_state_of_one_value_is_read_in_the_same_way(spelling: str) -> None:
    declared, channel = SPELLINGS[spelling]

    assert Schema.of(declared).channels() == {"__root__": channel}


@pytest.mark.parametrize("wrapper", [Required, ReadOnly])
def test_qualifiers_and_a_union_may_be_around_a_reducer(wrapper: Any) -> None:
    assert Schema.of(as_typed_dict(wrapper[Log | None])).channels() == {"log": ADDED_OR_NONE}


def test_a_managed_value_may_be_optional_or_an_alias() -> None:
    for declared in (RemainingSteps | None, TypeAliasType("Left", RemainingSteps)):
        assert Schema.of(as_typed_dict(declared)).managed == {"log": RemainingStepsManager}


@pytest.mark.parametrize(
    "state",
    [
        postponed.AsTypedDict,
        postponed.AsGenericDict[str],
        postponed.AsInheritedDict,
        postponed.AsDataclass[str],
        postponed.AsStruct,
        postponed.AsModel,
    ],
)
def test_postponed_annotations_are_read_in_the_same_way(state: Any) -> None:
    optional = {"optional", "either", "quoted"}
    for key, channel in Schema.of(state).channels().items():
        if key == "secret":
            assert channel == UntrackedValue(object)
        else:
            assert channel == (ADDED_OR_NONE if key in optional else ADDED), key


@pytest.mark.parametrize(
    ("state", "base"),
    [
        (postponed_elsewhere.AsTypedDict, postponed.AsTypedDict),
        (postponed_elsewhere.AsInheritedDict, postponed.AsGenericDict[str]),
        (postponed_elsewhere.AsDataclass, postponed.AsDataclass[str]),
        (postponed_elsewhere.AsStruct, postponed.AsStruct),
    ],
)
def test_inherited_annotations_are_resolved_in_the_module_of_their_class(state: Any, base: Any) -> None:
    assert Schema.of(state).channels() == Schema.of(base).channels() | {"more": LastValue(int)}


def test_inherited_annotations_are_resolved_in_a_class_with_a_field_of_a_local_type() -> None:
    read = []

    def compile_(state: Any) -> None:
        StateGraph(state).add_node("n", lambda _: None).add_edge(START, "n").compile()
        read.append(Schema.of(state).channels())

    postponed_elsewhere.in_a_function(compile_)

    assert len(read) == 3
    for channels in read:
        assert channels["alias"] == channels["plain"] == ADDED
        assert channels["optional"] == ADDED_OR_NONE


def test_a_state_class_may_be_wrapped_in_an_alias_a_new_type_or_annotated() -> None:
    expected = Schema.of(as_typed_dict(Log)).channels()
    state = as_typed_dict(Log)

    for named in (TypeAliasType("State", state), NewType("State", state), Annotated[state, "a remark"]):
        assert Schema.of(named).channels() == expected


# Reducers that cannot be applied


def graph_of(state: Any, **schemas: Any) -> Any:
    async def node(given: Any) -> None:
        """Write nothing."""

    return StateGraph(state, **schemas).add_node("node", node).add_edge(START, "node")


HIDDEN: dict[str, tuple[Any, str]] = {
    "a union of two types": (Annotated[list[str], operator.add] | str, "add"),
    "a union of two reducers": (Annotated[list[str], operator.add] | Annotated[int, max] | None, "max|add"),
    "a union of two names": (Union[NamedLog, int, None], "add"),  # noqa: UP007  # what the test is about
    "a list": (list[Annotated[int, max]], "max"),
    "a dict": (dict[str, Log | None], "add"),
    "deep": (list[dict[str, tuple[NamedLog, ...]]] | None, "add"),
    "a rule": (list[Annotated[str, UntrackedValue]], "UntrackedValue"),
    "an instance of a rule": (list[Annotated[list[str], Topic(accumulate=True)]], "Topic"),
    "messages": (dict[str, Annotated[list[Any], add_messages]], "add_messages"),
    "a computed value": (list[RemainingSteps], "RemainingStepsManager"),
    "a reducer inside another": (Annotated[list[Annotated[int, max]], operator.add], "max"),
    "an optional reducer inside another": (Annotated[Log | None, max], "add"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", HIDDEN)
def test_a_reducer_of_a_part_of_a_type_is_refused_by_name(kind: Kind, place: str) -> None:
    declared, name = HIDDEN[place]

    with pytest.raises(
        GraphValidationError, match=rf"State\.log: ({name}) is declared for a part of the type"
    ) as caught:
        graph_of(kind(declared)).compile()

    assert all(len(problem) <= 400 for problem in caught.value.problems)


@pytest.mark.parametrize("option", ["input_schema", "output_schema"])
def test_a_reducer_of_a_part_of_a_type_is_refused_in_input_and_output_schemas(option: str) -> None:
    with pytest.raises(GraphValidationError, check=of_kind("graph"), match=r"State\.log: add is declared for a part"):
        graph_of(as_typed_dict(list[str]), **{option: as_typed_dict(list[Log])}).compile()


def test_a_reducer_of_a_part_of_a_type_is_refused_in_the_input_of_a_node_and_of_a_router() -> None:
    own = as_typed_dict(list[Log])

    async def node(given: Any) -> None:
        """Write nothing."""

    async def router(given: Any) -> str:
        return "node"

    router.__annotations__["given"] = own
    builders = (
        graph_of(as_typed_dict(int, "x")).add_node("second", node, input_schema=own).add_edge(START, "second"),
        graph_of(as_typed_dict(int, "x")).add_conditional_edges("node", router, ["node"]),
    )
    for builder in builders:
        with pytest.raises(
            GraphValidationError, check=of_kind("graph"), match=r"State\.log: add is declared for a part"
        ):
            builder.compile()


def test_the_remedy_of_the_refusal_is_accepted() -> None:
    assert graph_of(as_typed_dict(Annotated[list[str] | str, operator.add])).compile()


class Marker:
    """A class among metadata, as validators and markers are."""

    def __init__(self, one: int, two: int) -> None:
        """Take two arguments, as a reducer does."""


@pytest.mark.parametrize(
    "declared",
    [
        list[Annotated[str, "a remark"]],
        list[Annotated[int, pydantic.Field(ge=0), msgspec.Meta(ge=0)]],
        list[Annotated[int, pydantic.AfterValidator(abs)]],
        list[Annotated[int, Marker]],
        list[Annotated[int, lambda value: value > 0]],
        Annotated[int, "one"] | Annotated[str, "two"],
    ],
)
def test_other_metadata_inside_of_a_type_is_no_reducer(declared: Any) -> None:
    assert graph_of(as_typed_dict(declared)).compile()


class Inner(TypedDict):
    log: Log


def test_a_value_may_be_of_a_state_class_of_another_graph() -> None:
    assert graph_of(as_typed_dict(dict[str, Inner])).compile()


Tree = TypeAliasType("Tree", "list[Tree] | int | None")
Hiding = TypeAliasType("Hiding", "list[Hiding] | Annotated[int, max]")


def test_a_recursive_alias_is_searched_once() -> None:
    assert graph_of(as_typed_dict(Tree)).compile()
    with pytest.raises(GraphValidationError, check=of_kind("graph"), match="max is declared for a part"):
        graph_of(as_typed_dict(dict[str, Hiding])).compile()
