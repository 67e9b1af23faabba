"""The executor's side of a call: what runs in another process, or in a thread of a pool.

Arguments and results are bytes of the codec, and the reply is bytes as well, so that no value of the user can break the
executor on its way. Nothing here is called in the event loop of a run.
"""

import contextvars
import importlib
import inspect
import pickle
import sys
import traceback
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Literal

import msgspec

from durable_graph.channels import Overwrite
from durable_graph.channels.libraries import LANGCHAIN, installed_library
from durable_graph.codec import Codec, Listed, StoredType, TypeCodec
from durable_graph.errors import DecodeError, UnstorableValueError
from durable_graph.errors.shown import LONGEST
from durable_graph.graph import Command, Send
from durable_graph.graph.control import Unset
from durable_graph.graph.policies import TimeoutPolicy

_OWN: tuple[tuple[str, type], ...] = (
    ("durable_graph.Command", Command),
    ("durable_graph.Overwrite", Overwrite),
    ("durable_graph.Send", Send),
    ("durable_graph.TimeoutPolicy", TimeoutPolicy),
    ("durable_graph.Unset", Unset),
)
"""Classes of results that are never stored as such: the run applies them."""

_OWN_CLASSES = frozenset(cls for _, cls in _OWN)


class PackedTypes(msgspec.Struct, frozen=True):
    """The classes that values may have, each pickled: a class by its name, a `StoredType` by those of its functions.

    `has_messages`: values may also be LangChain's messages, whose types are in its library.
    """

    packed: tuple[bytes, ...]
    has_messages: bool


class FunctionReference(msgspec.Struct, frozen=True):
    """A function by its module and its name there. A decorator may have replaced it, which `__wrapped__` shows."""

    module: str
    name: str

    def found(self) -> Callable[..., Any]:
        """The function. Raises `ImportError`, `AttributeError`, and what its module raises."""
        found: Any = importlib.import_module(self.module)
        for part in self.name.split("."):
            found = getattr(found, part)
        function: Callable[..., Any] = inspect.unwrap(found)
        return function


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """What became of a call.

    `kind` is "returned", with the encoded result; "raised", with the pickled exception, empty if it cannot be rebuilt;
    "exited", with the exit code; "missing" if the function, or the class of an argument, cannot be
    imported; "unstorable" if the result cannot be stored, with its path, class, reason and remedy in `facts`.
    """

    kind: Literal["returned", "raised", "exited", "missing", "unstorable"]
    value: bytes = b""
    type_name: str = ""
    message: str = ""
    traceback: str = ""
    facts: tuple[str, ...] = ()
    code: int | str | None = None


_replies = msgspec.msgpack.Decoder(Reply)
_encoder = msgspec.msgpack.Encoder()


def read_reply(data: bytes) -> Reply:
    """The reply of a call."""
    return _replies.decode(data)


def crossing_codec(listed: Iterable[Listed]) -> TypeCodec:
    """The codec of arguments and results: values of any of the listed classes."""
    # Graphs with messages store a Command or an Overwrite that is a part of one.
    others = (entry for entry in listed if class_of(entry) not in _OWN_CLASSES)
    return Codec((*others, *_OWN)).of(Any, where="the value")


def class_of(entry: Listed) -> type:
    """The class of an entry."""
    if isinstance(entry, StoredType):
        return entry.cls
    return entry[1] if isinstance(entry, tuple) else entry


def packed_types(listed: Iterable[Listed]) -> PackedTypes:
    """The classes that another process can import. Arguments of the others are refused there, and only these."""
    packed, has_messages = [], False
    for entry in listed:
        if class_of(entry) in _OWN_CLASSES:
            continue
        if isinstance(entry, StoredType) and entry.cls.__module__.partition(".")[0] == LANGCHAIN:
            library = installed_library()
            if library is not None and entry in library.types:
                has_messages = True
                continue
        try:
            packed.append(pickle.dumps(entry))
        except Exception:  # noqa: S112  # pickle raises several, and whatever a class's own methods raise
            continue
    return PackedTypes(tuple(packed), has_messages)


def _codec_of(types: PackedTypes, *, loads: bool = False) -> TypeCodec:
    """The codec, with the types of messages if this process has imported them, or if it `loads` them."""
    is_imported = loads or any(f"{LANGCHAIN}.{each}" in sys.modules for each in ("messages", "documents"))
    return _made_codec(types, types.has_messages and is_imported)


