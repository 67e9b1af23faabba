"""Arbitrary bytes decode to a value of the declared type or raise DecodeError. Nothing is imported, opened or run."""

import contextlib
import dataclasses
import json
import subprocess
import sys
import time
import tracemalloc
from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.msgpack import Ext, encode

from durable_graph.codec import Codec, TypeCodec
from durable_graph.errors import DecodeError, UnstorableValueError
from tests.codec.identical import identical
from tests.codec.samples import (
    CLASSES,
    Bits,
    Color,
    Event,
    Level,
    Message,
    Options,
    Permission,
    Point,
    Profile,
    Tree,
    anything,
)

CODEC = Codec(CLASSES)


def codec(declared: Any) -> TypeCodec:
    return CODEC.of(declared, where="channel 'x'")


DECLARED: tuple[Any, ...] = (
    *(Any, int, str, list[int], dict[str, Any], list[Message], Options, Tree, Point, Profile, Color, Permission),
    *(set[str], tuple[int, str], Message | Tree | None, list[Message] | list[Tree], dict[tuple[int, int], Decimal]),
)
ANYTHING = codec(Any)
CODECS = [codec(declared) for declared in DECLARED]


def wire(value: Any) -> bytes:
    return b"\x01" + encode(value)


def wire_of(value: Any) -> bytes:
    return ANYTHING.encode(value)


def instance(tag: str, value: Any) -> bytes:
    return wire([Ext(0, b"o"), tag, value])


@given(st.sampled_from(CODECS), st.binary(max_size=60))
@settings(max_examples=600, deadline=None)
def test_random_bytes_decode_to_a_value_or_raise_a_decode_error(made: TypeCodec, data: bytes) -> None:
    for candidate in (data, b"\x01" + data):
        _decodes_or_raises_decode_error(made, candidate)


@given(anything, st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_bytes_decode_to_a_value_or_raise_a_decode_error(value: Any, data: st.DataObject) -> None:
    made = codec(Any)
    stored = bytearray(made.encode(value))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(stored) - 1))
        stored[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(stored)))
    for candidate in (bytes(stored), bytes(stored[:cut]), bytes(stored) + b"\xc0"):
        for reader in (made, *CODECS):
            _decodes_or_raises_decode_error(reader, candidate)


def _decodes_or_raises_decode_error(made: TypeCodec, data: bytes) -> None:
    # Any other error fails the test.
    with contextlib.suppress(DecodeError):
        made.decode(data)


