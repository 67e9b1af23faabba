"""Classes of other libraries: stored as their `StoredType` declares, or refused."""

import dataclasses
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any, Generic, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from durable_graph import StoredType
from durable_graph.codec import Codec
from durable_graph.errors import (
    DecodeError,
    GraphValidationError,
    InvalidOptionError,
    UnstorableValueError,
)
from tests.errors.kinds import of_kind

FRACTION = StoredType(
    Fraction, "fraction", lambda value: [value.numerator, value.denominator], lambda data: Fraction(*data)
)
RANGE = StoredType(range, "range", lambda value: [value.start, value.stop, value.step], lambda data: range(*data))
ARRAY: StoredType[Any] = StoredType(
    np.ndarray,
    "numpy.ndarray",
    lambda value: {"dtype": value.dtype.str, "shape": list(value.shape), "data": value.tobytes()},
    lambda data: np.frombuffer(data["data"], data["dtype"]).reshape(data["shape"]).copy(),
)
SCALAR: StoredType[Any] = StoredType(
    np.generic,
    "numpy.generic",
    lambda value: [value.dtype.str, value.tobytes()],
    lambda data: np.frombuffer(data[1], data[0])[0],
)
PURE_PATH = StoredType(PurePosixPath, "pure path", str, PurePosixPath)
ERROR: StoredType[Exception] = StoredType(
    KeyError, "key error", lambda error: list(error.args), lambda data: KeyError(*data)
)
ALL: list[StoredType[Any]] = [FRACTION, RANGE, ARRAY, SCALAR, PURE_PATH, ERROR]


@dataclasses.dataclass(frozen=True)
class Measured:
    at: Fraction
    values: "NDArray[np.float64]"


def back(value: Any, declared: Any, types: Any = ALL) -> Any:
    data = Codec(types).of(declared, where="channel 'x'").encode(value)
    return Codec(types).of(declared, where="channel 'x'").decode(data)


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        (Fraction, Fraction(1, 3)),
        (Any, Fraction(-(2**70), 3)),
        (list[Fraction], [Fraction(n, 7) for n in range(9)]),
        (dict[Fraction, range], {Fraction(1, 2): range(1, 9, 2)}),
        (set[Fraction], {Fraction(1, 2), Fraction(1, 3)}),
        (Fraction | str | None, Fraction(1, 2)),
        (Fraction | range, range(3)),
        (Any, {"a": [range(3), (Fraction(1, 2),)]}),
        (PurePosixPath, PurePosixPath("a/b")),
        (Path, Path("a/b")),
        (np.float32, np.float32(1.5)),
        (np.int64, np.int64(-5)),
        (np.generic, np.bool_(True)),  # noqa: FBT003
        (Any, np.datetime64("2024-01-01")),
        (list[np.float64 | None], [np.float64("nan"), None, np.float64(-0.0)]),
    ],
)
def test_an_instance_round_trips_with_its_class(declared: Any, value: Any) -> None:
    found = back(value, declared)
    assert repr(found) == repr(value)
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        np.array([1.5, float("nan"), -0.0]),
        np.arange(12, dtype=np.int16).reshape(3, 4),
        np.arange(12).reshape(3, 4).T,
        np.array([], dtype=np.float32),
        np.array(5),
        np.array(["a", "bcd"]),
        np.zeros((2, 0, 3)),
        np.array([True, False]),
    ],
)
@pytest.mark.parametrize("declared", [Any, np.ndarray, NDArray[Any], np.ndarray | None, list[Any]])
def test_an_array_round_trips_with_its_dtype_and_shape(declared: Any, value: Any) -> None:
    found = back([value], declared)[0] if declared == list[Any] else back(value, declared)
    assert (found.dtype, found.shape, found.tobytes()) == (value.dtype, value.shape, value.tobytes())
    assert found.flags.writeable


def test_fields_of_classes_may_be_of_stored_types() -> None:
    found = back(Measured(Fraction(1, 2), np.array([1.0])), Measured)
    assert (found.at, found.values.tolist()) == (Fraction(1, 2), [1.0])


def test_an_exception_round_trips_although_its_class_compares_by_identity() -> None:
    assert back(KeyError("a", 1), Any).args == ("a", 1)


