"""A number or string of another class than declared is converted without loss, and restored as the converted value."""

import math
from collections import deque
from collections.abc import Sequence
from typing import Any, Literal, NotRequired, TypedDict

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph import UnstorableValueError
from durable_graph.codec import Codec
from tests.codec.identical import identical
from tests.codec.samples import Box, Level, Mood


class Word(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "not what it holds"


class Count(int):
    __slots__ = ()


class Ratio(float):
    __slots__ = ()


class Tagged(str):
    __slots__ = ("tag",)
    tag: str


class Measured(float):
    __slots__ = ("unit",)
    unit: str


class Priority(int):
    reason: str


class Blob(bytes):
    __slots__ = ()


class Priced(msgspec.Struct):
    price: float
    names: list[str]


class Keyed(TypedDict):
    good: float
    bad: NotRequired[str]


class Model(pydantic.BaseModel):
    price: float


CONVERTED: list[tuple[Any, Any, Any]] = [
    # declared, given, taken
    (str, Word("a"), "a"),
    (str, Mood.GOOD, "good"),
    (int, Count(3), 3),
    (int, Level.LOW, 1),
    (int, Count(2**80), 2**80),
    (float, 1, 1.0),
    (float, True, 1.0),
    (float, 2**80, 2.0**80),
    (float, Ratio(0.5), 0.5),
    (float, Count(3), 3.0),
    (float, Level.LOW, 1.0),
    (bytes, Blob(b"a"), b"a"),
    (float | None, 1, 1.0),
    (int | str, Mood.GOOD, "good"),
    (float | int, Count(3), 3),
    (float | str | None, 2, 2.0),
    (list[float], [1, 2.5], [1.0, 2.5]),
    (list[float] | list[str], [1, 2], [1.0, 2.0]),
    (list[str], [Word("a"), "b", "c", "d", "e"], ["a", "b", "c", "d", "e"]),
    (tuple[float, ...], (1, 2), (1.0, 2.0)),
    (tuple[str, float], ("a", 2), ("a", 2.0)),
    (set[str], {Word("a")}, {"a"}),
    (deque[float], deque([1], 3), deque([1.0], 3)),
    (dict[str, float], {Word("a"): 1}, {"a": 1.0}),
    (dict[str, list[float]], {"a": [1], "b": [0.5]}, {"a": [1.0], "b": [0.5]}),
    (Sequence[str], (Word("a"),), ("a",)),
    (Literal["good", "bad"], Mood.GOOD, "good"),
    (Keyed, {Mood.GOOD: 1, Word("bad"): "b"}, {"good": 1.0, "bad": "b"}),
    (list[Keyed], [{Mood.GOOD: 1.0}], [{"good": 1.0}]),
    (Priced, Priced(2, [Word("a")]), Priced(2.0, ["a"])),
    (Model, Model.model_construct(price=2), Model(price=2.0)),
    (list[Box[float]], [Box(1)], [Box(1.0)]),
    (Any, [Priced(2, [])], [Priced(2.0, [])]),
]
TAKEN_AS_THEY_ARE: list[tuple[Any, Any]] = [
    (int, True),
    (float, 1.0),
    (float | int, 1),
    (int | float, 1.0),
    (list[float] | list[int], [1, 2]),
    (str | Mood, Mood.GOOD),
    (int | Level, Level.LOW),
    (Any, 1),
    (list[Any], [1, 2.0]),
    (dict[str, float], {"a": 1.0}),
]


def same(one: Any, other: Any) -> bool:
    # `identical` compares a `Box` by its own `__eq__`, so its repr is compared as well.
    return identical(one, other) and repr(one) == repr(other)


@pytest.mark.parametrize(("declared", "given_", "expected"), CONVERTED)
def test_a_value_that_converts_without_loss_is_converted(declared: Any, given_: Any, expected: Any) -> None:
    made = Codec([Priced]).of(declared, where="channel 'x'")

    taken, data = made.take(given_)

    assert same(taken, expected)
    assert same(made.decode(data), expected)
    assert data == made.encode(given_) == made.encode(expected)
    if declared is not Any:
        assert same(made.convert(given_), expected)


@pytest.mark.parametrize(("declared", "value"), TAKEN_AS_THEY_ARE)
def test_a_value_of_a_declared_class_is_not_changed(declared: Any, value: Any) -> None:
    made = Codec().of(declared, where="channel 'x'")

    taken, data = made.take(value)

    assert taken is value
    assert made.convert(value) is value
    assert identical(made.decode(data), value)


def tagged(text: str) -> Tagged:
    made = Tagged(text)
    made.tag = "b"
    return made


def measured() -> Measured:
    made = Measured(0.5)
    made.unit = "m"
    return made


def priority() -> Priority:
    made = Priority(3)
    made.reason = "late"
    return made


@pytest.mark.parametrize(
    ("declared", "value", "attribute"),
    [
        (str, tagged("a"), "tag"),
        (list[str], [tagged("a")], "tag"),
        (Literal["good", "bad"], tagged("good"), "tag"),
        (float, measured(), "unit"),
        (int, priority(), "reason"),
        (float, priority(), "reason"),
    ],
)
def test_a_subclass_with_attributes_in_slots_or_a_dict_is_refused(declared: Any, value: Any, attribute: str) -> None:
    made = Codec().of(declared, where="channel 'x'")

    with pytest.raises(UnstorableValueError, match=f"has attributes of its own, which .*: {attribute};"):
        made.take(value)
    assert made.convert(value) is value


def test_a_subclass_with_an_empty_slot_is_converted() -> None:
    assert same(Codec().of(str, where="channel 'x'").take(Tagged("a"))[0], "a")


class Own(str):
    """A string that differs as a key from a string of the same text."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


@pytest.mark.parametrize("declared", [dict[str, float], Keyed, set[str], frozenset[str]])
def test_keys_and_items_that_become_equal_by_conversion_are_refused(declared: Any) -> None:
    keys = [Own("good"), Own("good")]
    kind = getattr(declared, "__origin__", dict)
    value = dict.fromkeys(keys, 1.0)
    if kind is not dict:
        value = kind(value)
    made = Codec().of(declared, where="channel 'x'")

    with pytest.raises(UnstorableValueError):
        made.take(value)
    assert made.convert(value) is value


def test_a_conversion_does_not_change_the_given_value() -> None:
    rows = [{"a": 1}, {"a": 0.5}]

    taken = Codec().of(list[dict[str, float]], where="channel 'x'").take(rows)[0]

    assert identical(taken, [{"a": 1.0}, {"a": 0.5}])
    assert identical(rows, [{"a": 1}, {"a": 0.5}])


def test_convert_returns_an_unstorable_value_unchanged() -> None:
    made = Codec().of(list[str], where="channel 'x'")
    mixed: list[Any] = [Word("a"), object()]
    endless: list[Any] = []
    endless.append(endless)

    assert made.convert(mixed) is mixed
    assert made.convert(endless) is endless


@given(st.integers() | st.floats(allow_nan=False) | st.booleans())
def test_a_number_is_converted_to_an_equal_float_or_refused(number: float) -> None:
    made = Codec().of(float, where="channel 'x'")
    try:
        taken, _ = made.take(number)
    except TypeError:
        assert abs(number) > 2**53
    else:
        assert type(taken) is float
        assert taken == number
        assert math.isfinite(taken) or not isinstance(number, int)
