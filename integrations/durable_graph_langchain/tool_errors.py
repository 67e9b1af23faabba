"""Handling errors of tools: each becomes a message to the model, or a failure of the node."""

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from types import UnionType
from typing import Any, Final, TypeAlias, Union, get_args, get_origin

from langchain_core.messages import ToolCall, ToolMessage

from durable_graph import MissingCheckpointerError
from durable_graph_langchain.errors import InvalidToolError, ToolInjectionError, ToolInvocationError

Content: TypeAlias = str | list[str | dict[str, Any]]
HandleToolErrors: TypeAlias = bool | str | type[Exception] | tuple[type[Exception], ...] | Callable[..., Content]
"""The values of `handle_tool_errors` of a `ToolNode`."""


_OF_THE_PROGRAM: Final = (ToolInjectionError, MissingCheckpointerError)
"""Errors that no model can correct. They are always raised."""


@dataclass(frozen=True, slots=True)
class ErrorHandling:
    """Errors of these classes become messages with this content; all others are raised."""

    classes: tuple[type[Exception], ...]
    content: Callable[[Any], Content]

    @classmethod
    def of(cls, given: HandleToolErrors) -> "ErrorHandling":
        """Raises `InvalidToolError` for an invalid value."""
        match given:
            case bool():
                return cls((Exception,) if given else (), described)
            case str():
                return cls((Exception,), lambda _: given)
            case type() if issubclass(given, Exception):
                return cls((given,), described)
            case tuple() if all(isinstance(each, type) and issubclass(each, Exception) for each in given):
                return cls(given, described)
            case _ if callable(given) and not isinstance(given, type):
                return cls(_classes_taken_by(given), given)
        raise InvalidToolError(
            f"handle_tool_errors is {given!r}; it takes a bool, a text, a function or classes of exceptions"
        )

    def message(self, error: Exception, call: ToolCall) -> ToolMessage:
        """The answer to a call that raised `error`. Raises the error again if it is not handled."""
        if isinstance(error, _OF_THE_PROGRAM) or not isinstance(error, self.classes):
            raise error
        return failed(call, self.content(error))


def failed(call: ToolCall, content: Content) -> ToolMessage:
    """The answer to a call that failed."""
    return ToolMessage(content, name=call["name"], tool_call_id=call["id"], status="error")


def described(error: Exception) -> str:
    """The text about an error for the model."""
    text = str(error) if isinstance(error, ToolInvocationError) else repr(error)
    return f"Error: {text}. Correct what is wrong and try again."


def describe_bad_arguments(error: ToolInvocationError) -> str:
    """The default of `handle_tool_errors`: errors about arguments are answered, other errors are raised."""
    return described(error)


def _classes_taken_by(handler: Callable[..., Any]) -> tuple[type[Exception], ...]:
    """The exception classes in the annotation of a handler's first parameter; all classes if there is none."""
    try:
        first = next(iter(inspect.signature(handler).parameters))
        function = handler if inspect.isroutine(handler) else type(handler).__call__
        hint = typing.get_type_hints(function).get(first, Exception)
    except (NameError, TypeError, ValueError, StopIteration):
        return (Exception,)
    members = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if all(isinstance(each, type) and issubclass(each, Exception) for each in members):
        return members
    raise InvalidToolError(f"handle_tool_errors: the first parameter of {handler!r} is annotated with no exceptions")