def test_a_subclass_that_would_be_restored_as_its_base_is_refused() -> None:
    class Half(Fraction):
        pass

    made = Codec(ALL).of(Any, where="channel 'x'")
    with pytest.raises(UnstorableValueError, match=r"decode makes Fraction .*'fraction'"):
        made.encode(Half(1, 2))
    with pytest.raises(UnstorableValueError, match="decode makes ndarray"):
        made.encode(np.ma.MaskedArray([1]))


def test_the_declared_class_is_checked_in_encode_and_decode() -> None:
    wide = Codec(ALL).of(np.generic, where="channel 'x'")
    narrow = Codec(ALL).of(np.float32, where="channel 'x'")
    with pytest.raises(UnstorableValueError, match="float32 is declared"):
        narrow.encode(np.float64(1))
    with pytest.raises(DecodeError, match="float64 where float32 is declared"):
        narrow.decode(wide.encode(np.float64(1)))


Encode = Callable[[Fraction], Any]
Decode = Callable[[Any], Any]


@pytest.mark.parametrize(
    ("encode", "decode", "words"),
    [
        (lambda value: value.numerator, Fraction, "is not equal to it|other data"),
        (str, lambda data: data, "decode makes str"),
        (lambda value: 1 / 0, Fraction, "encode raised ZeroDivisionError"),
        (str, lambda data: data["x"], "decode raised TypeError"),
        (lambda value: [1j], Fraction, "complex"),
        (lambda value: value, Fraction, "encode returned Fraction instead of plain data"),
    ],
)
def test_a_value_that_would_not_round_trip_is_refused_by_encode(encode: Encode, decode: Decode, words: str) -> None:
    made = Codec([StoredType(Fraction, "fraction", encode, decode)]).of(Any, where="channel 'x'")
    with pytest.raises(UnstorableValueError, match=words) as refused:
        made.encode([Fraction(1, 3)])
    assert refused.value.path.startswith("[0]")
    assert len(str(refused.value)) <= 400


def test_incomplete_data_is_refused_although_decode_accepts_it() -> None:
    class Money:
        def __init__(self, amount: int, currency: str = "EUR") -> None:
            self.amount, self.currency = amount, currency

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Money) and vars(self) == vars(other)

        __hash__ = None  # type: ignore[assignment]  # as Python has it

    made = Codec([StoredType(Money, "money", lambda value: value.amount, Money)]).of(Any, where="channel 'x'")
    assert made.decode(made.encode(Money(5))) == Money(5)
    with pytest.raises(UnstorableValueError, match="not equal to it"):
        made.encode(Money(5, "USD"))


def test_an_exception_of_decode_becomes_a_decode_error() -> None:
    def strict(data: Any) -> Fraction:
        raise LookupError(data)

    data = Codec([FRACTION]).of(Fraction, where="x").encode(Fraction(1, 3))
    with pytest.raises(DecodeError, match=r"LookupError|\[1, 3\]"):
        Codec([StoredType(Fraction, "fraction", FRACTION.encode, strict)]).of(Fraction, where="x").decode(data)


class Box:
    """Compared by identity, and decoded from a part of its stored data."""

    def __init__(self, held: Any) -> None:
        self.held = held


class Crate(Box):
    pass


def unpacked(cls: type[Box]) -> Callable[[dict[str, Any]], Box]:
    def decode(data: dict[str, Any]) -> Box:
        # `decode` may change the data that it gets.
        return cls(data.pop("held"))

    return decode


BOXES: list[StoredType[Any]] = [
    StoredType(Box, "box", lambda box: {"held": box.held}, unpacked(Box)),
    StoredType(Crate, "crate " * 10, lambda crate: {"held": crate.held}, unpacked(Crate), is_proven=True),
]

CONTENTS: list[Any] = [1, None, "a", [1.5, {"b": b"c"}], {1: (2**70,)}, {"a": [[[]]]}]

HELD: list[list[Box]] = [
    *([kind(held)] for kind in (Box, Crate) for held in CONTENTS),
    [],
    [Box(1), Crate("a"), Box([2]), Crate((3,)), Crate(4), Box({1, 2})],
]


def shown(lists: list[list[Any]]) -> list[list[tuple[type, Any]]]:
    return [[(type(box), box.held) for box in boxes] for boxes in lists]


@pytest.mark.parametrize("is_stamped", [False, True])
def test_decode_all_and_decode_return_the_same_lists_of_instances(is_stamped: bool) -> None:
    codec = Codec(BOXES).of(list[Box], where="channel 'x'", is_stamped=is_stamped)
    datas = [codec.encode(boxes) for boxes in HELD]

    assert shown(codec.decode_all(datas)) == shown([codec.decode(data) for data in datas]) == shown(HELD)