@pytest.mark.parametrize(
    ("declared", "data", "words"),
    [
        (Any, b"", "no bytes at all"),
        (Any, b"\x03\xc0", "format version 3"),
        (int, b"\x00\x05", "format version 0"),
        (Any, b"\x01", "truncated"),
        (Any, b"\x01\x01\x01", "trailing"),
        (int, b"\x01\x01\x01", "trailing"),
        (int, wire("5"), "type str where int is declared"),
        (int, wire(None), "None where int is declared"),
        (str, wire(b"x"), "type bytes where str is declared"),
        (list[int], wire([1, "x"]), "type str where int"),
        (list[dict[str, str]], wire([{"a": 1}]), "type int where str"),
        (dict[str, Any], wire({1: 2}), "type int where str"),
        (tuple[int, str], wire([1, "x"]), "type list where tuple"),
        (tuple[int, str], wire([Ext(0, b"t"), 1]), "1 items where 2"),
        (set[int], wire([Ext(0, b"s"), 1, 1]), "equal items"),
        (dict[tuple[int, int], int], wire([Ext(0, b"m"), 1]), "key without a value"),
        (dict[Any, int], wire([Ext(0, b"m"), 1, 2, 1, 2]), "equal keys"),
        (Any, wire([Ext(0, b"m"), [], 2]), "unhashable"),
        (Any, wire([Ext(0, b"q"), 1, 1, 2]), "2 items with the maxlen 1"),
        (Any, wire([Ext(0, b"D"), "eval"]), "factory 'eval'"),
        (Any, wire([Ext(0, b"o"), "os.system", "true"]), "tag 'os.system' belongs to none"),
        (Any, wire([Ext(0, b"?")]), "envelope marked"),
        (Any, wire(Ext(99, b"")), "extension with the code 99"),
        (Any, b"\x01\xd6\xff\x00\x00\x00\x00", "datetime"),
        (int, wire(Ext(2, b"x")), "extension with the code 2 where int"),
        (Decimal, wire(Ext(4, b"1_0")), "no Decimal"),
        (Decimal, wire(Ext(4, b"1E+99999999999999999999")), ""),
        (UUID, wire(Ext(5, b"x")), ""),
        (Path, wire(Ext(11, b"a//b")), "no path here"),
        (Path, wire(Ext(11, b"")), "no path here"),
        (Path, wire(Ext(11, b"\xff")), ""),
        (Color, instance("Color", "GREEN"), "no member 'GREEN'"),
        (Color, wire("RED"), "type str where Color"),
        (Permission, instance("Permission", [64]), ""),
        (Permission, instance("Permission", ["READ", "SUDO"]), "has no flag 'SUDO'"),
        (Permission, instance("Permission", 1), "type int where Permission"),
        (Permission, instance("Permission", [1, "READ"]), "type int where a flag of Permission"),
        (Bits, instance("Bits", [True]), "type bool where a flag of Bits"),
        (Message, instance("Message", {"role": "a"}), "needs a value for the field 'content'"),
        (Message, instance("Message", {"role": "a", "content": "b", "more": 1}), "has no field 'more'"),
        (Message, instance("Message", {"role": 1, "content": "b"}), "type int where str"),
        (Point, instance("Point", {"x": 1, "y": 2.0, "z": 3}), "Point has no field 'z'"),
        (Point, wire([1, 2.0]), "type list where Point"),
        (Message, instance("Point", {"x": 1}), "tag 'Point' where Message"),
        (Options, wire({"name": "a", "more": 1}), "declares no key 'more'"),
        (Options, wire({}), "requires the key 'name'"),
        (Profile, instance("Profile", [Ext(0, b"p"), {"name": "x"}, ["nope"], None, None]), "said to be set"),
        (Message | Tree, wire({"name": "a"}), "type dict where"),
        (list[Any], b"\x01" + b"\x91" * 100_000, "recursion"),
        (Any, b"\x01" + b"\x91" * 100_000, "recursion"),
        (Any, b"\x01" + (b"\x92" + b"\xd4\x00t") * 330 + b"\xc0", "recursion"),
        (Any, b"\x01\xdd\xff\xff\xff\xff", "truncated"),
        (list[int], b"\x01\xdd\xff\xff\xff\xff\x01", ""),
        (dict[str, str], b"\x01\xdf\xff\xff\xff\xff\x01", ""),
        (str, b"\x01\xdb\xff\xff\xff\xffx", "truncated"),
        (int, b"\x01\xc9\xff\xff\xff\xff\x01x", "truncated"),
        (str, b"\x01\xa1\xff", "utf-8"),
    ],
)
def test_the_decode_error_for_invalid_bytes_names_the_reason(declared: Any, data: bytes, words: str) -> None:
    with pytest.raises(DecodeError, match=f"(?is)channel 'x' cannot be read: .*{words}"):
        codec(declared).decode(data)


def test_an_exception_of_a_class_on_damaged_fields_becomes_a_decode_error() -> None:
    class Fussy(msgspec.Struct):
        name: str

        def __post_init__(self) -> None:
            if self.name != "good":
                raise LookupError(self.name)

    with pytest.raises(DecodeError, match="bad"):
        Codec([("Fussy", Fussy)]).of(Fussy, where="channel 'x'").decode(instance("Fussy", {"name": "bad"}))


def test_a_struct_whose_post_init_changes_a_field_is_refused() -> None:
    class Doubling(msgspec.Struct):
        count: int

        def __post_init__(self) -> None:
            self.count *= 2

    with pytest.raises(DecodeError, match="__post_init__ changed the field 'count'"):
        Codec([("Doubling", Doubling)]).of(Doubling, where="channel 'x'").decode(instance("Doubling", {"count": 2}))


