"""The executor's side of a call: what runs in another process, or in a thread of a pool.

Arguments and results are bytes of the codec, and the reply is bytes as well, so that no value of the user can break the
executor on its way. Nothing here is called in the event loop of a run.
"""

import contextvars
import importlib
import inspect
import pickle
import traceback
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import msgspec

from durable_graph.channels import Overwrite
from durable_graph.codec import Codec, Listed, TypeCodec
from durable_graph.errors import DecodeError, GraphValidationError, UnstorableValueError
from durable_graph.errors.shown import LONGEST
from durable_graph.graph import Command, Send
from durable_graph.graph.control import Unset
from durable_graph.graph.policies import TimeoutPolicy

_OWN: tuple[Listed, ...] = (
    ("durable_graph.Command", Command),
    ("durable_graph.Overwrite", Overwrite),
    ("durable_graph.Send", Send),
    ("durable_graph.TimeoutPolicy", TimeoutPolicy),
    ("durable_graph.Unset", Unset),
)
"""Classes of results that are never stored as such: the run applies them."""

PackedTypes: TypeAlias = tuple[bytes, ...]
"""The classes that values may have, each pickled: a class by its name, a `StoredType` by those of its functions."""


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
    "exited", with the text of the exit code; "missing" if the function, or the class of an argument, cannot be
    imported; "unstorable" if the result cannot be stored, with its path, class, reason and remedy in `facts`.
    """

    kind: Literal["returned", "raised", "exited", "missing", "unstorable"]
    value: bytes = b""
    type_name: str = ""
    message: str = ""
    traceback: str = ""
    facts: tuple[str, ...] = ()


_replies = msgspec.msgpack.Decoder(Reply)
_encoder = msgspec.msgpack.Encoder()


def read_reply(data: bytes) -> Reply:
    """The reply of a call."""
    return _replies.decode(data)


def crossing_codec(listed: Iterable[Listed]) -> TypeCodec:
    """The codec of arguments and results: values of any of the listed classes."""
    return Codec((*listed, *_OWN)).of(Any, where="the value")


def packed_types(listed: Iterable[Listed]) -> PackedTypes:
    """The classes that another process can import. Arguments of the others are refused there, and only these."""
    packed = []
    for entry in listed:
        try:
            packed.append(pickle.dumps(entry))
        except Exception:  # noqa: S112  # pickle raises several, and whatever a class's own methods raise
            continue
    return tuple(packed)


@lru_cache(maxsize=64)
def _codec_of(types: PackedTypes) -> TypeCodec:
    return crossing_codec(_unpacked(types))


def _unpacked(types: PackedTypes) -> list[Listed]:
    listed: list[Listed] = []
    for packed in types:
        try:
            listed.append(pickle.loads(packed))  # noqa: S301  # written by the process that makes the call
        except Exception:  # noqa: S112  # the class is unknown here, and an argument of it is refused
            continue
    return listed


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
        codec = _codec_of(types)
        args, kwargs = codec.decode(arguments)
    except (DecodeError, GraphValidationError) as error:
        return Reply("missing", message=f"an argument cannot be read in the executor's process: {error}")
    except Exception as error:
        return Reply("missing", message=f"the executor's process raised {type(error).__name__}: {_text(error)}")
    try:
        # Empty, because a thread or a forked process would see the context of the run: it is outside of it.
        result = contextvars.Context().run(code, *args, **kwargs)
    except SystemExit as error:
        return Reply("exited", message=_text(error))
    except Exception as error:
        return _raised(error)
    try:
        return Reply("returned", codec.encode(result))
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
