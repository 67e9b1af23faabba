"""A digest of any value: equal values give equal digests in every process, whatever order a set or a dict is in.

A resumed run matches calls and interrupts by it. Values are digested by their structure, also values that the codec
cannot store: containers, the fields of records, buffers. A part whose content cannot be read (a connection, an object
of a plain class) is digested by its class alone, and is reported as opaque.
"""

import dataclasses
import functools
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from hashlib import blake2b
from types import BuiltinFunctionType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any, Final

import msgspec

from durable_graph.codec.records import left_by_python
from durable_graph.errors import UnstorableValueError

SIZE: Final = 16
_SHORT: Final = 64
_FLOAT = struct.Struct(">d").pack
_LENGTH = struct.Struct(">Q").pack
_PLAIN: Final = frozenset({type(None), bool, int, float, str})
_BARE: Final = _PLAIN | {bytes, bytearray, list, tuple, dict, set, frozenset}
_pack = msgspec.msgpack.Encoder().encode

Encode = Callable[[Any], bytes]


class Digested(msgspec.Struct, frozen=True):
    """A digest of 16 bytes. `opaque` are the parts that are digested by their class alone."""

    digest: bytes
    opaque: tuple[object, ...] = ()

    def differs_unseen(self, other: "Digested") -> bool:
        """Whether two values with the same digest may differ: in an opaque part that is not the same object."""
        pairs = zip(self.opaque, other.opaque, strict=False)
        return len(self.opaque) != len(other.opaque) or any(mine is not theirs for mine, theirs in pairs)


def digest_of(encode: Encode, *values: Any) -> Digested:
    """The digest of some values, in this order. `encode` encodes values of types that only the codec knows."""
    walk = _Walk(encode)
    try:
        tokens = [walk.token(value) for value in values]
    except RecursionError:
        # Values nested too deep to be walked count as opaque.
        return Digested(_hashed(b"deep", [type(value).__qualname__.encode() for value in values]), values)
    return Digested(_hashed(b"values", tokens), tuple(walk.opaque))


def bound_parts(action: Callable[..., Any]) -> Any:
    """The arguments that are bound to a function: the object of a bound method, the arguments of a partial."""
    if isinstance(action, functools.partial):
        return [list(action.args), dict(action.keywords), bound_parts(action.func)]
    if isinstance(action, FunctionType | type):
        return None
    owner = getattr(action, "__self__", None if isinstance(action, MethodType | BuiltinFunctionType) else action)
    return None if isinstance(owner, ModuleType) else owner


class _Walk:
    """One pass over a value. A token is a short byte string that represents a part of it."""

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._path: set[int] = set()
        self.opaque: list[object] = []

    def token(self, value: Any) -> bytes:
        plain = _plain(value)
        if plain is not None and (type(value) in _BARE or isinstance(value, Enum)):
            return plain
        if id(value) in self._path:
            return b"cycle"
        self._path.add(id(value))
        try:
            token = plain or self._container(value) or self._record(value) or _buffer(value)
            if token is not None:
                extra = {} if type(value) in _BARE else _extra_attributes(value)
                return _hashed(b"beside", [token, *self._named(extra)]) if extra else token
            token = self._code(value) or self._encoded(value)
            if token is not None:
                return token
        finally:
            self._path.discard(id(value))
        self.opaque.append(value)
        return b"opaque:" + _name(value)

    def _named(self, attributes: Mapping[str, Any]) -> list[bytes]:
        return [_hashed(b"field", [name.encode(), self.token(part)]) for name, part in sorted(attributes.items())]

    def _container(self, value: Any) -> bytes | None:
        if isinstance(value, list | tuple):
            kind = b"list" if isinstance(value, list) else b"tuple"
            return self._tagged(kind, value, (list, tuple), self._items(value))
        if isinstance(value, set | frozenset):
            return self._tagged(b"set", value, (set, frozenset), self._unordered(value))
        if isinstance(value, dict | MappingProxyType):
            pairs = [[self.token(key), self.token(part)] for key, part in value.items()]
            return self._tagged(b"dict", value, (dict,), [_hashed(b"pair", pair) for pair in sorted(pairs)])
        return None

    def _items(self, values: "list[Any] | tuple[Any, ...]") -> list[bytes]:
        # Numbers and texts are packed in one call. If msgpack cannot pack one of them, each gets its own token.
        if len(values) > 1 and _PLAIN.issuperset(map(type, values)) and not _has_nan(values):
            try:
                return [b"packed", _pack(list(values))]
            except (OverflowError, UnicodeEncodeError):
                pass
        return [self.token(value) for value in values]

    def _unordered(self, values: Iterable[Any]) -> list[bytes]:
        first = len(self.opaque)
        tokens = sorted(self.token(value) for value in values)
        # The opaque parts of a set are ordered by their class, so that their order does not depend on the hash seed.
        self.opaque[first:] = sorted(self.opaque[first:], key=_name)
        return tokens

    def _tagged(self, kind: bytes, value: Any, exact: tuple[type, ...], parts: Iterable[bytes]) -> bytes:
        own = b"" if type(value) in exact or isinstance(value, MappingProxyType) else _name(value)
        return _hashed(kind + b":" + own, parts)

    def _record(self, value: Any) -> bytes | None:
        if isinstance(value, type):
            return None
        names = _fields_of(value)
        if names is None:
            return None
        fields = {name: getattr(value, name) for name in names if hasattr(value, name)}
        return _hashed(b"record:" + _name(value), self._named(fields))

    def _code(self, value: Any) -> bytes | None:
        match value:
            case functools.partial():
                return _hashed(b"partial", [self.token(part) for part in (value.func, value.args, value.keywords)])
            case MethodType():
                return _hashed(b"method", [self.token(value.__func__), self.token(value.__self__)])
            case BuiltinFunctionType() if not isinstance(value.__self__, ModuleType | None):
                return _hashed(b"method", [value.__qualname__.encode(), self.token(value.__self__)])
            case type() | FunctionType() | BuiltinFunctionType():
                # A lambda or a local function may refer to any variables around it, so it is opaque.
                is_made = isinstance(value, FunctionType) and "<" in value.__qualname__
                return None if is_made else _leaf(b"code:", f"{value.__module__}.{value.__qualname__}".encode())
        return None

    def _encoded(self, value: Any) -> bytes | None:
        try:
            return _leaf(b"stored:" + _name(value) + b":", self._encode(value))
        except UnstorableValueError:
            return None


