"""Every value round-trips: the restored value is equal and of the same type."""

import asyncio
import dataclasses
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Generic, Literal, NewType, Optional, Self, TypedDict, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pydantic
import pytest
from blockbuster import blockbuster_ctx
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import TypeAliasType

from durable_graph.codec import Codec, TypeCodec
from tests.codec.identical import identical
from tests.codec.samples import (
    CLASSES,
    Bits,
    Box,
    Color,
    Event,
    Level,
    Loose,
    Message,
    Mood,
    Options,
    Permission,
    Point,
    Profile,
    T,
    Tick,
    Tree,
    Urgent,
    anything,
    decimals,
    events,
    hashable,
    ints,
    loose,
    messages,
    points,
    profiles,
    texts,
    ticks,
    trees,
    zones,
)

CODEC = Codec(CLASSES)
UserId = NewType("UserId", str)
Json = TypeAliasType("Json", "dict[str, Json] | list[Json] | str | int | float | bool | None")
Pair = TypeAliasType("Pair", tuple[T, T], type_params=(T,))
K = TypeVar("K")


@pytest.fixture(autouse=True)
def _without_a_second_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data that does not fit the declared type is not read again without it: see `TypeCodec._wire`."""
    monkeypatch.setattr("durable_graph.codec.codec._EXPLAINED", -1)


@dataclasses.dataclass
class Keyed(Generic[K, T]):
    by_key: dict[K, T]


@dataclasses.dataclass
class Scores(Keyed[str, list[T]]):
    best: T


class Chain(TypedDict):
    value: int
    next: "Chain | None"


def codec(declared: Any) -> TypeCodec:
    return CODEC.of(declared, where="channel 'x'")


def round_trips(declared: Any, value: Any) -> bool:
    made = codec(declared)
    taken, data = made.take(value)
    return taken is value and identical(made.decode(data), value)


@given(anything)
@settings(max_examples=400, deadline=None)
def test_random_values_round_trip_where_any_is_declared(value: Any) -> None:
    assert round_trips(Any, value)
    assert round_trips(dict[str, Any], {"key": value})


TYPED: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, ints | st.booleans()),
    (float, st.floats()),
    (str, texts),
    (bytes, st.binary()),
    (bytearray, st.binary().map(bytearray)),
    (Decimal, decimals),
    (UUID, st.uuids()),
    (Path, st.text().map(Path)),
    (date, st.dates()),
    (datetime, st.datetimes(timezones=zones, allow_imaginary=True)),
    (time, st.times(timezones=zones)),
    (timedelta, st.timedeltas()),
    (Color, st.sampled_from(Color)),
    (Permission, st.builds(Permission, st.integers(0, 7))),
    (Bits, st.builds(Bits, st.integers(0, 99))),
    (Message, messages),
    (Tree, trees),
    (Point, points),
    (Event, events),
    (Tick, ticks),
    (Profile, profiles),
    (Loose, loose),
    (list[dict[str, str]], st.lists(st.dictionaries(texts, texts))),
    (list[Message], st.lists(messages)),
    (list[Event], st.lists(events)),
    (list[Profile], st.lists(profiles)),
    (dict[int, list[float]], st.dictionaries(ints, st.lists(st.floats()))),
    (dict[tuple[int, str], Color], st.dictionaries(st.tuples(ints, texts), st.sampled_from(Color))),
    (set[Point], st.sets(points)),
    (frozenset[str], st.frozensets(texts)),
    (deque[int], st.builds(deque, st.lists(ints, max_size=3), st.none() | st.integers(3, 5))),
    (OrderedDict[str, int], st.dictionaries(texts, ints).map(OrderedDict)),
    (Counter[str], st.dictionaries(texts, ints).map(Counter)),
    (str | UUID, texts | st.uuids()),
    (list[int] | tuple[int, ...], st.lists(ints) | st.lists(ints).map(tuple)),
    (Message | Tree | None, messages | trees | st.none()),
    (list[Message] | list[Event], st.lists(messages) | st.lists(events)),
    (list[Box[int]] | list[Box[str]], st.lists(ints.map(Box)) | st.lists(texts.map(Box))),
    (Message | Event | Profile | Point | Color | dict[str, Any], messages | events | profiles | points),
    (int | Level | str | Mood | bool, ints | st.sampled_from(Level) | texts | st.sampled_from(Mood) | st.booleans()),
    (Optional[Literal["a", 1, Color.RED]], st.sampled_from(["a", 1, Color.RED, None])),  # noqa: UP045 - as users write it
    (Annotated[list[UserId], "note"], st.lists(texts)),
    (Sequence[int], st.lists(ints) | st.lists(ints).map(tuple) | st.lists(ints).map(deque)),
    (AbstractSet[int], st.sets(ints) | st.frozensets(ints)),
    (Iterable[str], st.lists(texts) | st.sets(texts)),
    (
        Mapping[str, Any],
        st.dictionaries(texts, anything) | st.dictionaries(texts, ints).map(OrderedDict),
    ),
    (MutableMapping[str, int], st.dictionaries(texts, ints).map(lambda found: defaultdict(int, found))),
    (list, st.lists(anything, max_size=3)),
    (dict, st.dictionaries(hashable, anything, max_size=3)),
    (Pair[int], st.tuples(ints, ints)),
    (Json, st.recursive(texts | ints | st.floats(), lambda inner: st.lists(inner) | st.dictionaries(texts, inner))),
]


@pytest.mark.parametrize(("declared", "values"), TYPED, ids=lambda item: str(item)[:40])
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_values_of_a_declared_type_round_trip(
    declared: Any, values: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    assert round_trips(declared, data.draw(values))


def test_a_typed_dict_round_trips_with_its_key_order_and_without_omitted_keys() -> None:
    assert round_trips(Options, {"rest": {"x": (1, 2)}, "name": "n"})
    assert round_trips(Options, {"message": Message("user", "hi"), "name": "n"})


def test_a_typed_dict_may_refer_to_itself() -> None:
    assert round_trips(Chain, {"value": 1, "next": {"value": 2, "next": None}})


def test_generic_classes_round_trip_with_and_without_arguments() -> None:
    value = Scores(by_key={"a": [Message("user", "hi")]}, best=Message("user", "x"))
    assert round_trips(Scores[Message], value)
    assert round_trips(Scores, value)


def test_a_local_class_round_trips() -> None:
    @dataclasses.dataclass
    class Local:
        parts: "list[Local]"

    made = Codec().of(Local, where="channel 'x'")
    value = Local([Local([])])
    assert identical(made.decode(made.encode(value)), value)


def test_a_registered_subclass_round_trips_where_its_base_is_declared() -> None:
    assert round_trips(list[Message], [Message("user", "a"), Urgent("user", "b")])


def test_a_registered_subclass_round_trips_where_only_a_plain_base_class_is_declared() -> None:
    class Shape:
        pass

    @dataclasses.dataclass
    class Circle(Shape):
        radius: int

    made = Codec([Circle]).of(list[Shape], where="channel 'x'")
    assert identical(made.decode(made.encode([Circle(2)])), [Circle(2)])


def test_a_cached_property_is_computed_again_and_not_stored() -> None:
    value = Message("user", "four")
    assert value.length == 4
    back = codec(Message).decode(codec(Message).encode(value))
    assert "length" not in vars(back)
    assert back.length == 4


def test_a_dataclass_is_restored_without_a_call_of_post_init() -> None:
    runs: list[str] = []

    @dataclasses.dataclass
    class Counting:
        name: str
        count: int = dataclasses.field(init=False)

        def __post_init__(self) -> None:
            runs.append(self.name)
            self.count = len(runs)

    made = Codec().of(Counting, where="channel 'x'")
    Counting("first")
    value = Counting("second")
    assert identical(made.decode(made.encode(value)), value)
    assert runs == ["first", "second"]


def test_a_restored_model_keeps_model_fields_set() -> None:
    value = Profile(name="x")
    back = codec(Profile).decode(codec(Profile).encode(value))
    assert back.model_fields_set == {"name"}


class Numbers(pydantic.RootModel[list[int]]):
    _seen: int = 0


class Ages(pydantic.RootModel[dict[str, int]], frozen=True):
    pass


@pytest.mark.parametrize("value", [Numbers([1]), Ages({"amy": 5}), pydantic.RootModel[int](3)])
def test_a_root_model_round_trips_repeatedly(value: Any) -> None:
    made = Codec().of(type(value), where="channel 'x'")
    back = made.decode(made.encode(value))
    assert back == value
    assert vars(back) == vars(value)
    assert back.__pydantic_private__ == value.__pydantic_private__
    assert made.encode(back) == made.encode(value)


def test_a_datetime_parsed_by_pydantic_keeps_its_zone() -> None:
    class Stamped(pydantic.BaseModel):
        at: datetime

    made = Codec().of(Stamped, where="channel 'x'")
    for zone in ("Z", "+02:00", "-03:30"):
        value = Stamped.model_validate_json(f'{{"at": "2024-01-01T00:00:00{zone}"}}')
        assert identical(made.decode(made.encode(value)), value)


def test_encoding_and_decoding_do_not_block_the_event_loop() -> None:
    async def round_trip() -> None:
        assert round_trips(Any, [datetime(2024, 1, 1, tzinfo=zone)])
        codec_made_in_the_loop = Codec(CLASSES).of(Any, where="channel 'x'")
        assert codec_made_in_the_loop.decode(codec_made_in_the_loop.encode((1, 2))) == (1, 2)

    zone = ZoneInfo("America/New_York")
    with blockbuster_ctx():
        asyncio.run(round_trip())


def test_a_class_may_refer_to_itself_as_self() -> None:
    @dataclasses.dataclass
    class Linked:
        next: Self | None
        size: Final = 3

    made = Codec().of(Linked, where="channel 'x'")
    assert identical(made.decode(made.encode(Linked(Linked(None)))), Linked(Linked(None)))


def test_a_union_member_is_read_after_another_failed_on_a_later_field() -> None:
    @dataclasses.dataclass
    class Day:
        at: date

    @dataclasses.dataclass
    class Calendar:
        days: list[Day]

    class One(TypedDict):
        calendar: Calendar
        last: int

    class Other(TypedDict):
        calendar: Calendar
        last: str

    made = Codec().of(list[One | Other], where="channel 'x'")
    calendar = Calendar([Day(date(2024, 1, number)) for number in range(1, 9)])
    value = [{"calendar": calendar, "last": 1}, {"calendar": calendar, "last": "x"}]
    assert identical(made.decode(made.encode(value)), value)


@given(st.lists(st.builds(Message, texts, texts), min_size=4), st.lists(profiles, min_size=4))
@settings(max_examples=30, deadline=None)
def test_long_lists_of_objects_round_trip(some: list[Message], others: list[Profile]) -> None:
    assert round_trips(list[Message], some)
    assert round_trips(list[Profile], others)
    assert round_trips(list[Profile | None], others)


def test_a_long_list_of_objects_with_date_and_enum_fields_round_trips() -> None:
    @dataclasses.dataclass
    class Dated:
        at: date
        color: Color | None

    made = Codec().of(list[Dated], where="channel 'x'")
    value = [Dated(date(2024, 1, number), Color.RED if number % 2 else None) for number in range(1, 9)]
    assert identical(made.decode(made.encode(value)), value)


def test_a_nan_keeps_its_bits() -> None:
    value = msgspec.msgpack.decode(bytes.fromhex("cb7ff800000000dead"))
    assert round_trips(float, value)
    assert round_trips(Any, [value])


def test_values_nested_a_hundred_levels_deep_round_trip() -> None:
    value: Any = "end"
    for _ in range(100):
        value = [{"inner": (value,)}] if _ % 10 == 0 else [value]
    assert round_trips(Any, value)


def test_a_value_of_the_maximum_depth_round_trips() -> None:
    value: Any = Box("end")
    for _ in range(126):
        value = Box(value)
    assert round_trips(Any, value)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_decode_all_restores_each_value(data: st.DataObject) -> None:
    declared = data.draw(
        st.sampled_from([Any, list[Any], list[dict[str, Any]], list[str], dict[str, int], list[Point]])
    )
    codec = CODEC.of(declared, where="channel 'x'")
    strategies = {
        Any: anything,
        list[Any]: st.lists(anything, max_size=3),
        list[dict[str, Any]]: st.lists(st.dictionaries(texts, anything, max_size=3), max_size=2),
        list[str]: st.lists(texts, max_size=3),
        dict[str, int]: st.dictionaries(texts, ints, max_size=3),
        list[Point]: st.lists(points, max_size=3),
    }
    values = data.draw(st.lists(strategies[declared], max_size=6))

    read = codec.decode_all([codec.encode(value) for value in values])

    assert len(read) == len(values)
    assert all(identical(one, other) for one, other in zip(read, values, strict=True))
