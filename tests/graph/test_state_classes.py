"""State classes of every kind: their channels, their updates, and the inputs of nodes."""

import operator
import subprocess
import sys
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from typing import Annotated, Any, ClassVar, Generic, NamedTuple, NotRequired, Required, TypedDict, TypeVar

import msgspec
import pydantic
import pytest
import typing_extensions
from typing_extensions import ReadOnly, TypeAliasType

from durable_graph import LastValue
from durable_graph.channels import Accumulated, Reduced
from durable_graph.errors import (
    DurableGraphError,
    GraphValidationError,
    StateKeyError,
)
from durable_graph.graph import Schema
from durable_graph.graph.state_kinds import context_of
from tests.errors.kinds import of_kind

T = TypeVar("T")


class AsTypedDict(TypedDict):
    topic: str
    drafts: Annotated[list[str], operator.add]
    best: Annotated[int, max]


@dataclass
class AsDataclass:
    topic: str
    drafts: Annotated[list[str], operator.add] = field(default_factory=list)
    best: Annotated[int, max] = 0


class AsStruct(msgspec.Struct, rename="camel", tag="state", kw_only=True):
    topic: str
    drafts: Annotated[list[str], operator.add] = []
    best: Annotated[int, max] = 0


class AsModel(pydantic.BaseModel):
    topic: str
    drafts: Annotated[list[str], operator.add] = pydantic.Field(default_factory=list)
    best: Annotated[int, max, pydantic.Field(ge=0)] = 0


EVERY_KIND: list[type] = [AsTypedDict, AsDataclass, AsStruct, AsModel]
WITH_INSTANCES: list[type] = [AsDataclass, AsStruct, AsModel]


@pytest.mark.parametrize("state", EVERY_KIND)
def test_every_kind_of_class_describes_the_same_channels(state: type) -> None:
    schema = Schema.of(state)

    assert schema.keys == ("topic", "drafts", "best")
    assert schema.channels() == {
        "topic": LastValue(str),
        "drafts": Accumulated(list[str], operator.add),
        "best": Reduced(int, max),
    }


@pytest.mark.parametrize("state", WITH_INSTANCES)
def test_a_node_receives_an_instance_in_which_absent_keys_have_their_defaults(state: type) -> None:
    assert Schema.of(state).read({"topic": "tea", "#join:a+b:c": ("a",)}) == state(topic="tea", drafts=[], best=0)


@pytest.mark.parametrize("state", WITH_INSTANCES)
def test_a_key_without_value_or_default_is_named_with_its_class(state: type) -> None:
    with pytest.raises(StateKeyError, check=of_kind("missing")) as caught:
        Schema.of(state).read({"best": 1})

    assert (caught.value.key, caught.value.where, caught.value.known) == ("topic", state.__name__, ("best",))
    assert str(caught.value).startswith(f"{state.__name__} requires 'topic'")


def test_a_node_receives_the_keys_of_a_typed_dict_that_have_a_value() -> None:
    values = {"topic": "tea", "other": 1}
    seen = Schema.of(AsTypedDict).read(values)
    seen["best"] = 3

    assert seen == {"topic": "tea", "best": 3}
    assert values == {"topic": "tea", "other": 1}


# Instances as updates


def test_an_instance_writes_every_field() -> None:
    assert Schema.of(AsDataclass).updates(AsDataclass("tea")) == {"topic": "tea", "drafts": [], "best": 0}
    assert Schema.of(AsStruct).updates(AsStruct(topic="tea")) == {"topic": "tea", "drafts": [], "best": 0}


def test_a_model_writes_the_fields_that_were_set() -> None:
    assert Schema.of(AsModel).updates(AsModel(topic="tea", best=0)) == {"topic": "tea", "best": 0}


def test_a_field_that_is_none_by_default_and_in_the_instance_is_not_written() -> None:
    @dataclass
    class State:
        by_default: int | None = None
        required: int | None = field(kw_only=True)

    class Struct(msgspec.Struct):
        by_default: int | None = None

    assert Schema.of(State).updates(State(required=None)) == {"required": None}
    assert Schema.of(State).updates(State(by_default=1, required=2)) == {"by_default": 1, "required": 2}
    assert Schema.of(Struct).updates(Struct()) == {}


def test_a_model_writes_an_explicit_none() -> None:
    class Model(pydantic.BaseModel):
        note: str | None = None

    assert Schema.of(Model).updates(Model()) == {}
    assert Schema.of(Model).updates(Model(note=None)) == {"note": None}


def test_a_model_writes_its_extra_fields() -> None:
    class Open(pydantic.BaseModel, extra="allow"):
        topic: str = ""

    result = Open.model_validate({"other": 1, "topic": "tea"})

    assert Schema.of(Open).updates(result) == {"topic": "tea", "other": 1}


@pytest.mark.parametrize("state", EVERY_KIND)
@pytest.mark.parametrize("result", [None, {"topic": "tea"}, 1, "topic"])
def test_a_result_that_is_no_instance_of_the_class_gives_no_updates(state: type, result: Any) -> None:
    assert Schema.of(state).updates(result) is None