def test_an_instance_of_another_registered_class_is_refused() -> None:
    @dataclasses.dataclass
    class Other:
        role: str

    made = Codec([Other]).of(Message, where="channel 'x'")
    with pytest.raises(DecodeError, match=r"tag '.*Other' where Message"):
        made.decode(wire([Ext(0, b"o"), Other.__qualname__, {"role": "x"}]))


WATCHED = """
import json, random, sys
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo
from durable_graph.codec import Codec
from durable_graph.errors import DecodeError, UnstorableValueError
from tests.codec.samples import CLASSES, Color, Message, Point, Profile, Tick, Tree
made = Codec(CLASSES).of(Any, where="x")
values = [
    {"a": [1, (2, "x"), {3}, Decimal("1.5"), 2**70]}, Message("user", "hi"), Tree("a", Tree("b")),
    Color.RED, Point(1), Profile(name="x"), Tick(3), [datetime(2024, 1, 1, tzinfo=ZoneInfo("Asia/Tokyo"))],
]
stored = [made.encode(value) for value in values]
assert [made.decode(data) for data in stored] == values
seen = []
WATCH = ("import", "exec", "open", "compile", "os.", "subprocess.", "socket.", "ctypes.", "pickle.", "marshal.")
armed = False
def hook(event, arguments):
    if armed and event.startswith(WATCH):
        seen.append([event, repr(arguments)[:200]])
sys.addaudithook(hook)
draw = random.Random(7)
names = [b"os.system", b"builtins.eval", b"tests.codec.samples.Color", b"../../etc/passwd", b"tzdata"]
hostile = [b"\\x01\\x93\\xd4\\x00o" + bytes([0xA0 + len(name)]) + name + b"\\xc0" for name in names]
zones = (b"Asia/Tokyx", b"../../../x", b"tzdata.zon")
hostile += [stored[-1].replace(b"Asia/Tokyo", zone) for zone in zones]
for _ in range(8000):
    data = bytearray(draw.choice(stored))
    for _ in range(draw.randint(1, 4)):
        data[draw.randrange(len(data))] = draw.randrange(256)
    hostile.append(bytes(data))
hostile += [b"\\x01" + draw.randbytes(draw.randint(0, 40)) for _ in range(8000)]
failed = 0
before = set(sys.modules)
armed = True
for data in hostile:
    try:
        made.decode(data)
    except DecodeError:
        failed += 1
armed = False
print(json.dumps({"seen": seen, "failed": failed, "imported": sorted(set(sys.modules) - before)}))
"""


def test_decoding_hostile_bytes_imports_opens_and_runs_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", WATCHED], capture_output=True, text=True, check=True, timeout=60)
    report = json.loads(done.stdout)
    assert report["seen"] == []
    assert report["imported"] == []
    assert report["failed"] > 8000


def test_a_small_input_with_a_huge_declared_size_takes_little_memory() -> None:
    tracemalloc.start()
    try:
        for made in CODECS:
            for head in (b"\xdd", b"\xdf", b"\xdb", b"\xc6", b"\xc9"):
                with pytest.raises(DecodeError):
                    made.decode(b"\x01" + head + b"\xff\xff\xff\xff" + b"\x01" * 8)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 4 * 1024 * 1024


@given(st.sampled_from(CODECS), st.lists(st.one_of(st.binary(max_size=20), anything.map(wire_of)), max_size=4))
@settings(max_examples=400, deadline=None)
def test_decode_all_and_decode_agree_on_arbitrary_bytes(made: TypeCodec, datas: list[bytes]) -> None:
    one_by_one: list[Any] | None = None
    with contextlib.suppress(DecodeError):
        one_by_one = [made.decode(data) for data in datas]

    if one_by_one is None:
        with pytest.raises(DecodeError):
            made.decode_all(datas)
    else:
        assert identical(made.decode_all(datas), one_by_one)


@pytest.mark.parametrize("kind", [list[dict[str, Any]], list[Any], list[str]])
def test_a_truncated_value_does_not_consume_bytes_of_the_next_value(kind: Any) -> None:
    cut, rest = b"\x01\x92\xa1a", b"\x01\xa1b"

    with pytest.raises(DecodeError):
        codec(kind).decode_all([cut, rest])


