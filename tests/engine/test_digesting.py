"""Digests of values: equal values have equal digests in every process, and different values have different digests."""

import array
import dataclasses
import functools
import math
import subprocess
import sys
import uuid
from collections import OrderedDict, namedtuple
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntFlag
from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph import Command, Send
from durable_graph._engine.digesting import Digested, digest_of
from durable_graph.codec import Codec

ANYTHING = Codec(()).of(Any, where="an argument")


def digested(*values: Any) -> Digested:
    return digest_of(ANYTHING.encode, *values)


def digest(*values: Any) -> bytes:
    return digested(*values).digest


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Point(msgspec.Struct):
    x: Any = 0
    y: int = 0


@dataclasses.dataclass
class Place:
    name: Any
    connection: Any = dataclasses.field(default=None, compare=False)


class Model(pydantic.BaseModel):
    name: Any
    _cached: int = 0


Pair = namedtuple("Pair", "left right")


class Plain:
    def __init__(self, text: str) -> None:
        self.text = text

    def method(self) -> None: ...


class Described:
    """An array of a library that exposes no buffer, such as an array of dates."""

    def __init__(self, data: bytes, kind: str = "<M8[ns]") -> None:
        self.data = data
        self.kind = kind

    @property
    def __array_interface__(self) -> dict[str, Any]:
        described = [("", self.kind)]
        return {"typestr": self.kind, "shape": (len(self.data) // 8,), "descr": described, "version": 3}

    def tobytes(self) -> bytes:
        return self.data


class Text(str):
    """Text in a language, stored in a slot, with other attributes in a dict."""

    __slots__ = ("__dict__", "language")
    language: str

    def __new__(cls, text: str, language: str = "", **more: str) -> "Text":
        made = super().__new__(cls, text)
        made.language = language
        made.__dict__.update(more)
        return made


class Numbers(array.array):  # type: ignore[type-arg]  # it takes none before Python 3.12
    """An array with a unit, as in some libraries."""

    unit = ""


class Address(Place):
    """A subclass that is no dataclass itself."""

    def __init__(self, name: str, street: str) -> None:
        super().__init__(name)
        self.street = street

    @functools.cached_property
    def upper(self) -> str:
        return self.street.upper()


class Rights(IntFlag):
    READ = 1


class Open(msgspec.Struct, dict=True):
    x: int = 0


def with_(value: Any, **attributes: Any) -> Any:
    for name, each in attributes.items():
        setattr(value, name, each)
    return value


def a_function(number: int = 0) -> None: ...


DIFFERENT = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2**80,
    0.0,
    -0.0,
    1.0,
    math.nan,
    math.inf,
    "",
    "1",
    b"1",
    bytearray(b"1"),
    [],
    [1],
    [True],
    [1.0],
    [[1]],
    (),
    (1,),
    [1, 2],
    [2, 1],
    ["1", "2"],
    {1, 2},
    {1, 3},
    {"a": 1},
    {"a": 2},
    {"b": 1},
    {1: "a"},
    {"1": "a"},
    OrderedDict(a=1),
    Colour.RED,
    Colour.BLUE,
    "red",
    Point(1),
    Point(2),
    Point([1]),
    Place("x"),
    Place("y"),
    Model(name="x"),
    Model(name="y"),
    Pair(1, 2),
    Pair(1, 3),
    datetime(2024, 1, 1, tzinfo=UTC),
    datetime(2024, 1, 1),  # noqa: DTZ001  # without a zone it is another value
    timedelta(1),
    Decimal("1.0"),
    Decimal("1.00"),
    uuid.UUID(int=1),
    array.array("b", [1]),
    array.array("b", [2]),
    array.array("i", [1]),
    memoryview(b"12"),
    Described(b"12345678"),
    Described(b"12345679"),
    Described(b"12345678", "<M8[s]"),
    a_function,
    len,
    Plain,
    functools.partial(a_function, 1),
    functools.partial(a_function, 2),
    Command(goto="a"),
    Command(goto="b"),
    Send("a", 1),
    Send("a", 2),
    "x" * 100,
    "y" * 100,
    "\ud800",
    Text("a"),
    Text("a", "en"),
    Text("a", "de"),
    Text("a", "de", place="AT"),
    with_(Numbers("b", [1]), unit="m"),
    with_(Numbers("b", [1]), unit="km"),
    Address("x", "y"),
    Address("x", "z"),
    Rights(0),
    Rights(8),
    Rights(16),
    Rights(17),
    with_(Open(), y=1),
    with_(Open(), y=2),
    with_(OrderedDict(a=1), y=1),
    with_(Model(name="x"), _cached=1),
]


def test_examples_of_different_values_have_different_digests() -> None:
    digests = [digest(value) for value in DIFFERENT]

    assert len(set(digests)) == len(DIFFERENT)
    assert all(not digested(value).opaque for value in DIFFERENT)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"x", "y", "z"}, {"z", "y", "x"}),
        ({1, 2}, frozenset({2, 1})),
        ([math.nan], [float("nan")]),
        ([1.5, math.nan, 2.5], [1.5, -math.nan, 2.5]),
        (Place("x", connection=object()), Place("x", connection=object())),
        (Model(name=[1]), Model(name=[1])),
        (Text("a", "en"), Text("a", "en")),
        (Address("x", "y"), with_(Address("x", "y"), upper="Y")),
        (uuid.UUID(int=1), uuid.UUID(int=1, is_safe=uuid.SafeUUID.safe)),
    ],
)
def test_equal_values_have_equal_digests(one: Any, other: Any) -> None:
    assert digest(one) == digest(other)