# TypedDicts


def test_qualifiers_around_a_type_are_removed() -> None:
    class State(typing_extensions.TypedDict, total=False):
        required: Required[int]
        not_required: NotRequired[Annotated[list[int], "in order", operator.add]]
        read_only: typing_extensions.ReadOnly[Annotated[str, "a remark"]]

    assert Schema.of(State).channels() == {
        "required": LastValue(int),
        "not_required": Accumulated(list[int], operator.add),
        "read_only": LastValue(str),
    }


def test_a_state_has_the_keys_of_its_bases() -> None:
    class Base(TypedDict):
        topic: str

    class State(Base, total=False):
        best: int

    @dataclass
    class BaseData:
        topic: str

    @dataclass
    class Data(BaseData):
        best: int

    assert Schema.of(State).keys == Schema.of(Data).keys == ("topic", "best")


class GenericDict(TypedDict, Generic[T]):
    items: Annotated[list[T], operator.add]
    first: NotRequired[T]


class OfInts(GenericDict[int]):
    extra: str


@dataclass
class GenericData(Generic[T]):
    items: list[T]


class GenericStruct(msgspec.Struct, Generic[T]):
    items: list[T]


class GenericModel(pydantic.BaseModel, Generic[T]):
    items: list[T]


@pytest.mark.parametrize(
    ("state", "declared"),
    [
        (GenericDict[int], list[int]),
        (OfInts, list[int]),
        (GenericDict, list[Any]),
        (GenericData[int], list[int]),
        (GenericStruct[int], list[int]),
        (GenericModel[int], list[int]),
    ],
)
def test_a_generic_state_has_the_types_it_is_given(state: Any, declared: Any) -> None:
    assert Schema.of(state).fields["items"].declared == declared


class DictOfOwn(GenericDict[int], Generic[T]):
    last: ReadOnly[T]


@dataclass
class DataOfOwn(GenericData[int], Generic[T]):
    last: T


class StructOfOwn(GenericStruct[int], Generic[T]):
    last: T


class ModelOfOwn(GenericModel[int], Generic[T]):
    last: T


@pytest.mark.parametrize("state", [DictOfOwn[str], DataOfOwn[str], StructOfOwn[str], ModelOfOwn[str]])
def test_a_class_and_its_generic_base_may_use_one_type_variable_for_two_types(state: Any) -> None:
    fields = Schema.of(state).fields

    assert (fields["items"].declared, fields["last"].declared) == (list[int], str)


def test_a_generic_state_is_built_as_its_class() -> None:
    assert Schema.of(GenericData[int]).read({"items": [1]}) == GenericData([1])
    assert Schema.of(GenericModel[int]).read({"items": [1]}) == GenericModel[int](items=[1])
    assert Schema.of(GenericData[int]).updates(GenericData([1])) == {"items": [1]}


# Dataclasses, Structs, models


def test_fields_outside_the_constructor_are_keys_and_class_variables_are_not() -> None:
    @dataclass(frozen=True)
    class State:
        topic: str
        version: ClassVar[int] = 1
        length: int = field(init=False, default=0)

    schema = Schema.of(State)
    built = schema.read({"topic": "tea", "length": 3})

    assert schema.keys == ("topic", "length")
    assert (built.topic, built.length) == ("tea", 3)


def test_an_init_only_field_is_refused() -> None:
    @dataclass
    class State:
        topic: str
        seed: InitVar[int]

    with pytest.raises(GraphValidationError, check=of_kind("schema"), match="'seed'"):
        Schema.of(State)


def test_a_struct_with_renamed_fields_has_keys_named_like_its_attributes() -> None:
    class State(msgspec.Struct, rename="kebab", forbid_unknown_fields=True):
        first_topic: str
        second_topic: str = "none"

    schema = Schema.of(State)

    assert schema.keys == ("first_topic", "second_topic")
    assert schema.read({"first_topic": "tea"}) == State("tea")
    assert schema.updates(State("tea")) == {"first_topic": "tea", "second_topic": "none"}


def test_a_model_with_aliases_has_keys_named_like_its_fields() -> None:
    class State(pydantic.BaseModel):
        first_topic: str = pydantic.Field(alias="firstTopic")

    schema = Schema.of(State)

    assert schema.keys == ("first_topic",)
    assert schema.read({"first_topic": "tea"}) == State(firstTopic="tea")


def test_a_model_is_validated_when_a_node_receives_it() -> None:
    with pytest.raises(pydantic.ValidationError, match="greater than or equal to 0"):
        Schema.of(AsModel).read({"topic": "tea", "best": -1})


