"""The types that a channel may have, and the tags of classes."""

import dataclasses
import enum
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from types import GenericAlias
from typing import Any, ForwardRef, Generic, TypedDict, TypeVar, TypeVarTuple, Unpack

import pydantic
import pytest
from typing_extensions import TypeAliasType

from durable_graph.codec import Codec
from durable_graph.errors import (
    DecodeError,
    GraphValidationError,
    UnstorableValueError,
)
from tests.codec import postponed
from tests.codec.identical import identical
from tests.codec.samples import Box, Color, Message, Tree
from tests.errors.kinds import of_kind

T = TypeVar("T")


Shapes = TypeVarTuple("Shapes")
Lost = TypeAliasType("Lost", "list[Nowhere]")  # type: ignore[name-defined]  # noqa: F821 - the subject of the test


class Plain:
    pass


@dataclasses.dataclass
class ADict(dict[str, int]):
    name: str = ""


@dataclasses.dataclass
class Holder:
    call: Callable[[int], str]


class Nested(TypedDict):
    holder: Holder


class Unfinished(pydantic.BaseModel):
    later: "Missing"  # type: ignore[name-defined]  # noqa: F821 - the subject of the test


@dataclasses.dataclass
class Dangling:
    later: "Missing"  # type: ignore[name-defined]  # noqa: F821 - the subject of the test


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        (Callable[[int], str], "Callable"),
        (Generator[int, None, None], "Generator"),
        (Iterator[int], "Iterator"),
        (AsyncIterator[int], "AsyncIterator"),
        (Awaitable[int], "Awaitable"),
        (type[int], "type"),
        (list[Callable[[], None]], "Callable"),
        (T, "T.* type parameter"),
        (list[T], "T.* type parameter"),  # type: ignore[valid-type]  # the subject of the test
        (Plain, "Plain.*make it a dataclass"),
        (ADict, "ADict.*dict would be lost"),
        (complex, "complex"),
        (Exception, "Exception"),
        (Holder, r"Holder\.call.*Callable"),
        (Nested, r"Nested\.holder.*Holder\.call.*Callable"),
        ("Message", "Message.*not resolved"),
        (3, "3"),
        (tuple[int, *Shapes], "its length depends"),  # type: ignore[valid-type]  # the subject of the test
        (list["Message"], "Message.*not resolved"),
        (Lost, "mentions 'Nowhere'"),
        (Unfinished, r"Unfinished\.model_rebuild"),
        (Dangling, "Dangling.*'Missing'"),
    ],
)
def test_a_type_whose_values_can_never_be_stored_is_refused(declared: Any, words: str) -> None:
    codec = Codec()
    # Twice: a refused type leaves no partial entry in the codec.
    for _ in range(2):
        with pytest.raises(GraphValidationError, check=of_kind("type"), match=f"(?s)channel 'x'.*{words}"):
            codec.of(declared, where="channel 'x'")


def test_an_unstorable_type_is_the_subject_of_a_type_error() -> None:
    with pytest.raises(TypeError, match="cannot be stored") as caught:
        Codec().of(Plain, where="channel 'x'")

    assert isinstance(caught.value, GraphValidationError)
    assert (caught.value.kind, caught.value.subject) == ("type", Plain)


def test_a_class_that_cannot_be_stored_cannot_be_listed() -> None:
    with pytest.raises(GraphValidationError, check=of_kind("type"), match=r"types.*Plain"):
        Codec([Plain])


def test_only_classes_are_listed() -> None:
    with pytest.raises(GraphValidationError, check=of_kind("type"), match="only classes are listed"):
        Codec([3])  # type: ignore[list-item]  # the subject of the test


def test_a_quoted_annotation_is_accepted_where_its_name_is_defined() -> None:
    class Later(TypedDict):
        parts: "list[Tree]"

    resolved = ForwardRef("Tree")
    with pytest.raises(GraphValidationError, check=of_kind("type"), match="the name is not defined there"):
        Codec().of(resolved, where="channel 'x'")
    made = Codec().of(Later, where="channel 'x'")
    assert identical(made.decode(made.encode({"parts": [Tree("a")]})), {"parts": [Tree("a")]})


