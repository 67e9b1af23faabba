"""Stored values without the classes of the graph: as the data that they are made of."""

from typing import Any

from msgspec import DecodeError as BytesError
from msgspec.msgpack import Ext

from durable_graph.codec import Codec
from durable_graph.codec.wire import MARK, TAGGED, VERSION, mark_of, pack, read, split
from durable_graph.errors import DecodeError

_BUILTINS = Codec().of(Any, where="a stored value")


def plain_value(data: bytes) -> Any:
    """What the bytes hold, as None, bools, numbers, texts, lists and dicts with texts as keys.

    An instance of a class is `{"$type": tag, "value": its data}`, any other container a list, any other scalar its
    text. No class of the user is looked up. Raises `DecodeError` for bytes that no release has written.
    """
    try:
        _, wire = split(data)
        return _plain(read(wire))
    except (BytesError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError("a stored value", str(error)) from error


def _plain(wire: Any) -> Any:
    match wire:
        case None | bool() | int() | float() | str():
            return wire
        case dict():
            return {key if isinstance(key, str) else repr(key): _plain(value) for key, value in wire.items()}
        case [Ext(code=code) as mark, *parts] if code == MARK:
            if mark_of(mark) == mark_of(TAGGED) and len(parts) == 2:
                return {"$type": parts[0], "value": _plain(parts[1])}
            return [_plain(part) for part in parts]
        case list():
            return [_plain(part) for part in wire]
        case Ext():
            return str(_BUILTINS.decode(VERSION + pack(wire)))
        case _:
            return str(wire)