def test_pydantic_stays_unimported_while_no_state_is_a_model() -> None:
    program = """
import sys
from dataclasses import dataclass
from typing import TypedDict
import msgspec
from durable_graph.graph import Schema
from durable_graph.graph.state_kinds import context_of

class A(TypedDict):
    topic: str

@dataclass
class B:
    topic: str

class C(msgspec.Struct):
    topic: str

for state in (A, B, C):
    Schema.of(state).read({"topic": "tea"})
assert "pydantic" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


# Names in annotations


def test_string_annotations_may_name_local_classes() -> None:
    @dataclass
    class Draft:
        text: str

    class State(TypedDict):
        drafts: "Annotated[list[Draft], operator.add]"

    @dataclass
    class Data:
        draft: "Draft"
        parent: "Data | None" = None

    class Struct(msgspec.Struct):
        draft: "Draft"

    class Model(pydantic.BaseModel):
        draft: "Draft"

    assert Schema.of(State).fields["drafts"].declared == list[Draft]
    assert Schema.of(Data).fields["parent"].declared == Data | None
    assert Schema.of(Struct).fields["draft"].declared is Draft
    assert Schema.of(Model).fields["draft"].declared is Draft


def test_a_local_class_of_an_enclosing_function_is_found() -> None:
    class Draft(msgspec.Struct):
        text: str

    class State(TypedDict):
        draft: "Draft"

    def describe() -> Schema:
        return Schema.of(State)

    assert describe().fields["draft"].declared is Draft


class UnresolvedDict(TypedDict):
    fine: int
    draft: "list[Nowhere]"  # type: ignore[name-defined]  # noqa: F821 - what the test is about


class UnresolvedModel(pydantic.BaseModel):
    fine: int
    draft: "list[Nowhere]"  # type: ignore[name-defined]  # noqa: F821 - what the test is about


@pytest.mark.parametrize("state", [UnresolvedDict, UnresolvedModel])
def test_a_name_that_cannot_be_resolved_is_reported_with_its_field(state: type) -> None:
    with pytest.raises(GraphValidationError, match="the type of 'draft' cannot be resolved: name 'Nowhere'") as caught:
        Schema.of(state)

    assert (caught.value.kind, caught.value.subject) == ("schema", state)


def test_a_local_class_of_a_function_that_has_returned_is_not_found() -> None:
    def make() -> Any:
        class Draft(msgspec.Struct):
            text: str

        class State(TypedDict):
            draft: "Draft"

        return State

    with pytest.raises(
        GraphValidationError, check=of_kind("schema"), match="the type of 'draft' cannot be resolved: name 'Draft'"
    ):
        Schema.of(make())


# Reducers


def two_and_an_option(value: int, write: int, *, weight: int = 1) -> int:
    return value + write * weight


def three_with_a_default(value: int, write: int, weight: int = 1) -> int:
    return value + write * weight


class AsMethod:
    def keep(self, value: int, write: int) -> int:
        return value


@pytest.mark.parametrize(
    "reducer",
    [
        operator.add,
        max,
        two_and_an_option,
        three_with_a_default,
        AsMethod().keep,
        lambda *values: values[-1],
        int.__add__,
    ],
)
def test_a_callable_that_accepts_two_arguments_is_a_reducer(reducer: Callable[..., Any]) -> None:
    class State(TypedDict):
        best: Annotated[int, reducer]

    assert Schema.of(State).fields["best"].reducer is reducer


def test_the_last_callable_is_the_reducer() -> None:
    class State(TypedDict):
        best: Annotated[Annotated[int, min], "the best", max, msgspec.Meta(ge=0)]

    assert Schema.of(State).fields["best"].reducer is max


@pytest.mark.parametrize("remark", ["text", 3, msgspec.Meta(ge=0), pydantic.Field(ge=0)])
def test_metadata_that_is_not_callable_is_ignored(remark: Any) -> None:
    class State(TypedDict):
        best: Annotated[int, remark]

    assert Schema.of(State).channels() == {"best": LastValue(int)}


# Invalid states


class Plain:
    topic: str


class Pair(NamedTuple):
    topic: str


@pytest.mark.parametrize(
    "state",
    [None, Plain, Pair, "State", AsDataclass("tea"), msgspec.Struct, pydantic.BaseModel, Annotated[Plain, "a remark"]],
)
def test_an_object_that_is_no_state_class_is_refused(state: Any) -> None:
    with pytest.raises(
        GraphValidationError, check=of_kind("schema"), match="a state is a TypedDict, a dataclass"
    ) as caught:
        Schema.of(state)

    assert isinstance(caught.value, DurableGraphError)


@pytest.mark.parametrize("key", ["", "#topic"])
def test_a_key_that_is_empty_or_reserved_for_internal_channels_is_refused(key: str) -> None:
    state: Any = TypedDict("state", {key: int})  # type: ignore[misc]  # a checker wants literal keys

    with pytest.raises(GraphValidationError, check=of_kind("schema"), match=f"'{key}' cannot be a key"):
        Schema.of(state)


# The context


@pytest.mark.parametrize("schema", [AsDataclass, Annotated[AsDataclass, "a remark"], TypeAliasType("C", AsDataclass)])
def test_a_context_given_as_a_dict_becomes_an_instance_of_its_class(schema: Any) -> None:
    assert context_of(schema, {"topic": "tea"}) == AsDataclass("tea")
