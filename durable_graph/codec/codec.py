"""The codec that a graph is compiled with, and the one of each declared type."""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import MsgspecError
from msgspec.msgpack import Decoder

from durable_graph.codec.compiler import Compiler
from durable_graph.codec.plan import EVERYTHING, SHORTCUTS, Plan, Refusal, TooDeep
from durable_graph.codec.registry import UnstorableType
from durable_graph.codec.wire import MAX_DEPTH, VERSION, pack, read, read_body
from durable_graph.errors import DecodeError, UnstorableTypeError, UnstorableValueError

_VERSIONS = set(VERSION)


class Codec:
    """What all types of one graph have in common: the classes that values of open types (`Any`, `object`) may have.

    These are the classes given here, stored under their tag (their `__qualname__` unless given as `(tag, class)`),
    and every class that a type given to `of` mentions. So `of` is called for all types before any value is encoded or
    decoded. A class given under several tags is written with the first and read with all: that is how to rename one.

    Raises `UnstorableTypeError` for a class that cannot be stored, and where two classes have one tag.
    """

    def __init__(self, types: Iterable[type | tuple[str, type]] = ()) -> None:
        self._compiler = Compiler()
        pairs = [entry if isinstance(entry, tuple) else (None, entry) for entry in types]
        for tag, cls in pairs:
            try:
                self._compiler.register(cls, tag)
            except UnstorableType as error:
                raise _public(error, "types") from error
        for _, cls in pairs:
            self.of(cls, where="types")

    def of(self, declared: Any, *, where: str) -> "TypeCodec":
        """How values of the type become bytes; `where` says in errors whose they are, like `channel 'messages'`.

        Raises `UnstorableTypeError` for a type whose values can never be stored, naming it.
        """
        try:
            plan = self._compiler.plan(declared)
        except UnstorableType as error:
            raise _public(error, where) from error
        except RecursionError as error:
            why = "it contains itself with larger arguments each time, or nests too deeply"
            raise _public(UnstorableType(declared, why, "declare Any for the inner one"), where) from error
        return TypeCodec(declared, where, plan)


class TypeCodec:
    """Values of one declared type, to bytes and back. Made by `Codec.of`; may be used from several threads at once.

    `decode(encode(value))` is equal to `value` and of the same types throughout, in the same order where there is
    one, or `encode` refuses. Not kept is that two places held one and the same object. Equal values have equal bytes
    in every process, where equal means: also of equal types and order (`1` and `True` are not, nor `0.0` and `-0.0`).
    """

    __slots__ = ("_native", "_native_if_flat", "_plan", "declared", "where")

    def __init__(self, declared: Any, where: str, plan: Plan) -> None:
        self.declared: Any = declared
        self.where: str = where
        self._plan = plan
        self._native: Decoder[Any] | None = Decoder(plan.native) if plan.native is not None else None
        self._native_if_flat: Decoder[Any] | None = (
            Decoder(plan.native_if_flat) if plan.native_if_flat is not None else None
        )

    def encode(self, value: Any) -> bytes:
        """The bytes of a value. Raises `UnstorableValueError`, with the path to the part that would not come back."""
        try:
            try:
                return VERSION + pack(self._plan.lower(value, MAX_DEPTH, SHORTCUTS))
            except (OverflowError, UnicodeEncodeError):
                # An int of more than 64 bits or a lone surrogate in a plain part: these become extensions.
                return VERSION + pack(self._plan.lower(value, MAX_DEPTH, EVERYTHING))
        except Refusal as refusal:
            raise self._refused(refusal) from None
        except RecursionError:
            raise self._refused(TooDeep(value)) from None

    def decode(self, data: bytes) -> Any:
        """The value of bytes that `encode` made. Raises `DecodeError`, and nothing else, whatever the bytes are."""
        try:
            return self._read(data)
        except Exception as error:
            # The bytes may be anything, and so may what the user's classes do with their parts.
            raise DecodeError(self.where, f"{error}" or type(error).__name__) from error

    def decode_all(self, datas: Sequence[bytes]) -> list[Any]:
        """The values of many, as `decode` gives them, looked at together where that is faster.

        Raises `DecodeError` for the first that cannot be read.
        """
        if len(datas) > 1 and all(datas) and {data[0] for data in datas} == _VERSIONS:
            bodies = [data[1:] for data in datas]
            for read_all in (self._read_native, self._read_plain):
                try:
                    values = read_all(bodies)
                except (MsgspecError, UnicodeDecodeError, RecursionError):
                    # Perhaps damaged, perhaps values that this way does not know: another one, or one by one.
                    continue
                if values is not None:
                    return values
        return [self.decode(data) for data in datas]

    def _read_native(self, bodies: list[bytes]) -> list[Any] | None:
        native = self._native or self._native_if_flat
        return None if native is None else list(map(native.decode, bodies))

    def _read_plain(self, bodies: list[bytes]) -> list[Any] | None:
        # What the type's own decoder refuses is not plain either.
        if not self._plan.plain or self._native is not None:
            return None
        wires = list(map(read_body, bodies))
        return wires if self._plan.is_plain(wires, MAX_DEPTH) else None

    def _read(self, data: bytes) -> Any:
        if self._native is not None and data[:1] == VERSION:
            try:
                return self._native.decode(memoryview(data)[1:])
            except (MsgspecError, UnicodeDecodeError, RecursionError):
                # Perhaps damaged, perhaps an extension that msgspec does not know for this type.
                pass
        return self._plan.restore(read(data), SHORTCUTS)

    def _refused(self, refusal: Refusal) -> UnstorableValueError:
        path, type_name, why, remedy = refusal.path, refusal.type_name, refusal.why, refusal.remedy
        if isinstance(refusal, TooDeep):
            cycle = refusal.cycle()
            if cycle is not None:
                path, type_name = cycle[0], type(cycle[1]).__qualname__
                why, remedy = "it holds itself", "store the parts and put them together again in the node"
            elif len(path) > 60:
                # The path to something so deep says less than where it begins.
                path = path[:60] + "..."
        return UnstorableValueError(channel=self.where, path=path, type_name=type_name, why=why, remedy=remedy)


def _public(error: UnstorableType, where: str) -> UnstorableTypeError:
    fields = "".join(f" ({field})" for field in reversed(error.fields))
    return UnstorableTypeError(error.declared, where=where + fields, why=error.why, remedy=error.remedy)
