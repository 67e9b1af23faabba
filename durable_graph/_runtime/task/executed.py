"""The executor's side of a call, in another process, or in a thread of a pool.

Arguments and results are bytes of the codec, and the reply is bytes as well, so that no value of the user can break the
executor. Classes and functions are sent as their names. Nothing here is called in the event loop of a run.
"""

import contextvars
import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import msgspec

from durable_graph._runtime.task.exceptions_as_data import ExceptionData, taken_apart
from durable_graph.channels import Overwrite
from durable_graph.channels.libraries import LANGCHAIN, installed_library
from durable_graph.codec import Codec, Listed, StoredType, TypeCodec
from durable_graph.errors import DecodeError, UnstorableValueError
from durable_graph.errors.shown import LONGEST
from durable_graph.graph import Command, Send
from durable_graph.graph.control import Unset
from durable_graph.graph.executors import why_not_found
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


class Reference(msgspec.Struct, frozen=True):
    """A function or class by its module and its name there."""

    module: str
    name: str

    @classmethod
    def of(cls, named: Callable[..., object]) -> "Reference":
        """The reference of a function or class."""
        return cls(named.__module__, named.__qualname__)

    def found(self) -> Any:
        """The object that has the name. Raises `ImportError`, `AttributeError`, and what its module raises."""
        found: object = importlib.import_module(self.module)
        for part in self.name.split("."):
            found = getattr(found, part)
        return found

    def function(self) -> Callable[..., object]:
        """The function of this name. A decorator may have replaced it, as `@task` does."""
        function: Callable[..., object] = inspect.unwrap(self.found())
        return function


Target: TypeAlias = Reference | Callable[..., object]
"""The function of a call, as the executor gets it."""


class _TaggedClass(msgspec.Struct, frozen=True):
    tag: str
    cls: Reference

    def listed(self) -> Listed:
        return self.tag, self.cls.found()


class _StoredClass(msgspec.Struct, frozen=True):
    tag: str
    cls: Reference
    encode: Reference
    decode: Reference
    is_proven: bool

    def listed(self) -> Listed:
        return StoredType(self.cls.found(), self.tag, self.encode.found(), self.decode.found(), self.is_proven)


class CrossingTypes(msgspec.Struct, frozen=True):
    """The classes that values may have, by name. `has_messages`: also LangChain's messages, which its library lists."""

    classes: tuple[_TaggedClass | _StoredClass, ...]
    has_messages: bool


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """The outcome of a call.

    `kind` is "returned", with the encoded result; "raised", with the texts of the exception, and its data if it can be
    rebuilt; "exited", with the exit code; "missing" if the function, or the class of an argument, cannot be imported,
    with the reason in `message`; "unstorable" if the result cannot be stored, with its path, class, reason and remedy
    in `facts`.
    """

    kind: Literal["returned", "raised", "exited", "missing", "unstorable"]
    value: bytes = b""
    type_name: str = ""
    message: str = ""
    traceback: str = ""
    exception: ExceptionData | None = None
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
    others = (entry for entry in listed if _class_of(entry) not in _OWN_CLASSES)
    return Codec((*others, *_OWN)).of(Any, where="the value")


def crossing_types(listed: Iterable[Listed]) -> CrossingTypes:
    """The classes that another process can import. Arguments of the others are refused there, and only these."""
    classes: list[_TaggedClass | _StoredClass] = []
    has_messages = False
    for entry in listed:
        cls = _class_of(entry)
        if cls in _OWN_CLASSES:
            continue
        if isinstance(entry, StoredType) and cls.__module__.partition(".")[0] == LANGCHAIN:
            library = installed_library()
            if library is not None and entry in library.types:
                has_messages = True
                continue
        if isinstance(entry, StoredType):
            if not any(map(why_not_found, (cls, entry.encode, entry.decode))):
                functions = Reference.of(entry.encode), Reference.of(entry.decode)
                classes.append(_StoredClass(entry.tag, Reference.of(cls), *functions, entry.is_proven))
        elif not why_not_found(cls):
            classes.append(_TaggedClass(entry[0] if isinstance(entry, tuple) else cls.__qualname__, Reference.of(cls)))
    return CrossingTypes(tuple(classes), has_messages)


def _class_of(entry: Listed) -> type:
    if isinstance(entry, StoredType):
        return entry.cls
    return entry[1] if isinstance(entry, tuple) else entry


def _codec_of(types: CrossingTypes, *, loads: bool = False) -> TypeCodec:
    """The codec, with the types of messages if this process has imported them, or if it `loads` them."""
    is_imported = loads or any(f"{LANGCHAIN}.{each}" in sys.modules for each in ("messages", "documents"))
    return _made_codec(types, types.has_messages and is_imported)


@lru_cache(maxsize=64)
def _made_codec(types: CrossingTypes, has_messages: bool) -> TypeCodec:  # a part of the cache's key
    library = installed_library() if has_messages else None
    listed: list[Listed] = [] if library is None else [*library.types]
    for each in types.classes:
        try:
            listed.append(each.listed())
        except Exception:  # noqa: S112  # the class is unknown in this process, where an argument of it is refused
            continue
    return crossing_codec(listed)


def _decoded(types: CrossingTypes, arguments: bytes) -> tuple[list[object], dict[str, object]]:
    """The arguments. Raises `DecodeError`."""
    args: list[object]
    kwargs: dict[str, object]
    try:
        args, kwargs = _codec_of(types).decode(arguments)
    except DecodeError:
        if not types.has_messages:
            raise
        # It takes a second to import LangChain, which most functions do not need.
        args, kwargs = _codec_of(types, loads=True).decode(arguments)
    return args, kwargs


def run_call(function: Target, types: CrossingTypes, arguments: bytes, call_id: str) -> bytes:
    """Call the function, and return the encoded `Reply`.

    Each call has another `call_id`: some executors treat equal calls as one call, and would repeat a failure.
    """
    return _encoder.encode(_reply(function, types, arguments))


def _reply(function: Target, types: CrossingTypes, arguments: bytes) -> Reply:
    try:
        code = function.function() if isinstance(function, Reference) else inspect.unwrap(function)
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
        return _raised(error, _codec_of(types))
    try:
        return Reply("returned", _codec_of(types).encode(result))
    except UnstorableValueError as error:
        return Reply("unstorable", facts=(error.path, error.type_name, error.why, error.remedy))


def _raised(error: Exception, codec: TypeCodec) -> Reply:
    cls = type(error)
    return Reply(
        "raised",
        type_name=f"{cls.__module__}.{cls.__qualname__}",
        message=_text(error),
        traceback=_safe("".join(traceback.format_exception(error))),
        exception=taken_apart(error, codec),
    )


def _text(error: BaseException) -> str:
    try:
        return _safe(str(error))
    except Exception as broken:  # the class may override the method, and the error itself matters more
        return f"its text cannot be made ({type(broken).__name__})"


def _safe(text: str) -> str:
    """The text without lone surrogates; of a long text the end, because the end of a traceback says most."""
    return text[-LONGEST:].encode("utf-8", "backslashreplace").decode("utf-8")
