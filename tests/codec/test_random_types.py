"""Random annotations: compiling raises only errors of the library, and a value round-trips or is refused."""

import contextlib
import dataclasses
import datetime as dt
import operator
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from itertools import combinations
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Final,
    Generic,
    Literal,
    Never,
    NewType,
    Optional,
    Required,
    TypeVar,
    Union,
)
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from typing_extensions import TypeAliasType

from durable_graph import START, GraphValidationError, StateGraph, UntrackedValue, add_messages
from durable_graph.codec import Codec, TypeCodec
from durable_graph.errors import UnstorableValueError
from tests.codec.identical import identical
from tests.codec.samples import (
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
    Tick,
    Tree,
    Urgent,
    anything,
    hashable,
)
from tests.graph.state_makers import KINDS, Kind
from tests.ids import without_address

T = TypeVar("T")

Json = TypeAliasType("Json", "dict[str, Json] | list[Json] | str | int | float | bool | None")
Lost = TypeAliasType("Lost", "list[Nowhere]")  # type: ignore[name-defined]  # noqa: F821 - the subject of the test
# Aliases that no checker accepts.
Named: Any = TypeAliasType
Endless = Named("Endless", "Endless | None")
Growing = Named("Growing", "dict[str, Growing[list[T]]] | None", type_params=(T,))
Twice = Named("Twice", "Twice[T]", type_params=(T,))
# Makes types at run time, which a type checker cannot know.
of: Any = operator.getitem


@dataclasses.dataclass
class Folded(Generic[T]):
    """A class that refers to itself with an ever larger argument."""

    inner: "Folded[list[T]] | None" = None


class Plain:
    """A class whose instances are not stored."""


STORABLE: list[Any] = [
    *(None, bool, int, float, str, bytes, bytearray, Any, object),
    *(Decimal, UUID, Path, dt.date, dt.time, dt.datetime, dt.timedelta, msgspec.UnsetType),
    *(list, tuple, set, frozenset, dict, deque, OrderedDict, defaultdict, Counter),
    *(Color, Level, Mood, Permission, Bits, Point, Message, Tree, Box, Urgent, Event, Tick, Profile, Loose, Options),
    *(Literal["a"], Literal[1, "RED", None], Literal[Color.RED, "RED"], Literal[True, 1], Literal[b"a", Mood.GOOD]),
    *(Sequence, Mapping, Iterable, AbstractSet),
    Json,
    NewType("UserId", str),
]
ODD: list[Any] = [
    *(complex, Plain, Exception, type, Callable[[int], str], Iterator[int], Never, T, "Message", 3, Ellipsis, [int]),
    *(
        Lost,
        Endless,
        Growing[int],
        of(list, T),
        type[int],
        list[Lost],
        of(dict, (str, Endless)),
        Folded[int],
        Twice[int],
    ),
    *(UnboundLocalError, Literal[3.5], Literal[()], Annotated[int, {}], Annotated[list[int], operator.add], Final),
    *(Annotated[str, UntrackedValue], Annotated[list[Any], add_messages], Annotated[int, abs]),
]


def _unions(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, min_size=2, max_size=4).map(lambda members: of(Union, tuple(members)))


def _with_parts(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    pairs = st.tuples(inner, inner)
    return st.one_of(
        _unions(inner),
        _unions(inner),
        st.sampled_from([list, set, frozenset, deque, Sequence, Iterable, AbstractSet, Counter, Box]).flatmap(
            lambda kind: inner.map(lambda item: of(kind, item))
        ),
        st.sampled_from([dict, OrderedDict, defaultdict, Mapping]).flatmap(
            lambda kind: pairs.map(lambda pair: of(kind, pair))
        ),
        inner.map(lambda item: of(tuple, (item, ...))),
        pairs.map(lambda pair: of(tuple, pair)),
        inner.map(lambda item: of(Optional, item)),
        inner.map(lambda item: of(Annotated, (item, "a remark"))),
        inner.map(lambda item: Named("Named", item)),
    )


storable = st.recursive(st.sampled_from(STORABLE), _with_parts, max_leaves=6)


# Values that look alike on the wire or in Python, in addition to random values.
LOOK_ALIKES: list[Any] = [
    *(None, True, False, 0, 1, 2, 1.0, 0.0, -0.0, "", "a", "RED", "GOOD", "good", "1", b"", b"a", bytearray(b"a")),
    *([], [1], ["a"], (), (1,), (1, 0.5), set(), {1}, frozenset(), frozenset({1}), {}, {"a": 1}, {"name": "a"}, {1: 2}),
    *(Color.RED, Color.BLUE, Level.LOW, Mood.GOOD, Permission.READ, Permission(0), Bits.ONE, Bits(3)),
    *(
        Point(1),
        Message("a", "b"),
        Urgent("a", "b"),
        Tree("a"),
        Box(1),
        Box("a"),
        Event("a"),
        Tick(1),
        Profile(name="a"),
    ),
    *(msgspec.UNSET, Decimal(1), UUID(int=1), Path("a"), dt.date(2024, 1, 1), dt.time(1), dt.timedelta(1)),
    *(dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1, tzinfo=dt.UTC), deque([1]), Counter("a"), OrderedDict(a=1)),  # noqa: DTZ001
    *(
        defaultdict(int, a=1),
        2**70,
        "\ud800",
        [Message("a", "b")],
        {"a": Color.RED},
        [Color.RED, "RED"],
        {"name": Level.LOW},
    ),
]
values = st.sampled_from(LOOK_ALIKES) | anything | hashable
parts = st.one_of(
    values,
    st.lists(st.sampled_from(LOOK_ALIKES), max_size=3),
    st.lists(values, max_size=5),
    st.tuples(values, values),
    st.dictionaries(hashable, values, max_size=2),
    values.map(Box),
)