def peak_of(made: TypeCodec, data: bytes) -> int:
    """The peak of memory, in bytes, until `decode` has refused `data`."""
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError):
            made.decode(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


EMPTY_ARRAYS = b"\xdd" + (1_000_000).to_bytes(4, "big") + b"\x90" * 1_000_000


@pytest.mark.parametrize(
    "declared",
    [
        *(
            int,
            str,
            list[int],
            list[str | None],
            dict[str, int],
            set[int],
            tuple[int, ...],
            tuple[int, str],
            deque[str],
        ),
        *(Message, list[Message], Message | Tree | None, list[Message | Event], Color, Permission, Point, list[Color]),
        *(list[Decimal], dict[Color, int], OrderedDict[str, int], Literal["a"], int | Level, Sequence[int]),
    ],
)
def test_data_that_cannot_fit_the_type_is_refused_before_it_is_decoded(declared: Any) -> None:
    made = codec(declared)
    for body in (EMPTY_ARRAYS, b"\x93\xd4\x00o\xa7Message" + EMPTY_ARRAYS, b"\x81\xa4name" + EMPTY_ARRAYS):
        for head in (b"\x01", b"\x02abcd"):
            assert peak_of(made, head + body) < 1_000_000


def test_data_that_cannot_fit_a_field_is_refused_before_it_is_decoded() -> None:
    fields = encode({"role": "a", "content": "b", "tags": [], "seen": 0})
    hostile = fields.replace(encode("tags") + encode([]), encode("tags") + EMPTY_ARRAYS)
    for declared in (Message, list[Message]):
        body = b"\x93\xd4\x00o\xa7Message" + hostile
        assert peak_of(codec(declared), b"\x01" + (body if declared is Message else b"\x91" + body)) < 1_000_000


COLLIDING = [n * (2**61 - 1) for n in range(1, 5_001)]


@pytest.mark.parametrize("declared", [set[int], frozenset[int], dict[int, None], Any, Counter[int]])
def test_many_keys_with_the_same_hash_are_refused_without_comparing_them(declared: Any) -> None:
    mark, is_set = {set[int]: (b"s", True), frozenset[int]: (b"f", True), Counter[int]: (b"C", False)}.get(
        declared, (b"m", False)
    )
    keys = [Ext(1, key.to_bytes(16, "big")) for key in COLLIDING]
    items = keys if is_set else [part for key in keys for part in (key, 1 if mark == b"C" else None)]
    began = time.process_time()
    with pytest.raises(DecodeError, match=r"5000 .* of one hash"):
        codec(declared).decode(wire([Ext(0, mark), *items]))
    assert time.process_time() - began < 1


def test_a_set_or_dict_that_decode_would_refuse_is_refused_by_encode() -> None:
    for value in (set(COLLIDING[:1_500]), dict.fromkeys(COLLIDING[:1_500])):
        with pytest.raises(
            UnstorableValueError, match=r"1500 of its (items|keys) have the same hash, and the limit is 1000"
        ):
            codec(Any).encode(value)
    assert codec(Any).decode(codec(Any).encode(set(COLLIDING[:900]))) == set(COLLIDING[:900])


@pytest.mark.parametrize(
    ("value", "stored", "words"),
    [
        (1 << 200_000, Ext(1, b"\x01" + bytes(25_000)), "25001 bytes"),
        (Decimal("1" * 20_000), Ext(4, b"1" * 20_000), "20000 digits|no Decimal"),
    ],
    ids=["int", "Decimal"],
)
def test_numbers_of_tens_of_thousands_of_digits_are_refused(value: Any, stored: Ext, words: str) -> None:
    with pytest.raises(UnstorableValueError, match=words):
        codec(Any).encode([value])
    with pytest.raises(DecodeError, match=words):
        codec(Any).decode(wire([stored]))


def test_a_decode_error_shows_only_a_part_of_the_data() -> None:
    for declared in (int, Message, Any, Color):
        for data in (instance("x" * 100_000, None), instance("Color", "x" * 100_000), wire({"x" * 100_000: 1})):
            if (declared, data) == (Any, wire({"x" * 100_000: 1})):
                continue
            with pytest.raises(DecodeError) as refused:
                codec(declared).decode(data)
            assert len(str(refused.value)) <= 400
