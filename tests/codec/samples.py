"""Classes of every kind that can be stored, and strategies for their values."""

import dataclasses
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import UTC, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, IntFlag, StrEnum, auto
from functools import cached_property
from typing import Any, Generic, NamedTuple, NotRequired, TypedDict, TypeVar
from zoneinfo import ZoneInfo

import msgspec
import pydantic
from hypothesis import strategies as st

from tests.codec.identical import offset

T = TypeVar("T")


class Color(Enum):
    RED = 1
    BLUE = "b"
    CRIMSON = 1  # noqa: PIE796 - an alias is part of the sample
    PAIR = (1, "x")


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Mood(StrEnum):
    GOOD = auto()
    BAD = auto()


class Permission(Flag):
    READ = auto()
    WRITE = auto()
    RUN = auto()


class Bits(IntFlag):
    ONE = 1
    TWO = 2


class Point(NamedTuple):
    x: int
    y: float = 0.5


@dataclasses.dataclass
class Message:
    role: str
    content: str
    tags: list[str] = dataclasses.field(default_factory=list)
    seen: int = dataclasses.field(init=False, default=0)

    @cached_property
    def length(self) -> int:
        return len(self.content)


@dataclasses.dataclass(frozen=True, slots=True)
class Tree:
    name: str
    left: "Tree | None" = None
    children: "tuple[Tree, ...]" = ()


@dataclasses.dataclass(frozen=True)
class Box(Generic[T]):
    item: T


@dataclasses.dataclass
class Urgent(Message):
    level: Level = Level.HIGH


class Event(msgspec.Struct, tag=True, forbid_unknown_fields=True):
    name: str
    at: tuple[int, int] = (0, 0)


class Tick(msgspec.Struct, frozen=True, array_like=True, tag="tick"):
    count: int
    note: str | msgspec.UnsetType = msgspec.UNSET


class Profile(pydantic.BaseModel):
    name: str
    age: int = 3
    color: Color | None = None


class Loose(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")

    name: str
    _secret: int = pydantic.PrivateAttr(default=7)


class Options(TypedDict):
    name: str
    message: NotRequired[Message]
    rest: NotRequired[dict[str, Any]]


CLASSES: tuple[type, ...] = (
    *(Color, Level, Mood, Permission, Bits, Point, Message, Tree, Box, Urgent, Event, Tick, Profile, Loose),
)

ints = st.one_of(st.integers(), st.integers(-(2**70), 2**70), st.sampled_from([2**63, 2**64 - 1, 2**64, -(2**63) - 1]))
texts = st.text(st.characters(exclude_categories=()), max_size=12)
decimals = st.one_of(
    st.decimals(allow_nan=True), st.sampled_from(list(map(Decimal, ["sNaN123", "-NaN", "-0.00", "1E+999", "-Inf"])))
)
zones = st.sampled_from(
    [None, UTC, offset(2), offset(-3.5, "odd"), offset(0, "UTC"), ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Tokyo")]
)
timezones: list[timezone] = [UTC, offset(2)]

messages = st.builds(Message, texts, texts, st.lists(texts, max_size=2))
points = st.builds(Point, ints, st.floats())
trees = st.recursive(
    st.builds(Tree, texts),
    lambda inner: st.builds(Tree, texts, st.none() | inner, st.lists(inner, max_size=2).map(tuple)),
    max_leaves=4,
)
enums = st.one_of(
    st.sampled_from(Color),
    st.sampled_from(Level),
    st.sampled_from(Mood),
    st.builds(Permission, st.integers(0, 7)),
    st.builds(Bits, st.integers(0, 40)),
)
events = st.builds(Event, texts, st.tuples(ints, ints))
ticks = st.builds(Tick, ints, st.just(msgspec.UNSET) | texts)
profiles = st.builds(Profile, name=texts.filter(str.isprintable), age=st.integers()) | st.just(Profile(name="x"))


def _loose(name: str, extra: dict[str, Any], secret: int) -> Loose:
    made = Loose.model_construct(name=name, **extra)
    made._secret = secret
    return made


loose = st.builds(
    _loose, texts, st.dictionaries(st.sampled_from(["more", "other"]), texts | st.tuples(ints)), st.integers()
)

hashable = st.one_of(
    *(
        st.none(),
        st.booleans(),
        ints,
        st.floats(),
        texts,
        st.binary(max_size=8),
        decimals.filter(lambda d: not d.is_snan()),
    ),
    *(st.uuids(), st.dates(), st.datetimes(timezones=zones, allow_imaginary=True), st.times(timezones=zones)),
    *(st.timedeltas(), enums, points, trees),
)
scalars = hashable | decimals | st.binary(max_size=8).map(bytearray) | messages | events | ticks | profiles | loose


def containers_of(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = hashable | st.tuples(hashable, hashable) | st.frozensets(hashable, max_size=2)
    pairs = st.lists(st.tuples(keys, inner), max_size=3)
    return st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.sets(keys, max_size=3),
        st.frozensets(keys, max_size=3),
        pairs.map(dict),
        st.dictionaries(texts, inner, max_size=3),
        pairs.map(OrderedDict),
        pairs.map(lambda found: defaultdict(list, found)),
        pairs.map(lambda found: Counter(dict(found))),
        st.builds(deque, st.lists(inner, max_size=3), st.sampled_from([None, 3, 9])),
        st.builds(Box, inner),
    )


anything = st.recursive(scalars, containers_of, max_leaves=8)