def _plain(value: Any) -> bytes | None:
    match value:
        case None:
            return b"none"
        case Enum():
            # A combination of flag bits without a name.
            name = repr(value.value) if value.name is None else value.name
            return _leaf(b"enum:", f"{type(value).__qualname__}.{name}".encode())
        case bool():
            return b"true" if value else b"false"
        case int():
            return _leaf(_kind(b"int", value, int), value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))
        case float():
            # All NaNs are equal here, whatever their bits.
            return _kind(b"float", value, float) + (b"nan" if value != value else _FLOAT(value))
        case str():
            return _leaf(_kind(b"str", value, str), value.encode("utf-8", "surrogatepass"))
        case bytes() | bytearray():
            return _leaf(b"bytes:" if isinstance(value, bytes) else b"bytearray:", value)
    return None


def _has_nan(values: Iterable[Any]) -> bool:
    return any(value != value for value in values)


def _kind(kind: bytes, value: Any, exact: type) -> bytes:
    return kind + b":" if type(value) is exact else kind + b":" + _name(value) + b":"


def _fields_of(value: Any) -> Iterable[str] | None:
    """The names of the fields that count for a record's equality, None for a value that is no record."""
    kind = type(value)
    if isinstance(value, msgspec.Struct):
        return value.__struct_fields__
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value) if field.compare]
    fields = getattr(kind, "__pydantic_fields__", None)
    if isinstance(fields, Mapping):
        extra = getattr(value, "__pydantic_extra__", None)
        return [*fields, *(extra if isinstance(extra, Mapping) else ())]
    attributes = getattr(kind, "__attrs_attrs__", None)
    if isinstance(attributes, tuple):
        return [each.name for each in attributes if each.eq]
    return None


def _extra_attributes(value: Any) -> Mapping[str, Any]:
    """The attributes of an instance that its content does not include: a unit on a subclass of an array, an attribute
    of a record that is not a field."""
    kind = type(value)
    attributes = dict(getattr(value, "__dict__", {}))
    attributes.update(getattr(value, "__pydantic_private__", None) or {})
    is_attrs = hasattr(kind, "__attrs_attrs__")
    for base in () if is_attrs else kind.__mro__:
        slots = base.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if not name.startswith("__") and hasattr(value, name):
                attributes[name] = getattr(value, name)
    known = {*left_by_python(kind), *_all_fields_of(kind), "_attrs_cached_hash"}
    return {name: part for name, part in attributes.items() if name not in known}


def _all_fields_of(kind: type) -> Iterable[str]:
    """The names of all fields of a record, including fields that do not count for equality."""
    fields: list[str] = list(getattr(kind, "__struct_fields__", ()))
    for table in ("__dataclass_fields__", "__pydantic_fields__"):
        fields += getattr(kind, table, ())
    return fields + [each.name for each in getattr(kind, "__attrs_attrs__", ())]


def _buffer(value: Any) -> bytes | None:
    """The token of an array of any library: by the buffer protocol, or by its array interface."""
    try:
        view = memoryview(value)
    except (TypeError, ValueError, BufferError):
        return _described_array(value)
    shape = repr((view.format, view.shape)).encode()
    return _hashed(b"buffer:" + _name(value), [shape, view.tobytes()])


def _described_array(value: Any) -> bytes | None:
    if not hasattr(type(value), "__array_interface__"):
        # The class is checked, not the object: an object may define `__getattr__` for any name, with side effects.
        return None
    described = value.__array_interface__
    copied = getattr(value, "tobytes", None)
    if not isinstance(described, Mapping) or copied is None:
        return None
    kind = str(described.get("typestr"))
    if "O" in kind or described.get("descr") != [("", kind)]:
        # The array has objects: its memory holds addresses, which mean nothing in another process.
        return None
    return _hashed(b"array:" + _name(value), [repr((kind, described.get("shape"))).encode(), copied()])


def _name(value: Any) -> bytes:
    return type(value).__qualname__.encode("utf-8", "surrogatepass")


def _leaf(kind: bytes, data: bytes | bytearray) -> bytes:
    return kind + bytes(data) if len(data) <= _SHORT else _hashed(kind, [data])


def _hashed(kind: bytes, parts: Iterable[bytes | bytearray]) -> bytes:
    hashed = blake2b(digest_size=SIZE, person=b"dg-content")
    for part in _prefixed(kind, parts):
        hashed.update(part)
    return hashed.digest()


def _prefixed(kind: bytes, parts: Iterable[bytes | bytearray]) -> Iterator[bytes | bytearray]:
    for part in (kind, *parts):
        yield _LENGTH(len(part))
        yield part
