"""The stored bytes: format version 1 stays readable, is compact, and is the same in every process."""

import os
import subprocess
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypedDict
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from msgspec.msgpack import Ext

from durable_graph.codec import Codec
from tests.codec.identical import identical, offset
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
    Permission,
    Point,
    Profile,
    Tick,
    Tree,
)

CODEC = Codec(CLASSES)


class Turn(TypedDict):
    role: str
    content: str


GOLDEN: list[tuple[Any, Any, str]] = [
    (Any, None, "01c0"),
    (Any, True, "01c3"),
    (int, 5, "0105"),
    (int, 2**64, "01c70901010000000000000000"),
    (int, -(2**63) - 1, "01c70901ff7fffffffffffffff"),
    (float, -0.0, "01cb8000000000000000"),
    (str, "hé", "01a368c3a9"),
    (str, "\ud800", "01c70302eda080"),
    (bytes, b"\x00\xff", "01c40200ff"),
    (bytearray, bytearray(b"x"), "01d40378"),
    (Decimal, Decimal("-1.50"), "01c705042d312e3530"),
    (Decimal, Decimal("sNaN12"), "01c70604534e414e3132"),
    (UUID, UUID(int=2**127 + 1), "01d80580000000000000000000000000000001"),
    (Path, Path("/tmp/é"), "01c7070b2f746d702fc3a9"),  # noqa: S108  # no file is made
    (date, date(2024, 2, 29), "01d60607e8021d"),
    (time, time(23, 59, 59, 999999, fold=1), "01c70707173b3b800f423f"),
    (
        datetime,
        datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
        "01c7190807e80a1b021e00800000007a4575726f70652f4265726c696e",
    ),
    (
        datetime,
        datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
        "01c7180807e80102030405000000066f000000000000000000000000",
    ),
    (
        datetime,
        datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=offset(-3.5, "odd")),
        "01c71c0807e80102030405000000066fffffffff00012048000000006e6f6464",
    ),
    (timedelta, timedelta(-1, 2, 3), "01c70c09ffffffff0000000200000003"),
    (Any, [1, "a", {"k": [None]}], "019301a16181a16b91c0"),
    (Any, (1, (2,), ()), "0194d400740192d400740291d40074"),
    (tuple[int, str], (1, "a"), "0193d4007401a161"),
    (set[int], {3, 1, 2}, "0194d40073010203"),
    (frozenset[str], frozenset({"b", "a"}), "0193d40066a161a162"),
    (dict[str, int], {"b": 1, "a": 2}, "0182a16201a16102"),
    (Any, {(1, 2): "t", "s": 1}, "0195d4006d93d400740102a174a17301"),
    (deque[int], deque([1, 2], maxlen=3), "0194d40071030102"),
    (Any, OrderedDict(a=1), "0193d4004fa16101"),
    (Any, defaultdict(list, {"a": [1]}), "0194d40044a46c697374a1619101"),
    (Any, defaultdict(None, {}), "0192d40044c0"),
    (Any, Counter("aab"), "0195d40043a16102a16201"),
    (Color, Color.PAIR, "0193d4006fa5436f6c6f72a450414952"),
    (Any, Color.RED, "0193d4006fa5436f6c6f72a3524544"),
    (Any, Level.HIGH, "0193d4006fa54c6576656ca448494748"),
    (Any, Mood.GOOD, "0193d4006fa44d6f6f64a4474f4f44"),
    (Permission, Permission.READ | Permission.RUN, "0193d4006faa5065726d697373696f6e92a452454144a352554e"),
    (Any, Bits(9), "0193d4006fa44269747392a34f4e4508"),
    (Point, Point(1, 2.0), "0193d4006fa5506f696e7482a17801a179cb4000000000000000"),
    (Any, Point(1), "0193d4006fa5506f696e7482a17801a179cb3fe0000000000000"),
    (
        Message,
        Message("user", "hi", ["t"]),
        "0193d4006fa74d65737361676584a4726f6c65a475736572a7636f6e74656e74a26869a47461677391a174a47365656e00",
    ),
    (
        Any,
        Message("user", "hi"),
        "0193d4006fa74d65737361676584a4726f6c65a475736572a7636f6e74656e74a26869a47461677390a47365656e00",
    ),
    (
        Tree,
        Tree("a", Tree("b"), (Tree("c"),)),
        (
            "0193d4006fa45472656583a46e616d65a161a46c65667493d4006fa45472656583a46e616d65a162a46c656674c0a86368696c6472656e91d40074"
            "a86368696c6472656e92d4007493d4006fa45472656583a46e616d65a163a46c656674c0a86368696c6472656e91d40074"
        ),
    ),
    (Any, Box((1,)), "0193d4006fa3426f7881a46974656d92d4007401"),
    (Event, Event("e", (1, 2)), "0193d4006fa54576656e7482a46e616d65a165a2617493d400740102"),
    (Any, Tick(1), "0193d4006fa45469636b82a5636f756e7401a46e6f7465c7000a"),
    (Message | Event, Event("e"), "0193d4006fa54576656e7482a46e616d65a165a2617493d400740000"),
    (
        Message | None,
        Message("a", "b"),
        "0193d4006fa74d65737361676584a4726f6c65a161a7636f6e74656e74a162a47461677390a47365656e00",
    ),
    (
        Profile,
        Profile(name="x", age=1, color=Color.RED),
        "0193d4006fa750726f66696c6583a46e616d65a178a361676501a5636f6c6f7293d4006fa5436f6c6f72a3524544",
    ),
    (
        Any,
        Profile(name="x"),
        "0193d4006fa750726f66696c6595d4007083a46e616d65a178a361676503a5636f6c6f72c091a46e616d65c0c0",
    ),
    (
        Loose,
        Loose.model_construct(name="x", more=(1,)),
        "0193d4006fa54c6f6f736595d4007081a46e616d65a17891a46e616d6581a46d6f726592d400740181a75f73656372657407",
    ),
]