def test_a_digest_depends_on_the_boundaries_of_its_arguments() -> None:
    assert len({digest("ab", "c"), digest("a", "bc"), digest("abc"), digest(["ab", "c"]), digest()}) == 5


def test_the_digest_of_a_method_depends_on_its_instance() -> None:
    one, other = Pair([1], 2), Pair([2], 2)

    assert digest(one.count) == digest(Pair([1], 2).count)
    assert digest(one.count) != digest(other.count)


@pytest.mark.parametrize("value", [Plain("1"), lambda: None, iter([1]), Described(bytes(8), "|O")])
def test_an_opaque_part_is_digested_by_its_class_and_reported(value: Any) -> None:
    found = digested({"deep": [value]})

    assert found.opaque == (value,)
    assert found.digest != digest({"deep": ["another"]})


def test_two_opaque_values_of_a_class_differ_unseen_unless_they_are_identical() -> None:
    client = Plain("client")

    assert digest(client, "a") != digest(client, "b")
    assert digested(Plain("1")).digest == digested(Plain("2")).digest
    assert digested(Plain("1")).differs_unseen(digested(Plain("2")))
    assert not digested(client).differs_unseen(digested(client))


def test_a_cyclic_or_deeply_nested_value_is_digested() -> None:
    cycle: list[Any] = [1]
    cycle.append(cycle)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]

    assert digest(cycle) != digest([1])
    assert digested(deep).opaque == (deep,)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.binary(max_size=4),
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(st.text(max_size=3), parts, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_a_decoded_value_has_the_digest_of_the_encoded_value(value: Any) -> None:
    assert digest(ANYTHING.decode(ANYTHING.encode(value))) == digest(value)


@given(VALUES, VALUES)
def test_random_values_have_equal_digests_only_if_they_are_equal(one: Any, other: Any) -> None:
    assert (digest(one) == digest(other)) == (ANYTHING.encode(_sorted(one)) == ANYTHING.encode(_sorted(other)))


def _sorted(value: Any) -> Any:
    """The value with its dicts in order, and one `nan`."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(part) for part in value]
    return math.nan if isinstance(value, float) and math.isnan(value) else value


PROGRAM = """
from tests.engine.test_digesting import DIFFERENT, digest
print(digest(*DIFFERENT).hex(), digest({"amy", "bob", "eve", "kim"}, frozenset("abcdef")).hex())
"""


@pytest.mark.slow
def test_processes_with_different_hash_seeds_make_the_same_digests() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={"PYTHONPATH": ":".join([".", *sys.path]), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }

    assert len(found) == 1