def test_one_unreadable_list_among_many_is_a_decode_error() -> None:
    codec = Codec(BOXES).of(list[Box], where="channel 'x'")
    good = codec.encode([Box(1)])
    other = Codec([StoredType(Box, "box", lambda box: {"other": box.held}, lambda data: Box(data["other"]))])
    bad = other.of(list[Box], where="channel 'x'").encode([Box(1)])
    unknown = Codec([StoredType(Box, "bin", lambda box: box.held, Box)]).of(list[Box], where="x").encode([Box(1)])

    for data, words in ((bad, "held"), (unknown, "the tag 'bin'"), (good[:-1], "channel"), (good + b"\x01", "channel")):
        with pytest.raises(DecodeError, match=words):
            codec.decode_all([good, data, good])


def test_a_former_tag_is_read() -> None:
    data = Codec([FRACTION]).of(Fraction, where="x").encode(Fraction(1, 3))
    renamed = Codec([("fraction", Fraction), StoredType(Fraction, "new", FRACTION.encode, FRACTION.decode)])
    made = renamed.of(Any, where="x")
    assert made.decode(data) == Fraction(1, 3)
    assert made.decode(made.encode(Fraction(1, 3))) == Fraction(1, 3)
    assert b"new" in made.encode(Fraction(1, 3))


@pytest.mark.parametrize(
    ("types", "words"),
    [
        ([FRACTION, StoredType(range, "fraction", RANGE.encode, RANGE.decode)], "tag 'fraction' already belongs"),
        ([FRACTION, StoredType(Fraction, "other", FRACTION.encode, FRACTION.decode)], "two StoredTypes"),
        ([("fraction", Measured), FRACTION, RANGE, ARRAY], "tag 'fraction' already belongs"),
        ([StoredType(list, "list", list, list)], "stored without a StoredType"),
        ([StoredType(int, "int", str, int)], "stored without a StoredType"),
        ([StoredType(Path, "path", str, Path)], "stored without a StoredType"),
    ],
)
def test_conflicting_stored_types_are_refused(types: Any, words: str) -> None:
    with pytest.raises(GraphValidationError, check=of_kind("type"), match=words):
        Codec(types)


def test_a_stored_type_may_be_listed_twice() -> None:
    assert back(Fraction(1, 3), Any, [FRACTION, FRACTION]) == Fraction(1, 3)


T = TypeVar("T")


class Wrapper(Generic[T]):
    """Not stored without a StoredType."""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((3, "tag", str, str), "cls of a StoredType"),
        ((object, "tag", str, str), "cls of a StoredType"),
        ((Wrapper[int], "tag", str, str), "cls of a StoredType"),
        ((Fraction, "", str, Fraction), "tag of the StoredType of Fraction"),
        ((Fraction, 5, str, Fraction), "tag of the StoredType of Fraction"),
        ((Fraction, "durable_graph.Fraction", str, Fraction), "does not begin with 'durable_graph.'"),
        ((Fraction, "x" * 256, str, Fraction), "255 bytes"),
        ((Fraction, "\ud800", str, Fraction), "255 bytes"),
        ((Fraction, "tag", None, Fraction), "encode of the StoredType 'tag'"),
        ((Fraction, "tag", str, "Fraction"), "decode of the StoredType 'tag'"),
    ],
)
def test_a_stored_type_with_invalid_arguments_is_refused(arguments: Any, words: str) -> None:
    with pytest.raises(InvalidOptionError, match=words):
        StoredType(*arguments)


@pytest.mark.parametrize(
    "value", [Fraction(1, 2), range(3), np.float32(1), np.array([1]), PurePosixPath("a"), 1j, ValueError("x")]
)
def test_the_error_for_a_foreign_class_names_a_remedy_that_works(value: Any) -> None:
    with pytest.raises(UnstorableValueError, match="list StoredType") as refused:
        Codec().of(Any, where="channel 'x'").encode(value)
    assert "make it" not in str(refused.value) or "numpy" in type(value).__module__
    assert len(str(refused.value)) <= 400
    with pytest.raises(GraphValidationError, check=of_kind("type"), match="list StoredType") as undeclared:
        Codec().of(type(value), where="channel 'x'")
    assert len(str(undeclared.value)) <= 400