def test_two_classes_with_the_same_tag_need_tags_from_the_user() -> None:
    def another() -> type:
        @dataclasses.dataclass
        class Local:
            x: int

        return Local

    one, other = another(), another()
    with pytest.raises(
        GraphValidationError,
        check=of_kind("type"),
        match=r"the tag .*Local' already belongs to .*types=\[\('<another tag>'",
    ):
        Codec([one, other])
    with pytest.raises(GraphValidationError, check=of_kind("type"), match="already belongs to"):
        Codec().of(GenericAlias(tuple, (one, other)), where="channel 'x'")
    made = Codec([("one", one), ("other", other)]).of(Any, where="channel 'x'")
    assert identical(made.decode(made.encode([one(1), other(1)])), [one(1), other(1)])


def test_classes_in_any_declared_type_are_accepted_where_any_is_declared() -> None:
    codec = Codec()
    codec.of(dict[str, list[Tree]], where="channel 'trees'")
    made = codec.of(Any, where="channel 'x'")
    assert identical(made.decode(made.encode([Tree("a")])), [Tree("a")])


def test_classes_in_fields_are_accepted_where_any_is_declared() -> None:
    @dataclasses.dataclass
    class Outer:
        parts: list[Message] | None

    made = Codec([Outer]).of(Any, where="channel 'x'")
    assert identical(made.decode(made.encode(Message("a", "b"))), Message("a", "b"))


def test_a_class_may_be_renamed_by_listing_its_old_tag() -> None:
    old = Codec([("Note", Message)]).of(Any, where="channel 'x'").encode(Message("a", "b"))
    renamed = Codec([("Message", Message), ("Note", Message)]).of(Any, where="channel 'x'")
    assert identical(renamed.decode(old), Message("a", "b"))
    assert b"Message" in renamed.encode(Message("a", "b"))


def test_tags_do_not_depend_on_where_a_class_is_defined() -> None:
    data = Codec([Color]).of(Any, where="channel 'x'").encode(Color.RED)
    assert b"Color" in data
    assert b"samples" not in data


def test_the_error_for_a_tag_of_no_declared_class_names_the_tag() -> None:
    data = Codec([Message]).of(Any, where="channel 'x'").encode(Message("a", "b"))
    with pytest.raises(DecodeError, match="'Message' belongs to none"):
        Codec().of(Any, where="channel 'x'").decode(data)


def test_a_generic_class_without_arguments_accepts_any_value() -> None:
    made = Codec().of(Box, where="channel 'x'")
    assert identical(made.decode(made.encode(Box([1, "x"]))), Box([1, "x"]))


def test_the_arguments_of_a_generic_class_are_checked() -> None:
    made = Codec().of(Box[int], where="channel 'x'")
    with pytest.raises(UnstorableValueError, match=r"\.item"):
        made.encode(Box("x"))


def test_a_member_of_an_enum_that_the_class_does_not_list_is_refused() -> None:
    class Open(enum.Enum):
        KNOWN = 1

        @classmethod
        def _missing_(cls, value: object) -> Any:
            made = object.__new__(cls)
            made._name_, made._value_ = str(value), value
            return made

    made = Codec().of(Open, where="channel 'x'")
    with pytest.raises(UnstorableValueError, match="not a named member of its class"):
        made.encode(Open("new"))


def test_a_generic_class_distinguishes_its_own_parameter_from_that_of_its_base() -> None:
    @dataclasses.dataclass
    class Base(Generic[T]):
        item: T

    @dataclasses.dataclass
    class Derived(Base[list[T]], Generic[T]):
        other: T

    made = Codec().of(Derived[int], where="channel 'x'")
    assert identical(made.decode(made.encode(Derived([1], 2))), Derived([1], 2))
    with pytest.raises(UnstorableValueError, match=r"\.item"):
        made.encode(Derived(1, 2))  # type: ignore[arg-type]  # the subject of the test


class Numbered(TypedDict, Generic[T]):
    item: T


class NumberedTwice(Numbered[list[int]], Generic[T]):
    other: T


