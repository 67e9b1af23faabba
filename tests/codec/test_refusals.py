"""A value that would not round-trip is refused by encode, with an error that names its path, its type and a remedy."""

import dataclasses
from collections import Counter, OrderedDict, UserDict, defaultdict, deque
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pydantic
import pytest

from durable_graph.codec import Codec
from durable_graph.errors import DecodeError, UnstorableValueError
from tests.codec.samples import (
    Box,
    Color,
    Event,
    Loose,
    Message,
    Options,
    Permission,
    Point,
    Profile,
    Tree,
    Urgent,
)


class MyStr(str):
    __slots__ = ()


class Twin(str):
    """A string that is unequal to the same text, so that a dict may have both as keys."""

    __slots__ = ()

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        return self is other


class Noted(str):  # noqa: SLOT000 - it needs a __dict__
    """A string that may have attributes."""


class MyDict(dict[str, int]):
    pass


class Zone(tzinfo):
    def utcoffset(self, _moment: datetime | None) -> timedelta:
        return timedelta(hours=1)

    def dst(self, _moment: datetime | None) -> timedelta:
        return timedelta()

    def tzname(self, _moment: datetime | None) -> str:
        return "mine"


class Unlisted(Enum):
    ONE = 1


@dataclasses.dataclass
class Stranger:
    name: str = ""


class Record(msgspec.Struct):
    name: str


class Model(pydantic.BaseModel):
    name: str


class Place(NamedTuple):
    x: int


class Kept(NamedTuple):
    x: int


class Subplace(Kept):
    pass


class Doubling(msgspec.Struct):
    count: int

    def __post_init__(self) -> None:
        self.count *= 2


class Opaque:
    pass


class Shapeless:
    pass


@dataclasses.dataclass
class Shaped(Shapeless):
    name: str = ""


@dataclasses.dataclass
class Holder:
    item: Any


class Wrapped(msgspec.Struct):
    item: Any


class Tupled(NamedTuple):
    item: Any


def _with_attribute(value: Any) -> Any:
    value.note = "mine"
    return value


def _zone_with_rules_of_its_own(key: str | None = "Europe/Berlin") -> ZoneInfo:
    with resources.files("tzdata").joinpath("zoneinfo/UTC").open("rb") as rules:
        return ZoneInfo.from_file(rules, key=key)


def _itself() -> list[Any]:
    value: list[Any] = []
    value.append({"again": value})
    return value


def _deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(500):
        value = [value]
    return value