UNIONS = [of(Union, pair) for pair in combinations(STORABLE, 2)]


def codec_of(declared: Any) -> TypeCodec | None:
    """The codec of a type, or None if the type is refused."""
    try:
        return Codec([Color, Message, Box]).of(declared, where="channel 'x'")
    except GraphValidationError:
        return None


def round_trips_or_is_refused(codec: TypeCodec, value: Any) -> bool:
    try:
        taken, data = codec.take(value)
    except UnstorableValueError:
        return True
    # A converted value needs no second conversion.
    return identical(codec.decode(data), taken) and codec.take(taken)[0] is taken


@pytest.mark.slow
def test_unions_of_two_types_round_trip() -> None:
    for union in UNIONS:
        codec = codec_of(union)
        assert codec is not None, union
        assert all(round_trips_or_is_refused(codec, value) for value in LOOK_ALIKES), union


@pytest.mark.slow
def test_unions_of_two_types_round_trip_in_containers(pytestconfig: pytest.Config) -> None:
    """Every fifth union, or every union with --forms=all."""
    keys = [value for value in LOOK_ALIKES if type(value).__hash__ is not None and type(value) is not Event]
    for union in UNIONS if pytestconfig.getoption("--forms") == "all" else UNIONS[::5]:
        in_dicts = codec_of(of(dict, (union, int)))
        assert in_dicts is not None, union
        assert all(round_trips_or_is_refused(in_dicts, {value: 1}) for value in keys), union
        in_lists = codec_of(of(list, union))
        assert in_lists is not None, union
        # Longer lists are stored column by column.
        assert all(round_trips_or_is_refused(in_lists, [value] * 4) for value in LOOK_ALIKES), union


def test_text_and_bytes_are_distinguished() -> None:
    codec = codec_of(str | bytes | None)
    assert codec is not None
    for value in ("x", b"x", "", b"", None, "\ud800"):
        assert identical(codec.decode(codec.encode(value)), value)
    with pytest.raises(UnstorableValueError, match="bytearray"):
        codec.encode(bytearray(b"x"))


@pytest.mark.slow
@given(storable, st.lists(parts, min_size=1, max_size=6))
@settings(max_examples=300)
def test_a_value_of_a_random_type_round_trips_or_is_refused(declared: Any, drawn: list[Any]) -> None:
    codec = codec_of(declared)
    if codec is not None:
        assert all(round_trips_or_is_refused(codec, value) for value in (*LOOK_ALIKES, *drawn)), declared


# Errors of compiling


def _skipping(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function that makes a type of a part, or returns the part if Python refuses to make the type."""

    def made(part: Any) -> Any:
        try:
            return make(part)
        except (TypeError, AttributeError):
            return part

    return made


_AROUND: list[Callable[[Any], Any]] = [
    lambda item: of(list, item),
    lambda item: of(dict, (str, item)),
    lambda item: of(tuple, (item, ...)),
    lambda item: of(Box, item),
    lambda item: of(Optional, item),
    lambda item: of(Union, (item, int, None)),
    lambda item: of(Annotated, (item, "a remark", {})),
    lambda item: of(Annotated, (item, operator.add)),
    lambda item: Named("Named", item),
    lambda item: NewType("New", item),
    lambda item: of(Callable, ([item], item)),
    lambda item: of(Required, item),
]
odd = st.recursive(
    st.sampled_from(ODD) | st.sampled_from(STORABLE),
    lambda inner: st.tuples(st.sampled_from(_AROUND).map(_skipping), inner).map(lambda pair: pair[0](pair[1])),
    max_leaves=3,
)


async def node(given: Any) -> None:
    """Write nothing."""


@pytest.mark.slow
@given(odd, st.sampled_from([*KINDS, lambda declared: declared]))
@settings(max_examples=400)
def test_compiling_raises_only_graph_validation_errors(declared: Any, kind: Kind) -> None:
    try:
        state = kind(declared)
    except Exception:
        # Python or the library refuses such a class itself.
        reject()
    with contextlib.suppress(GraphValidationError):
        StateGraph(state).add_node("node", node).add_edge(START, "node").compile()


@pytest.mark.parametrize("declared", ODD, ids=without_address)
@pytest.mark.parametrize("around", [lambda item: item, *_AROUND])
def test_an_odd_type_is_refused_or_compiled(declared: Any, around: Callable[[Any], Any]) -> None:
    made = _skipping(around)(declared)
    codec = codec_of(made)
    assert codec is None or all(round_trips_or_is_refused(codec, value) for value in (None, 1, [1], {"k": None}))
