"""A value written as one declared type and read as another is equal, or is refused."""

import dataclasses
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import Enum, IntEnum, IntFlag, StrEnum
from pathlib import Path
from typing import Any, Literal, NamedTuple, NotRequired, Optional, TypedDict, Union
from uuid import UUID

import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durable_graph.codec import Codec
from durable_graph.errors import DecodeError
from tests.codec.identical import identical
from tests.codec.samples import (
    CLASSES,
    Color,
    Level,
    Message,
    Mood,
    Options,
    Permission,
    Point,
    Profile,
    Tree,
    messages,
    points,
    texts,
)


@dataclasses.dataclass
class A:
    x: int


@dataclasses.dataclass
class B:
    y: int


@dataclasses.dataclass
class Base:
    x: int


@dataclasses.dataclass
class Derived(Base):
    y: int = 0


class S(msgspec.Struct):
    x: int


class M(pydantic.BaseModel):
    x: int


class Named(TypedDict):
    x: int


class Looser(TypedDict):
    x: int
    y: NotRequired[str]


class Demanding(TypedDict):
    x: int
    y: str


@pytest.fixture(autouse=True)
def _without_a_second_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data that does not fit the declared type is not read again without it: see `TypeCodec._wire`."""
    monkeypatch.setattr("durable_graph.codec.codec._EXPLAINED", -1)


def read(before: Any, value: Any, after: Any, *, listed: Iterable[type] = ()) -> Any:
    """Encode a value in a program that declares `before`, and decode it in a program that declares `after`."""
    data = Codec().of(before, where="channel 'x'", is_stamped=True).encode(value)
    return Codec(listed).of(after, where="channel 'x'", is_stamped=True).decode(data)


INCLUDED: list[tuple[Any, Any, Any]] = [
    (list[A], [A(1)], list[A | B]),
    (A | None, A(1), A | B | None),
    (A | None, None, A | B | None),
    (A, A(1), A | None),
    (A, A(1), A | B),
    (A, A(1), A | str),
    (A | B, B(1), A | B | Tree),
    (dict[str, A], {"k": A(1)}, dict[str, A | B]),
    (tuple[A, ...], (A(1),), tuple[A | B, ...]),
    (tuple[A, int], (A(1), 2), tuple[A | B | None, int | str]),
    (tuple[int, int], (1, 2), tuple[int, ...]),
    (set[Point], {Point(1)}, set[Point | Color]),
    (list[list[A]], [[A(1)]], list[list[A | B] | None]),
    (A, A(1), A | S | M),
    (S, S(1), S | A),
    (M, M(x=1), M | A),
    (Derived, Derived(1, 2), Base | Derived),
    (Point, Point(1), Point | tuple[int, int]),
    (Color, Color.RED, Color | Level),
    (Color, Color.RED, Color | str),
    (Permission, Permission.READ | Permission.RUN, Permission | None),
    (int, 5, int | str),
    (bool, True, int),
    (int, 2**80, int | None),
    (str, "\ud800", str | None),
    (str, "x", Optional[str]),  # noqa: UP045 - as users write it
    (str, "x", str | bytes),
    (bytes, b"x", str | bytes),
    (str | int, "x", str),
    (Literal["a"], "a", Literal["a", "b"]),
    (Literal["a"], "a", str),
    (Literal[1, "a"], 1, int | str),
    (Literal[Color.RED], Color.RED, Color),
    (Named, {"x": 1}, Looser),
    (Named, {"x": 1}, dict[str, int]),
    (dict[str, int], {"x": 1}, Named),
    (dict[str, int], {"x": 1}, dict[str, int | None]),
    (dict[Color, int], {Color.RED: 1}, dict[Color | str, int]),
    (dict[str, Any], {"x": [1, {"y": None}]}, Any),
    (list[int], [1], Sequence[int]),
    (tuple[int, ...], (1,), Sequence[int]),
    (dict[str, int], {"a": 1}, Mapping[str, int]),
    (deque[int], deque([1], maxlen=2), deque[int] | list[int]),
    (Path, Path("a"), Path | str),
    (UUID, UUID(int=1), UUID | str),
    (date, date(2024, 1, 1), date | datetime),
    (Any, {"a": 1}, dict[str, int]),
    (list[Any], [], list[A]),
]

AS_ANY: list[tuple[Any, Any]] = [
    (int, 5),
    (int, 2**80),
    (list[int], [1]),
    (Named, {"x": 1}),
    (tuple[int, str], (1, "a")),
    (set[int], {1, 2}),
    (frozenset[str], frozenset({"a"})),
    (deque[int], deque([1], maxlen=2)),
    (OrderedDict[str, int], OrderedDict(a=1)),
    (Counter[str], Counter("aab")),
    (defaultdict[str, list[int]], defaultdict(list, a=[1])),
    (dict[tuple[int, int], str], {(1, 2): "x"}),
    (Decimal, Decimal("1.50")),
    (bytearray, bytearray(b"x")),
    (datetime, datetime(2024, 1, 1)),  # noqa: DTZ001 - without a zone
    (Literal["a", 1], 1),
]

REFUSED: list[tuple[Any, Any, Any]] = [
    (A, A(1), Any),
    (list[A], [A(1)], list[Any]),
    (A, A(1), dict[str, int]),
    (A, A(1), Named),
    (Named, {"x": 1}, A),
    (A, A(1), B),
    (A, A(1), S),
    (S, S(1), Any),
    (M, M(x=1), dict[str, Any]),
    (A | B, B(1), A),
    (list[A | B], [A(1), B(2)], list[A]),
    (Mood, Mood.GOOD, str),
    (Mood, Mood.GOOD, Any),
    (Color, Color.RED, str | int),
    (Level, Level.LOW, int),
    (Color, Color.RED, Level),
    (Permission, Permission.READ, int),
    (str, "GOOD", Mood),
    (dict[Color, int], {Color.RED: 1}, dict[str, int]),
    (dict[Mood, int], {Mood.GOOD: 1}, dict[str, int]),
    (dict[int, str], {1: "a"}, dict[str, str]),
    (set[Color], {Color.RED}, set[str]),
    (Point, Point(1), tuple[int, float]),
    (Point, Point(1), list[Any]),
    (Point, Point(1), Any),
    (tuple[int, ...], (1,), list[int]),
    (list[int], [1], tuple[int, ...]),
    (tuple[int, ...], (1, 2, 3), tuple[int, int]),
    (set[int], {1}, list[int]),
    (set[int], {1}, frozenset[int]),
    (deque[int], deque([1]), list[int]),
    (OrderedDict[str, int], OrderedDict(a=1), dict[str, int]),
    (Counter[str], Counter("a"), dict[str, int]),
    (defaultdict[str, int], defaultdict(int, a=1), dict[str, int]),
    (int, 5, str),
    (int, 5, bool),
    (float, 1.5, int),
    (float, 1.0, int),
    (str | int, 5, str),
    (str, "1.5", Decimal),
    (Decimal, Decimal("1.5"), str),
    (bytes, b"x", str),
    (bytes, b"x", bytearray),
    (Path, Path("a"), str),
    (UUID, UUID(int=1), str),
    (datetime, datetime(2024, 1, 1), date),  # noqa: DTZ001 - without a zone
    (Literal["a", "b"], "b", Literal["a"]),
    (str | None, None, str),
    (Named, {"x": 1}, Demanding),
    (Looser, {"x": 1, "y": "z"}, Named),
    (Derived, Derived(1, 2), A),
]


@pytest.mark.parametrize(("before", "value", "after"), INCLUDED)
def test_a_type_that_includes_the_value_reads_it_unchanged(before: Any, value: Any, after: Any) -> None:
    assert identical(read(before, value, after), value)


def test_an_int_is_read_as_an_equal_float() -> None:
    assert identical(read(int, 5, float), 5.0)
    assert identical(read(list[int], [5, 2**53], list[float | None]), [5.0, 2.0**53])
    assert identical(read(int, 5, float | int), 5)
    with pytest.raises(DecodeError):
        read(int, 2**53 + 1, float)
    with pytest.raises(DecodeError):
        read(int, bool(1), float)


@pytest.mark.parametrize(("before", "value"), AS_ANY)
def test_any_reads_the_values_of_all_builtin_types(before: Any, value: Any) -> None:
    assert identical(read(before, value, Any), value)


@pytest.mark.parametrize("value", [A(1), S(1), M(x=1), Color.RED, Mood.GOOD, Permission.RUN, Point(1)])
def test_any_reads_the_instances_of_listed_classes(value: Any) -> None:
    assert identical(read(type(value), value, Any, listed=[type(value)]), value)


@pytest.mark.parametrize(("before", "value", "after"), REFUSED)
def test_data_that_would_be_read_as_another_value_is_refused(before: Any, value: Any, after: Any) -> None:
    with pytest.raises(DecodeError, match="channel 'x'") as refused:
        read(before, value, after)
    assert len(str(refused.value)) <= 400


def made(base: Any, name: str, members: Any) -> Any:
    return base(name, members)


def test_an_enum_with_added_members_reads_its_former_members() -> None:
    before, after = made(Enum, "E", {"A": 1}), made(Enum, "E", {"NEW": 1, "A": 2})
    assert read(before, before.A, after) is after.A
    with pytest.raises(DecodeError, match="has no member 'NEW'"):
        read(after, after.NEW, before)


@pytest.mark.parametrize("base", [StrEnum, IntEnum])
def test_members_of_a_str_enum_or_int_enum_are_read_by_name(base: Any) -> None:
    values = ("a", "b") if base is StrEnum else (1, 2)
    before, after = made(base, "E", {"A": values[0]}), made(base, "E", {"A": values[1]})
    assert read(before, before.A, after) is after.A


def test_flags_keep_their_meaning_when_their_numbers_change() -> None:
    before, after = made(IntFlag, "F", {"READ": 1, "RUN": 2}), made(IntFlag, "F", {"ADMIN": 1, "READ": 2, "RUN": 4})
    assert read(before, before.READ | before.RUN, after) == after.READ | after.RUN
    assert read(before, before(2 | 8), after) == after.RUN | after(8)


def test_fields_of_a_named_tuple_keep_their_meaning_when_they_are_moved() -> None:
    def place() -> Any:
        class Place(NamedTuple):
            street: str
            town: str

        return Place

    def moved() -> Any:
        class Place(NamedTuple):
            town: str
            street: str
            country: str = "?"

        return Place

    before, after = place(), moved()
    data = Codec([("Place", before)]).of(before, where="x").encode(before("High Street", "York"))
    assert Codec([("Place", after)]).of(after, where="x").decode(data) == after("York", "High Street", "?")


TYPES: tuple[Any, ...] = (
    *(int, str, float, bool, bytes, None, Any, Decimal, Color, Mood, Level, Permission, Point, Message, Tree, Profile),
    *(Options, Literal["a", 1], Literal["b"], datetime, Path, dict[str, Any], list[Any]),
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.sampled_from([str, int, Color, Mood, Point, tuple[int, str]])
    return st.one_of(
        inner.map(lambda item: list[item]),  # type: ignore[valid-type]
        inner.map(lambda item: tuple[item, ...]),  # type: ignore[valid-type]
        st.tuples(inner, inner).map(tuple.__class_getitem__),
        keys.map(lambda key: set[key]),  # type: ignore[valid-type]
        st.tuples(keys, inner).map(dict.__class_getitem__),
        st.lists(inner, min_size=2, max_size=3).map(lambda members: Union.__getitem__((*members, None))),
    )


declared = st.recursive(st.sampled_from(TYPES), containers, max_leaves=5)

SCALARS: list[Any] = [
    *(None, True, 1, 2**70, 1.5, "a", "b", "RED", "GOOD", b"a", Decimal("1.5"), Color.RED, Mood.GOOD, Level.LOW),
    *(Permission.RUN, Point(1), Message("a", "b"), Tree("a"), Profile(name="x"), datetime(2024, 1, 1)),  # noqa: DTZ001
    *(Path("a"), {"name": "x"}, {"x": 1}, [], {}, ()),
]
values = st.recursive(
    st.sampled_from(SCALARS) | texts | messages | points,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.sampled_from(["a", 1, Color.RED, Mood.GOOD, Point(1), (1, "a")]), inner, max_size=2),
        st.sets(st.sampled_from(["a", 1, Color.RED, Point(1)]), max_size=2),
    ),
    max_leaves=5,
)


@pytest.mark.slow
@given(st.lists(declared, min_size=2, max_size=6), st.lists(values, min_size=8, max_size=8))
@settings(max_examples=400)
def test_reading_as_a_random_type_restores_converts_or_refuses_a_value(types: list[Any], drawn: list[Any]) -> None:
    codec = Codec(CLASSES)
    codecs = [codec.of(each, where="channel 'x'", is_stamped=True) for each in types]
    for value in drawn:
        for writer in codecs:
            try:
                taken, data = writer.take(value)
            except TypeError:
                # The value does not have that type.
                continue
            assert identical(writer.decode(data), taken)
            for reader in codecs:
                try:
                    found = reader.decode(data)
                except DecodeError:
                    continue
                # The reader may convert the value, such as an int to a float that is declared now.
                assert identical(found, taken) or identical(found, reader.take(taken)[0])


@pytest.mark.parametrize(
    ("declared", "made"),
    [
        (float, lambda number: number),
        (float | None, lambda number: number),
        (list[float], lambda number: [number]),
        (dict[str, float], lambda number: {"a": number}),
        (dict[float, str], lambda number: {number: "a"}),
    ],
)
def test_an_int_is_never_rounded_to_a_float_even_without_a_fingerprint(
    declared: Any, made: Callable[[float], Any]
) -> None:
    codec = Codec().of(declared, where="the result of task 'x'")
    anything = Codec().of(Any, where="the result of task 'x'")

    assert identical(codec.decode(anything.encode(made(2**53))), made(2.0**53))
    with pytest.raises(DecodeError):
        codec.decode(anything.encode(made(2**53 + 1)))