@pytest.mark.parametrize(("declared", "value", "stored"), GOLDEN)
def test_version_1_of_the_format_is_unchanged(declared: Any, value: Any, stored: str) -> None:
    made = CODEC.of(declared, where="channel 'x'")
    assert made.encode(value).hex() == stored
    assert identical(made.decode(bytes.fromhex(stored)), value)


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        (Any, {"a": [1, 2.5, None, True, "x", b"y"], "b": {"c": -1}}),
        (dict[str, Any], {"a": [{"b": 1}]}),
        (list[str], ["a", "b"]),
        (list[dict[str, str]], [{"role": "user"}]),
        (str | None, "x"),
        (dict[int, float], {1: 2.5}),
        (Turn, {"role": "user", "content": "hi"}),
        (list[Turn], [{"role": "user", "content": "hi"}]),
        (object, {"nested": {"1": [[]]}}),
    ],
)
def test_plain_data_is_plain_messagepack_after_the_version(declared: Any, value: Any) -> None:
    data = CODEC.of(declared, where="channel 'x'").encode(value)
    assert data == b"\x01" + msgspec.msgpack.encode(value)


def test_a_string_costs_a_few_bytes_more_than_its_length() -> None:
    assert len(CODEC.of(list[str], where="channel 'x'").encode(["x" * 200])) <= 204


def test_an_instance_is_stored_with_its_tag_and_field_names() -> None:
    data = CODEC.of(list[Message], where="channel 'x'").encode([Message("user", "hi")])
    fields = {"role": "user", "content": "hi", "tags": [], "seen": 0}
    assert data == b"\x01" + msgspec.msgpack.encode([[Ext(0, b"o"), "Message", fields]])


def test_the_bytes_of_an_instance_do_not_depend_on_the_declared_type() -> None:
    value = [Message("user", "hi"), Point(1), Color.RED, Permission.RUN]
    declared = (Any, list[Any], list[Message | Point | Color | Permission], list[object])
    assert len({CODEC.of(each, where="channel 'x'").encode(value) for each in declared}) == 1


def test_a_rare_value_does_not_change_the_bytes_of_other_values() -> None:
    made = CODEC.of(list[dict[str, Any]], where="channel 'x'")
    plain, rare = made.encode([{"a": 1}]), made.encode([{"a": 1}, {"b": (1, 2**70)}])
    assert rare[2:].startswith(plain[2:])


def test_user_data_is_never_mistaken_for_a_marker() -> None:
    made = CODEC.of(Any, where="channel 'x'")
    for value in (
        {"__type__": "tuple", "t": [1]},
        ["o", "Message", {"role": "a"}],
        [b"t", 1],
        {"": [b"\xd4\x00t"]},
        [["t"], {"o": "Message"}],
    ):
        assert identical(made.decode(made.encode(value)), value)


UNORDERED = """
import sys
from typing import Any
from durable_graph.codec import Codec
from tests.codec.samples import CLASSES, Color, Mood, Point
codec = Codec(CLASSES)
words = {f"word-{number}" for number in range(50)}
value = {
    "set": words, "nested": {frozenset({word, (1, word)}) for word in words}, "points": {Point(n) for n in range(9)},
    "enums": set(Color) | set(Mood), "keys": {frozenset(words): 1}, "mixed": {1, "a", None, b"x", 2.5, 2**70},
}
declared = codec.of(dict[str, set[Any] | dict[frozenset[str], int]], where="x")
sys.stdout.write(codec.of(Any, where="x").encode(value).hex() + declared.encode(value).hex())
"""


@pytest.mark.slow
def test_equal_values_have_equal_bytes_in_every_process() -> None:
    def written(seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", UNORDERED], capture_output=True, text=True, check=True, env=environment, timeout=60
        )
        return done.stdout

    first = written("0")
    assert len(first) > 1000
    assert {written("1"), written("4711")} == {first}


def test_equal_values_that_were_made_differently_have_equal_bytes() -> None:
    made = CODEC.of(Any, where="channel 'x'")
    one = {"s": {"a", "b", "c"}, "n": [Message("user", "hi"), Decimal("1.50")]}
    other = {"s": {"c", "b", "a"}, "n": [Message("us" + "er", "hi"), Decimal("1.50")]}
    assert made.encode(one) == made.encode(other)
    assert made.encode(made.decode(made.encode(one))) == made.encode(one)


def test_equal_values_that_can_be_distinguished_have_different_bytes() -> None:
    made = CODEC.of(Any, where="channel 'x'")
    groups: list[list[Any]] = [
        [1, 1.0, True, Decimal(1), Level.LOW],
        [0.0, -0.0],
        [{"a": 1, "b": 2}, {"b": 2, "a": 1}, OrderedDict(a=1, b=2)],
        [Decimal("1.0"), Decimal("1.00")],
        [datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, 2, tzinfo=offset(2))],
        [{1}, frozenset({1})],
    ]
    for group in groups:
        assert len({made.encode(value) for value in group}) == len(group)


IMPORTS = """
import sys
from dataclasses import dataclass
from typing import Any
import durable_graph.codec
@dataclass
class State:
    value: Any
made = durable_graph.codec.Codec([State]).of(Any, where="x")
assert made.decode(made.encode(State({1: (2,)}))) == State({1: (2,)})
print(*(name for name in ("pydantic", "pydantic_core", "pickle", "shelve") if name in sys.modules))
"""


def test_neither_pydantic_nor_pickle_is_imported_by_the_codec() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == ""