@lru_cache(maxsize=64)
def _made_codec(types: PackedTypes, has_messages: bool) -> TypeCodec:  # a part of the cache's key
    library = installed_library() if has_messages else None
    return crossing_codec((*_unpacked(types.packed), *(() if library is None else library.types)))


def _unpacked(packed: Iterable[bytes]) -> list[Listed]:
    listed: list[Listed] = []
    for each in packed:
        try:
            listed.append(pickle.loads(each))  # noqa: S301  # written by the process that makes the call
        except Exception:  # noqa: S112  # the class is unknown here, and an argument of it is refused
            continue
    return listed


def _decoded(types: PackedTypes, arguments: bytes) -> tuple[list[Any], dict[str, Any]]:
    """The arguments. Raises `DecodeError`."""
    args: list[Any]
    kwargs: dict[str, Any]
    try:
        args, kwargs = _codec_of(types).decode(arguments)
    except DecodeError:
        if not types.has_messages:
            raise
        # It takes a second to import LangChain, which most functions do not need.
        args, kwargs = _codec_of(types, loads=True).decode(arguments)
    return args, kwargs


def run_call(
    function: "FunctionReference | Callable[..., Any]", types: PackedTypes, arguments: bytes, call_id: str
) -> bytes:
    """Call the function, and return the encoded `Reply`.

    `call_id` differs from call to call: some executors take equal calls for one, and would repeat a failure.
    """
    return _encoder.encode(_reply(function, types, arguments))


def _reply(function: "FunctionReference | Callable[..., Any]", types: PackedTypes, arguments: bytes) -> Reply:
    try:
        code = function.found() if isinstance(function, FunctionReference) else inspect.unwrap(function)
        args, kwargs = _decoded(types, arguments)
    except DecodeError as error:
        # What follows is a remedy for stored values.
        why = error.why.partition(";")[0]
        return Reply("missing", message=f"an argument cannot be read in the executor's process: {why}")
    except Exception as error:
        return Reply("missing", message=f"the executor's process raised {type(error).__name__}: {_text(error)}")
    try:
        # Empty, because a thread or a forked process would see the context of the run: it is outside of it.
        result = contextvars.Context().run(code, *args, **kwargs)
    except SystemExit as error:
        return Reply("exited", code=error.code if isinstance(error.code, int | None) else _safe(str(error.code)))
    except Exception as error:
        return _raised(error)
    try:
        return Reply("returned", _codec_of(types).encode(result))
    except UnstorableValueError as error:
        return Reply("unstorable", facts=(error.path, error.type_name, error.why, error.remedy))


def _raised(error: Exception) -> Reply:
    cls = type(error)
    return Reply(
        "raised",
        _pickled(error) or b"",
        type_name=f"{cls.__module__}.{cls.__qualname__}",
        message=_text(error),
        traceback=_safe("".join(traceback.format_exception(error))),
    )


def _text(error: BaseException) -> str:
    try:
        return _safe(str(error))
    except Exception as broken:  # the class may override the method, and the error itself matters more
        return f"its text cannot be made ({type(broken).__name__})"


def _safe(text: str) -> str:
    """The text for any encoding; the end of a long one, because that of a traceback says most."""
    return text[-LONGEST:].encode("utf-8", "backslashreplace").decode("utf-8")


# Exceptions


def _pickled(error: Exception) -> bytes | None:
    """The exception in a form that rebuilds its class and its text, None if there is none.

    The plain form calls the class with `args`, which fails for, or changes, exceptions whose constructor makes its own
    message. The second form sets `args` and the attributes without a call.
    """
    parts = (type(error), error.args, dict(vars(error)))
    for form in (error, parts):
        try:
            data = pickle.dumps(form)
            again = rebuilt(data)
            if type(again) is type(error) and str(again) == str(error):
                return data
        except Exception:  # noqa: S112  # pickle and the user's class may raise anything
            continue
    return None


def rebuilt(data: bytes) -> Exception:
    """The exception of its pickled form. Raises whatever the class's own methods raise."""
    form = pickle.loads(data)  # noqa: S301  # written by the process that was called
    if isinstance(form, Exception):
        return form
    cls, args, attributes = form
    error: Exception = cls.__new__(cls, *args)
    error.args = args
    vars(error).update(attributes)
    return error
