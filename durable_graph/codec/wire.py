"""The stored bytes in the format versions 1 and 2.

The bytes are a version byte and a MessagePack value, the *wire form*; in version 2 the fingerprint of the declared type
is between them. The wire form alone determines the value: reading it as another declared type makes an equal value or
fails. None, bool, int of 64 bits, float, str, bytes, list and dict with keys of these types are stored unchanged. All
other values are extensions: user data never contains one, so no data is mistaken for an extension. A *leaf* is an
extension with its value as bytes. An *envelope* is an array that begins with the extension `MARK`, whose single byte
is the kind of the array.

The bits of a NaN are kept. UUIDs keep their 128 bits (not `is_safe`, which their equality ignores as well).
"""

from collections.abc import Callable, Iterator
from itertools import chain
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin

from msgspec import DecodeError
from msgspec.msgpack import Decoder, Encoder, Ext

VERSION: Final = b"\x01"
STAMPED: Final = b"\x02"
FINGERPRINT_SIZE: Final = 4

MAX_DEPTH: Final = 128
"""The maximum depth of values. Each level takes up to five Python frames, and CPython's limit is 1,000."""

# The extension codes of leaves, and of envelopes.
MARK: Final = 0
BIG_INT: Final = 1
LONE_SURROGATES: Final = 2
BYTEARRAY: Final = 3
DECIMAL: Final = 4
UUID_: Final = 5
DATE: Final = 6
TIME: Final = 7
DATETIME: Final = 8
TIMEDELTA: Final = 9
UNSET_: Final = 10
PATH: Final = 11

# The first elements of envelopes, and the elements after them.
TUPLE: Final = Ext(MARK, b"t")  # its items
SET: Final = Ext(MARK, b"s")  # its items, sorted by their bytes
FROZENSET: Final = Ext(MARK, b"f")  # its items, sorted by their bytes
DEQUE: Final = Ext(MARK, b"q")  # maxlen, its items
PAIRS: Final = Ext(MARK, b"m")  # key, value, key, value...: a dict with keys that MessagePack does not support
ORDERED_DICT: Final = Ext(MARK, b"O")  # key, value...
DEFAULT_DICT: Final = Ext(MARK, b"D")  # the name of the factory, key, value...
COUNTER: Final = Ext(MARK, b"C")  # key, value...
MODEL: Final = Ext(MARK, b"p")  # fields, names of set fields, extra fields, private attributes
TAGGED: Final = Ext(MARK, b"o")  # the tag of a class, the wire form of its shape

Key = type | int | bytes | str
"""The beginning of a wire form: a Python type, the code of a leaf, the byte of an envelope, the tag of a class."""

PLAIN_KEYS: Final = frozenset({str, int, float, bool, type(None), bytes})
"""The types of keys that are stored in a MessagePack map."""

_encoder = Encoder()
_decoder = Decoder()
pack: Callable[[Any], bytes] = _encoder.encode


def read(packed: memoryview | bytes) -> Any:
    """The wire form in these bytes. Raises msgspec's errors."""
    return _decoder.decode(packed)


def split(data: bytes) -> tuple[bytes | None, memoryview]:
    """The fingerprint, if there is one, and the wire form. Raises msgspec's `DecodeError` for an unknown version."""
    version = data[:1]
    if version == VERSION:
        return None, memoryview(data)[1:]
    start = 1 + FINGERPRINT_SIZE
    if version == STAMPED:
        return data[1:start], memoryview(data)[start:]
    found = f"format version {data[0]}" if data else "no bytes at all"
    message = f"found {found}; this release reads versions {VERSION[0]} and {STAMPED[0]}"
    raise DecodeError(message)


def joined(*types: Any) -> Any:
    """A type for msgspec that accepts the wire forms of all these types. Arrays are merged into one type, as are maps;
    str and bytes together become `Any`: msgspec supports no unions of these."""
    distinct = list(dict.fromkeys(chain.from_iterable(map(_members, types))))
    if Any in distinct or {str, bytes} <= set(distinct):
        return Any
    arrays = [each for each in distinct if get_origin(each) in (list, tuple)]
    maps = [each for each in distinct if get_origin(each) is dict]
    others = [each for each in distinct if each not in arrays and each not in maps]
    if len(maps) > 1:
        maps = [map_of(*(get_args(each)[1] for each in maps))]
    if len(arrays) > 1:
        arrays = [_joined_arrays(arrays)]
    return Union.__getitem__((*others, *maps, *arrays))


def _members(declared: Any) -> tuple[Any, ...]:
    return get_args(declared) if get_origin(declared) in (Union, UnionType) else (declared,)


def _joined_arrays(arrays: list[Any]) -> Any:
    parts = [get_args(each) for each in arrays]
    if all(get_origin(each) is tuple for each in arrays) and len(set(map(len, parts))) == 1:
        return fixed_array_of(*(joined(*column) for column in zip(*parts, strict=True)))
    return array_of(*chain.from_iterable(parts))


def array_of(*types: Any) -> Any:
    return list.__class_getitem__(joined(*types))


def fixed_array_of(*types: Any) -> Any:
    return tuple.__class_getitem__(types)


def map_of(*types: Any) -> Any:
    return dict.__class_getitem__((Any, joined(*types or (NoneType,))))


def mark_of(envelope: Ext) -> bytes:
    """The `key_of` of an envelope's wire forms."""
    return bytes(envelope.data)


def key_of(wire: Any) -> Key:
    kind = type(wire)
    # msgspec makes a tuple of an array if the type has a fixed length.
    if kind is list or kind is tuple:
        first = wire[0] if wire else None
        if type(first) is Ext and first.code == MARK:
            if first.data == b"o" and len(wire) == 3 and type(wire[1]) is str:
                return wire[1]
            return bytes(first.data)
        return list
    if kind is Ext:
        code: int = wire.code
        return code
    return kind


def items_of(lists: list[Any]) -> Iterator[Any]:
    """The items of these lists, one level down."""
    return chain.from_iterable(once(lists))


def values_of(dicts: list[Any]) -> Iterator[Any]:
    return chain.from_iterable(map(dict.values, once(dicts)))


def once(containers: list[Any]) -> list[Any]:
    # The number of items would double at each level of a list that contains itself twice. Removing duplicates pays off
    # only for many items.
    if sum(map(len, containers)) > 10_000:
        return list(dict(zip(map(id, containers), containers, strict=True)).values())
    return containers