def test_a_generic_typed_dict_distinguishes_its_own_parameter_from_that_of_its_base() -> None:
    made = Codec().of(NumberedTwice[str], where="channel 'x'")
    assert made.decode(made.encode({"item": [1], "other": "x"})) == {"item": [1], "other": "x"}
    for wrong in ({"item": ["x"], "other": "x"}, {"item": [1], "other": 1}):
        with pytest.raises(UnstorableValueError, match="is declared"):
            made.encode(wrong)


# Keys of a TypedDict


@pytest.mark.parametrize(
    ("declared", "required", "optional"),
    [
        (postponed.Total, {"always", "fixed"}, {"maybe", "maybe_noted", "maybe_fixed"}),
        (postponed.Partial, {"always", "always_noted"}, {"maybe"}),
        (
            postponed.PartialFromTotal,
            {"always", "fixed", "always_too"},
            {"maybe", "maybe_noted", "maybe_fixed", "maybe_too"},
        ),
        (postponed.TotalFromPartial, {"always", "always_noted", "always_too"}, {"maybe", "maybe_too"}),
        (postponed.Narrowed, {"fixed"}, {"always", "maybe", "maybe_noted", "maybe_fixed"}),
        (postponed.Of[int], {"always"}, {"maybe"}),
        (postponed.OfInts, {"always"}, {"maybe", "maybe_too"}),
        (postponed.Twin, {"always"}, {"maybe"}),
        (postponed.Call, {"always"}, {"maybe-not"}),
    ],
)
def test_required_and_optional_keys_are_read_from_postponed_annotations(
    declared: Any, required: set[str], optional: set[str]
) -> None:
    codec = Codec().of(declared, where="channel 'x'")
    least: dict[str, Any] = dict.fromkeys(sorted(required), 1)
    assert codec.decode(codec.encode(least)) == least
    for name in optional:
        value = {**least, name: 1}
        assert codec.decode(codec.encode(value)) == value
    for name in required:
        with pytest.raises(UnstorableValueError, match=f"requires the key '{name}'"):
            codec.encode({key: item for key, item in least.items() if key != name})


def test_a_local_struct_may_refer_to_itself_in_postponed_annotations() -> None:
    value = postponed.linked_in_a_function()
    made = Codec().of(type(value), where="channel 'x'")

    assert identical(made.decode(made.encode(value)), value)


@dataclasses.dataclass
class Row(Generic[T, *Shapes]):
    name: T
    cells: tuple[int, *Shapes]


@dataclasses.dataclass
class NamedRow(Row[str, *Shapes], Generic[*Shapes]):
    more: int = 0


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        (Row[str, str, bytes], Row("a", (1, "b", b"c"))),
        (Row[str], Row("a", (1,))),
        (Row, Row("a", (1, "b"))),
        (Row[str, *tuple[str, ...]], Row("a", (1, "b", "c"))),
        (NamedRow[bytes], NamedRow("a", (1, b"b"))),
        (NamedRow, NamedRow("a", (1, b"b"))),
        (tuple[int, *tuple[str, ...]], (1, "a", "b")),
        (tuple[int, *tuple[str, *tuple[bytes]]], (1, "a", b"b")),
        (tuple[*tuple[()]], ()),
        (tuple[Unpack[tuple[int, str]]], (1, "a")),  # noqa: UP044  # the older spelling
    ],
)
def test_a_type_variable_tuple_accepts_values_of_its_arguments(declared: Any, value: Any) -> None:
    made = Codec().of(declared, where="channel 'x'")

    assert identical(made.decode(made.encode(value)), value)


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        (Row[str, str, bytes], Row("a", (1, "b", "c"))),
        (Row[str, str], Row("a", (1, "b", "c"))),
        (NamedRow[bytes], NamedRow("a", (1, "b"))),
        (tuple[int, *tuple[str, ...]], (1, b"a")),
    ],
)
def test_the_arguments_of_a_type_variable_tuple_are_checked(declared: Any, value: Any) -> None:
    with pytest.raises(UnstorableValueError):
        Codec().of(declared, where="channel 'x'").encode(value)