REFUSED: list[tuple[Any, Any, str, str, str]] = [
    # declared, value, path, type, words of the reason and the remedy
    (Any, MyStr("x"), "", "MyStr", r"come back as str; convert it with str\(\.\.\.\)"),
    (str, _with_attribute(Noted("x")), "", "Noted", r"attributes of its own.*: note; convert it with str"),
    (list[dict[str, str]], [{}, {"a": _with_attribute(Noted("x"))}], "[1]['a']", "Noted", "note"),
    (dict[str, int], {_with_attribute(Noted("k")): 1}, ".keys()", "Noted", "note"),
    (dict[str, int], {"k": 1, Twin("k"): 2}, "", "dict", "two of its keys are the same"),
    (set[str], {"k", Twin("k")}, "", "set", "equal items"),
    (float, 2**53 + 1, "", "int", "no float is equal to it; declare int"),
    (float, 10**400, "", "int", "no float is equal to it"),
    (float | None, 2**53 + 1, "", "int", "float | None is declared"),
    (float, "1.0", "", "str", "float is declared"),
    (str, True, "", "bool", "str is declared"),
    (bool, 1, "", "int", "bool is declared"),
    (Literal["a"], MyStr("b"), "", "MyStr", "'a'"),
    (Any, {"a": [1, {"b": MyDict()}]}, "['a'][1]['b']", "MyDict", r"dict\(\.\.\.\)"),
    (dict[str, int], OrderedDict(a=1), "", "OrderedDict", r"dict\(\.\.\.\)"),
    (dict, UserDict(), "", "UserDict", "dict is declared"),
    (Any, UserDict(), "", "UserDict", "list StoredType"),
    (int, 1.0, "", "float", "int is declared"),
    (int, "1", "", "str", "int is declared"),
    (str, None, "", "NoneType", "str is declared"),
    (list[int], (1,), "", "tuple", r"list\(\.\.\.\)|declare the type"),
    (tuple[int, str], (1,), "", "tuple", "1 items where 2 are declared"),
    (tuple[int, str], (1, 2), "[1]", "int", "str is declared"),
    (tuple[int, ...], (1, "2"), "[1]", "str", "int is declared"),
    (set[int], {"x"}, "{...}", "str", "int is declared"),
    (int | str, b"x", "", "bytes", "int | str"),
    (Literal["a", 1], True, "", "bool", "Literal"),
    (Literal["a", "b"], "c", "", "str", "Literal"),
    (list[Literal["a", "b"]], ["a", "c"], "[1]", "str", "Literal"),
    (Any, {"f": print}, "['f']", "builtin_function_or_method", "keep it out of the state"),
    (Any, [lambda: 1], "[0]", "function", "keep it out of the state"),
    (Any, (item for item in "x"), "", "generator", "keep it out of the state"),
    (Any, object(), "", "object", "keep it out"),
    (Any, PurePosixPath("x"), "", "PurePosixPath", "list StoredType"),
    (Path, "x", "", "str", "Path"),
    (Any, 1j, "", "complex", "convert it"),
    (Any, ValueError("x"), "", "ValueError", "convert it"),
    (Any, memoryview(b"x"), "", "memoryview", "convert it"),
    (Any, range(3), "", "range", "convert it"),
    (Any, [Stranger()], "[0]", "Stranger", r"list it in compile\(types=\[Stranger\]\)"),
    (Any, Record("x"), "", "Record", r"types=\[Record\]"),
    (Any, Model(name="x"), "", "Model", r"types=\[Model\]"),
    (Any, Place(1), "", "Place", r"types=\[Place\]"),
    (Any, Unlisted.ONE, "", "Unlisted", r"types=\[Unlisted\]"),
    (Message, Stranger(), "", "Stranger", "Message is declared"),
    (Message, Urgent("user", "x"), "", "Urgent", r"types=\[Urgent\]"),
    (Kept, Subplace(1), "", "Subplace", "Kept"),
    (Message, Message("user", 3), ".content", "int", "str is declared"),  # type: ignore[arg-type]
    (list[Tree], [Tree("a", Tree("b", Tree(3)))], "[0].left.left.name", "int", "str is declared"),  # type: ignore[arg-type]
    (dict[str, list[Message]], {"k": [Message("a", "b", ["c", 1])]}, "['k'][0].tags[1]", "int", "str"),  # type: ignore[list-item]
    (Message, _with_attribute(Message("a", "b")), "", "Message", "note"),
    (Box[Any], Box(Opaque()), ".item", "Opaque", "make it a dataclass"),
    (Event, Event(1), ".name", "int", "str is declared"),  # type: ignore[arg-type]
    (Point, Point("x"), ".x", "str", "int is declared"),  # type: ignore[arg-type]
    (Profile, Profile.model_construct(name=3), ".name", "int", "str is declared"),
    (Profile, Profile.model_construct(), "", "Profile", "never set"),
    (Loose, Loose(name="x", more=Opaque()), ".more", "Opaque", "make it a dataclass"),  # type: ignore[call-arg]
    (Doubling, Doubling(2), "", "Doubling", "__post_init__ would change its field 'count'"),
    (Options, {"name": "x", "extra": 1}, "['extra']", "int", "Options declares no key 'extra'"),
    (Options, {"rest": {}}, "", "dict", "requires the key 'name'.*NotRequired"),
    (Options, {"name": 1}, "['name']", "int", "str is declared"),
    (Any, defaultdict(lambda: 1), "", "defaultdict", "default_factory"),
    (Any, _with_attribute(Counter("a")), "", "Counter", "attributes of its own: note"),
    (Any, [datetime(2024, 1, 1, tzinfo=Zone())], "[0]", "Zone", r"astimezone\(ZoneInfo"),
    (datetime, datetime(2024, 1, 1, tzinfo=_zone_with_rules_of_its_own()), "", "ZoneInfo", "key of an existing zone"),
    (datetime, datetime(2024, 1, 1, tzinfo=_zone_with_rules_of_its_own(None)), "", "ZoneInfo", "key of an existing"),
    (datetime, datetime(2024, 1, 1, tzinfo=_zone_with_rules_of_its_own("../x")), "", "ZoneInfo", "key of an existing"),
    (Color, 1, "", "int", "Color is declared"),
    (Any, _itself(), "[0]['again']", "list", "it contains itself"),
    (list[Any], [_itself()] * 3, "[0][0]['again']", "list", "it contains itself"),
    (Any, [_deep()] * 3, "[0][0][0]", "list", "128 levels deep"),
]


