"""The codec of a graph, and the codec of each declared type."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from msgspec import MsgspecError
from msgspec.msgpack import Decoder

from durable_graph.codec.compiler import Compiler
from durable_graph.codec.fingerprints import Describer
from durable_graph.codec.lone import ReadAll, lone_reader
from durable_graph.codec.plain import plain
from durable_graph.codec.plan import CONVERTING, EVERYTHING, SHORTCUTS, Mismatch, Plan, Refusal, TooDeep
from durable_graph.codec.registry import FindStored, UnstorableType, Upcast
from durable_graph.codec.stored_type import StoredType
from durable_graph.codec.wire import MAX_DEPTH, STAMPED, VERSION, pack, read, split
from durable_graph.errors import DecodeError, GraphValidationError, UnstorableValueError
from durable_graph.errors.shown import shown
from durable_graph.errors.tree import bounded

Listed = type | tuple[str, type] | StoredType[Any]
"""A class that values of open types may have: alone, with its tag, or with a `StoredType`."""

_EXPLAINED = 1 << 16
"""Bytes. Up to this size, a value that does not fit the declared type is read again without it, for the error text."""


@dataclass(frozen=True, slots=True)
class Upcasts:
    """The upcasts of a declared type: `of_type` for values that were written as a declared type with this fingerprint,
    `otherwise` for all other values that the current type cannot read."""

    of_type: Mapping[bytes, Upcast] = field(default_factory=dict)
    otherwise: Upcast | None = None


class Codec:
    """The common part of a graph's codecs: the classes that values of open types (`Any`, `object`) may have.

    These are the listed classes, stored under their tag (their `__qualname__` unless listed as `(tag, class)`), and
    every class in a type passed to `of`. So `of` is called for all types before any value is encoded or decoded. A
    class listed under several tags is written with the first and read with all of them: this is how to rename a class.
    `upcasts` make instances of a class from stored fields that differ from its current fields. `find` looks up the
    `StoredType` of a class that cannot be stored otherwise.

    Raises `GraphValidationError` for a class that cannot be stored, and for two classes with the same tag.
    """

    def __init__(
        self,
        types: Iterable[Listed] = (),
        *,
        upcasts: Mapping[type, Upcast] | None = None,
        find: FindStored | None = None,
    ) -> None:
        self._compiler = Compiler(upcasts or {}, find)
        self._describer = Describer()
        self._find = find
        listed = list(types)
        self._stored = [entry for entry in listed if isinstance(entry, StoredType)]
        for entry in listed:
            tag, cls = entry if isinstance(entry, tuple) else (None, entry)
            try:
                if isinstance(cls, StoredType):
                    self._compiler.store(cls)
                else:
                    self._compiler.register(cls, tag)
            except UnstorableType as error:
                raise _public(error, "types") from error
        for entry in listed:
            if not isinstance(entry, StoredType):
                self.of(entry[1] if isinstance(entry, tuple) else entry, where="types")

    def of(
        self,
        declared: Any,
        *,
        where: str,
        is_stamped: bool = False,
        upcasts: "Upcast | Mapping[Any, Upcast] | None" = None,
    ) -> "TypeCodec":
        """The codec of a declared type; `where` names its values in errors, such as `channel 'messages'`.

        With `is_stamped`, the bytes begin with the fingerprint of the type. `upcasts` is a function for all values that
        the type cannot read, or functions by the declared types that values were written as.

        Raises `GraphValidationError`, which names the type, if its values can never be stored.
        """
        plan = self._plan(declared, where)
        fingerprint = self._describer.fingerprint(plan) if is_stamped else None
        return TypeCodec(declared, where, plan, fingerprint, self._upcasts(upcasts, where), self._compiler)

    def has(self, cls: type) -> bool:
        """Whether the class is listed, or mentioned in a declared type."""
        return self._compiler.registry.shape_of(cls) is not None

    def _plan(self, declared: Any, where: str) -> Plan:
        try:
            return self._compiler.plan(declared)
        except UnstorableType as error:
            raise _public(error, where) from error
        except RecursionError as error:
            why = "it contains itself with larger arguments each time, or nests too deeply"
            raise _public(UnstorableType(declared, why, "declare Any for the inner one"), where) from error

    def _upcasts(self, given: "Upcast | Mapping[Any, Upcast] | None", where: str) -> Upcasts:
        if not isinstance(given, Mapping):
            return Upcasts(otherwise=given)
        # A separate codec: current values may not have classes that only older declarations mention.
        older = Codec(self._stored, find=self._find)
        of_type: dict[bytes, Upcast] = {}
        for declared, upcast in given.items():
            fingerprint = older.fingerprint(declared, where)
            if fingerprint in of_type:
                raise _public(UnstorableType(declared, "two upcasts are for values of this type", "give one"), where)
            of_type[fingerprint] = upcast
        return Upcasts(of_type)

    def fingerprint(self, declared: Any, where: str) -> bytes:
        """The fingerprint of a type, four bytes. Raises `GraphValidationError`."""
        return self._describer.fingerprint(self._plan(declared, where))


class TypeCodec:
    """The codec of one declared type. Made by `Codec.of`; several threads may use it at once.

    `decode(encode(value))` is equal to `value`, with the same types and the same order in all parts, or `encode`
    raises an error. The same holds if the codec of another type decodes the bytes. Identity is not kept: one object in
    two places becomes two objects. Equal values have equal bytes in every process; equal values have equal types and
    order (`1` and `True` are not equal, nor `0.0` and `-0.0`).
    """

    __slots__ = (
        "_build_own",
        "_compiler",
        "_fingerprint",
        "_head",
        "_lone",
        "_looked_for_lone",
        "_native",
        "_native_if_flat",
        "_plan",
        "_typed",
        "_upcasts",
        "declared",
        "where",
    )

    def __init__(
        self,
        declared: Any,
        where: str,
        plan: Plan,
        fingerprint: bytes | None,
        upcasts: Upcasts,
        compiler: Compiler,
    ) -> None:
        self.declared: Any = declared
        self.where: str = where
        self._plan = plan
        self._fingerprint = fingerprint
        self._head = VERSION if fingerprint is None else STAMPED + fingerprint
        self._upcasts = upcasts
        self._compiler = compiler
        self._build_own = compiler.build_own
        self._native: Decoder[Any] | None = None
        self._native_if_flat: Decoder[Any] | None = None
        if fingerprint is not None or not _mentions_float(plan.native):
            # Bytes without a fingerprint may be of an int, which msgspec's decoder of floats would round.
            self._native = Decoder(plan.native) if plan.native is not None else None
            self._native_if_flat = Decoder(plan.native_if_flat) if plan.native_if_flat is not None else None
        self._typed: Decoder[Any] | None = None
        # Made at the first read of many values, because not all classes are registered before.
        self._lone: ReadAll | None = None
        self._looked_for_lone = False

    def listed(self) -> tuple[Listed, ...]:
        """The classes that values of open types may have, as `Codec` takes them."""
        return self._compiler.registry.listed()

    @property
    def upcasts_itself(self) -> bool:
        """Whether an upcast is for values of the declared type itself: such an upcast is never called."""
        return self._fingerprint in self._upcasts.of_type

    def encode(self, value: Any) -> bytes:
        """The bytes of a value. Raises `UnstorableValueError`, with the path to the part that cannot be restored."""
        return self.take(value)[1]

    def take(self, value: Any) -> tuple[Any, bytes]:
        """The value as it will be restored, and its bytes.

        The first is the given value itself, or a converted copy if a part of it is of another class than declared and
        converts without loss. Raises `UnstorableValueError`, with the path to the part that cannot be restored.
        """
        try:
            return value, self._encoded(value)
        except Refusal:
            return self._converted(value)
        except RecursionError:
            raise self._refused(TooDeep(value)) from None

    @property
    def direct(self) -> frozenset[type]:
        """The types all of whose values `convert` returns unchanged."""
        return self._plan.direct

    def convert(self, value: Any, *, is_open: bool = False) -> Any:
        """The value as `take` returns it, without its bytes. A value that could not be stored is returned unchanged.

        If the type is `Any`, only a call with `is_open` looks for instances whose fields are of other classes than
        declared: the walk through such values can take long.
        """
        if not (self._plan.converts or is_open) or type(value) in self._plan.direct:
            return value
        try:
            self._plan.lower(value, MAX_DEPTH, SHORTCUTS)
        except (Refusal, RecursionError):
            try:
                return self._converted(value)[0]
            except UnstorableValueError:
                pass
        return value

    def _encoded(self, value: Any) -> bytes:
        try:
            return self._head + pack(self._plan.lower(value, MAX_DEPTH, SHORTCUTS))
        except (OverflowError, UnicodeEncodeError):
            # A plain part has an int of more than 64 bits or a lone surrogate, which are stored as extensions.
            return self._head + pack(self._plan.lower(value, MAX_DEPTH, EVERYTHING))

    def _converted(self, value: Any) -> tuple[Any, bytes]:
        try:
            data = self._head + pack(self._plan.lower(value, MAX_DEPTH, CONVERTING))
            return self.decode(data), data
        except Refusal as refusal:
            raise self._refused(refusal) from None
        except RecursionError:
            raise self._refused(TooDeep(value)) from None
        except DecodeError as error:
            remedy = "return a value of the declared type"
            raise self._refused(Refusal(value, f"it cannot be converted: {bounded(str(error), 100)}", remedy)) from None

    def decode(self, data: bytes) -> Any:
        """The value of bytes from this codec, or from the codec of another type if the value is also of this type.

        Other values are passed to the upcasts. Raises `DecodeError`, and no other error for any bytes.
        """
        if self._native is not None and data.startswith(self._head):
            try:
                return self._native.decode(memoryview(data)[len(self._head) :])
            except (MsgspecError, UnicodeDecodeError, RecursionError):
                # The bytes are damaged, or have an extension that msgspec does not support for this type.
                pass
        try:
            fingerprint, packed = split(data)
            if fingerprint is not None and fingerprint != self._fingerprint:
                upcast = self._upcasts.of_type.get(fingerprint)
                if upcast is not None:
                    return self._upcasted(upcast, plain(read(packed), self._build_own))
            return self._read(packed)
        except DecodeError:
            raise
        except Exception as error:
            # Every error, because the bytes may be arbitrary, and classes of the user may raise anything.
            raise DecodeError(self.where, f"{error}" or type(error).__name__) from error

    def decode_all(self, datas: Sequence[bytes]) -> list[Any]:
        """As `decode` for many values, which are decoded together if that is faster.

        Raises `DecodeError` for the first value that cannot be read.
        """
        if len(datas) < 2:
            return [self.decode(data) for data in datas]
        if not self._looked_for_lone:
            self._lone, self._looked_for_lone = lone_reader(self._plan, self._head, self.decode), True
        if self._lone is not None:
            return self._lone(datas)
        head = self._head
        if all(data.startswith(head) for data in datas):
            bodies = [data[len(head) :] for data in datas]
            for read_all in (self._read_native, self._read_plain):
                try:
                    values = read_all(bodies)
                except (MsgspecError, UnicodeDecodeError, RecursionError):
                    # The bytes are damaged, or this method does not support the values: try the other, or one by one.
                    continue
                if values is not None:
                    return values
        return [self.decode(data) for data in datas]

    def _read_native(self, bodies: list[bytes]) -> list[Any] | None:
        native = self._native or self._native_if_flat
        return None if native is None else list(map(native.decode, bodies))

    def _read_plain(self, bodies: list[bytes]) -> list[Any] | None:
        # Values that the type's own decoder refuses are not plain.
        if not self._plan.plain or self._native is not None:
            return None
        wires = list(map(read, bodies))
        return wires if self._plan.is_plain(wires, MAX_DEPTH) else None

    def decode_plain(self, data: bytes) -> Any:
        """The argument of an upcast: the value without the classes of its parts. Raises `DecodeError`."""
        try:
            return plain(read(split(data)[1]), self._build_own)
        except Exception as error:
            raise DecodeError(self.where, f"{error}" or type(error).__name__) from error

    def upcast_of(self, data: bytes) -> Upcast | None:
        """The upcast for bytes that the current type cannot read, None if there is none."""
        return self._upcasts.of_type.get(_fingerprint_of(data), self._upcasts.otherwise)

    def upcasted(self, upcast: Upcast, older: Any) -> Any:
        """The upcast's result for a value without classes. Raises `DecodeError` if it is not of the current type."""
        try:
            return self._upcasted(upcast, older)
        except Mismatch as error:
            raise DecodeError(self.where, str(error)) from error

    def _read(self, packed: memoryview) -> Any:
        try:
            wire = self._wire(packed)
            try:
                return self._plan.restore(wire, SHORTCUTS)
            except Exception:
                if self._upcasts.otherwise is not None:
                    # The upcast takes precedence: it defines the meaning of an int as a float.
                    raise
                # The value may have been written as another type, such as an int for a channel that is a float now.
                return self._plan.restore(wire, CONVERTING)
        except Exception:
            if self._upcasts.otherwise is None:
                raise
        return self._upcasted(self._upcasts.otherwise, plain(read(packed), self._build_own))

    def _wire(self, packed: memoryview) -> Any:
        # Typed, so that bytes of another type are refused at the first wrong byte: the objects of a row of empty arrays
        # take seventy times its size.
        if self._typed is None:
            self._typed = _decoder_of(self._plan)
        try:
            return self._typed.decode(packed)
        except MsgspecError:
            if len(packed) > _EXPLAINED:
                raise
            return read(packed)

    def _upcasted(self, upcast: Upcast, older: Any) -> Any:
        try:
            value = upcast(older)
        except Exception as error:
            message = f"its upcast raised {shown(error)}"
            raise Mismatch(message) from error
        try:
            data = self.encode(value)
        except UnstorableValueError as error:
            message = f"what its upcast returned{error.path} is {error.type_name}: {error.why}"
            raise Mismatch(message) from error
        return self._plan.restore(read(split(data)[1]), SHORTCUTS)

    def _refused(self, refusal: Refusal) -> UnstorableValueError:
        path, type_name, why, remedy = refusal.path, refusal.type_name, refusal.why, refusal.remedy
        if isinstance(refusal, TooDeep):
            cycle = refusal.cycle()
            if cycle is not None:
                path, type_name = cycle[0], type(cycle[1]).__qualname__
                why, remedy = "it contains itself", "store the parts, and combine them in the node"
            elif len(path) > 60:
                # Of a very long path, the beginning is the useful part.
                path = path[:60] + "..."
        return UnstorableValueError(channel=self.where, path=path, type_name=type_name, why=why, remedy=remedy)


def _mentions_float(hint: Any) -> bool:
    return hint is float or any(map(_mentions_float, get_args(hint)))


def _fingerprint_of(data: bytes) -> bytes:
    return split(data)[0] or b""


_TYPED_LEVELS = 5
"""The number of levels of nested types that msgspec checks. A recursive type has any number of levels."""


def _decoder_of(plan: Plan) -> "Decoder[Any]":
    known: dict[tuple[int, int], Any] = {}

    def wire_type(inner: Plan, levels: int) -> Any:
        if not levels:
            return Any
        key = id(inner), levels
        if key not in known:
            known[key] = inner.wire_type(lambda part: wire_type(part, levels - 1))
        return known[key]

    return Decoder(wire_type(plan, _TYPED_LEVELS))


def _public(error: UnstorableType, where: str) -> GraphValidationError:
    fields = "".join(f" ({field})" for field in reversed(error.fields))
    return GraphValidationError.of_type(error.declared, where=where + fields, why=error.why, remedy=error.remedy)
