"""Exceptions as data, so that a process can raise what another one has caught. The data names a class, and no code."""

import sys
from typing import Any

import msgspec

from durable_graph.codec import TypeCodec


class ExceptionData(msgspec.Struct, frozen=True, array_like=True):
    """The class of an exception, its encoded arguments and attributes, and whether its class is called with them.

    Most classes are called, as unpickling does. A class whose constructor makes its own message of other arguments is
    not called: its instance gets `args` and the attributes as they were.
    """

    module: str
    name: str
    parts: bytes
    is_called: bool


def taken_apart(error: Exception, codec: TypeCodec) -> ExceptionData | None:
    """The data from which `rebuilt` makes an exception of the same class and text; None if it cannot."""
    cls = type(error)
    for is_called in (True, False):
        try:
            parts = _parts_of(error, is_called=is_called)
            if parts is None:
                continue
            data = ExceptionData(cls.__module__, cls.__qualname__, codec.encode(parts), is_called)
            again = rebuilt(data, codec)
            if type(again) is cls and str(again) == str(error):
                return data
        except Exception:  # noqa: S112  # the codec refuses the parts, or the class's own methods raise anything
            continue
    return None


def _parts_of(error: Exception, *, is_called: bool) -> list[object] | None:
    """The arguments and the attributes."""
    if not is_called:
        return [list(error.args), dict(vars(error))]
    reduced = error.__reduce__()
    if not isinstance(reduced, tuple) or reduced[0] is not type(error):
        return None
    attributes = reduced[2] if len(reduced) > 2 else None
    return [list(reduced[1]), dict(attributes or {})]


def rebuilt(data: ExceptionData, codec: TypeCodec) -> Exception | None:
    """The exception; None if this process has not imported its class. Raises what the class's own methods raise."""
    cls: Any = sys.modules.get(data.module)
    for part in data.name.split("."):
        cls = getattr(cls, part, None)
    if not isinstance(cls, type) or not issubclass(cls, Exception):
        return None
    args, attributes = codec.decode(data.parts)
    error = cls(*args) if data.is_called else cls.__new__(cls, *args)
    if not data.is_called:
        error.args = tuple(args)
    vars(error).update(attributes)
    return error
