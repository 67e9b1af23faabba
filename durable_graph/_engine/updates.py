"""An update of a running graph as its message has it: writes and routes, checked and encoded when it was sent."""

from collections.abc import Iterable
from typing import Any

import msgspec

from durable_graph._engine.header import (
    DelayedRoute,
    RecordedRoute,
    RecordedWrite,
    decode_routes,
    decode_writes,
    encode_routes,
    encode_writes,
)
from durable_graph._engine.task import Route, Write
from durable_graph.errors import DecodeError, GraphChangedError
from durable_graph.graph import Topology


class Update(msgspec.Struct, frozen=True):
    """The writes of an update, and the nodes to run next. The `due` of a route is counted from the time at which the
    update is applied, in microseconds (0: at once)."""

    writes: tuple[Write, ...]
    routes: tuple[Route, ...]


class _Stored(msgspec.Struct, frozen=True, array_like=True, gc=False):
    writes: tuple[RecordedWrite, ...]
    routes: tuple[RecordedRoute, ...]


class _Read(_Stored, frozen=True, array_like=True, gc=False):
    routes: tuple[DelayedRoute, ...]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Read)
_WHAT = "an update"


def encode_update(update: Update) -> bytes:
    """The value of the message."""
    return _encoder.encode(_Stored(encode_writes(update.writes), encode_routes(update.routes)))


def decode_update(topology: Topology, data: bytes, *, thread: str, key: str) -> Update:
    """The update of a message. Raises `GraphChangedError` if this graph cannot read it."""
    try:
        read: Any = _decoder.decode(data)
        return Update(decode_writes(topology, read.writes), decode_routes(topology, read.routes))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, DecodeError) as error:
        raise GraphChangedError.of_update(thread, key, why=str(error)) from error


def due_from(routes: Iterable[Route], now: int) -> tuple[Route, ...]:
    """The routes with due times in microseconds since 1970."""
    return tuple(msgspec.structs.replace(route, due=route.due + now) if route.due else route for route in routes)