@pytest.mark.parametrize(
    "declared",
    [
        *(list[int], tuple[int, ...], tuple[int, str], set[int], frozenset[int], deque[int], dict[str, int]),
        *(OrderedDict[str, int], defaultdict[str, int], Counter[str], Options, Literal["a"], Literal["a", 1]),
        *(bool, bytes, bytearray, Decimal, UUID, date, datetime, time, timedelta, Color, Permission, Point, Event),
        *(Message | Tree, list[int] | dict[str, int], Shapeless),
    ],
)
def test_a_value_of_another_class_is_refused_for_each_declared_type(declared: Any) -> None:
    made = Codec([Shaped]).of(declared, where="channel 'x'")
    with pytest.raises(UnstorableValueError, match="channel 'x' is a complex and cannot be stored"):
        made.encode(1j)
    with pytest.raises(DecodeError, match="channel 'x'"):
        made.decode(b"\x01\xc7\x00\x63")


def test_the_members_of_a_union_of_containers_are_checked() -> None:
    made = Codec().of(list[list[int] | dict[str, int] | str], where="channel 'x'")
    assert made.decode(made.encode([[1], {"a": 2}, "x"])) == [[1], {"a": 2}, "x"]
    with pytest.raises(UnstorableValueError, match="int is declared") as error:
        made.encode([[1], {"a": "x"}])
    assert error.value.path == "[1]['a']"


@pytest.mark.parametrize(
    "nest",
    [
        *(lambda value: (value,), lambda value: {"k": value}, lambda value: deque([value]), Box, Holder),
        *(lambda value: OrderedDict(k=value), Wrapped, Tupled),
    ],
)
def test_every_container_counts_as_a_level(nest: Callable[[Any], Any]) -> None:
    value: Any = 0
    for _ in range(150):
        value = nest(value)
    with pytest.raises(UnstorableValueError, match="128 levels deep"):
        Codec([Box, Holder, Wrapped, Tupled]).of(Any, where="channel 'x'").encode(value)


@pytest.mark.parametrize(("declared", "value", "path", "type_name", "words"), REFUSED)
def test_a_value_that_would_not_round_trip_is_refused(
    declared: Any, value: Any, path: str, type_name: str, words: str
) -> None:
    made = Codec().of(declared, where="channel 'x'")
    with pytest.raises(
        UnstorableValueError, match=f"(?s)channel 'x'.*{type_name}.* cannot be stored.*({words})"
    ) as error:
        made.encode(value)
    assert error.value.channel == "channel 'x'"
    assert error.value.path == path or (error.value.path.startswith(path) and error.value.path.endswith("..."))
    assert error.value.type_name == type_name


def test_the_path_leads_through_long_lists_of_objects() -> None:
    value = [Message("a", "b") for _ in range(9)]
    value[7].tags = ["x", 3]  # type: ignore[list-item]  # the subject of the test
    with pytest.raises(UnstorableValueError) as error:
        Codec().of(list[Message], where="channel 'x'").encode(value)
    assert error.value.path == "[7].tags[1]"


def test_a_key_that_python_cannot_print_is_shown_as_its_type_in_the_path() -> None:
    with pytest.raises(UnstorableValueError, match="<int>"):
        Codec().of(Any, where="channel 'x'").encode({10**5000: object()})


def test_a_list_that_contains_itself_many_times_is_refused() -> None:
    value: list[Any] = []
    value.extend([value] * 20_000)
    with pytest.raises(UnstorableValueError, match="it contains itself"):
        Codec().of(Any, where="channel 'x'").encode(value)


def test_an_object_that_contains_itself_is_refused() -> None:
    value = Box[Any](None)
    object.__setattr__(value, "item", [value])
    with pytest.raises(UnstorableValueError, match="it contains itself"):
        Codec().of(Box[Any], where="channel 'x'").encode(value)


def test_a_deep_value_is_refused_if_the_stack_has_too_few_frames_left() -> None:
    value: list[Any] = [(1,)]
    for _ in range(90):
        value = [value]
    made = Codec().of(Any, where="channel 'x'")

    def after(frames: int, then: Callable[[], Any]) -> Any:
        return after(frames - 1, then) if frames else then()

    with pytest.raises(UnstorableValueError, match="levels deep"):
        _where_it_fails(after, lambda: made.encode(value))


def _where_it_fails(after: Callable[[int, Callable[[], Any]], Any], then: Callable[[], Any]) -> None:
    for frames in range(300, 1000, 50):
        after(frames, then)
