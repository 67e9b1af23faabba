"""Errors and values as text, for records, events, notes and messages."""

import ast
import reprlib

from durable_graph.errors.tree import bounded

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 60
_short.maxlevel = 2
_START = 80

LONGEST = 10_000
"""The maximum number of kept characters of an error's text."""


def shown(error: BaseException) -> str:
    """The error's repr, such as `ValueError('text')`, as text for any store: lone surrogates are escaped.

    If the repr does not contain the error's message, the result has the class and the message. A text of more than
    LONGEST characters is cut, and its length is added.
    """
    try:
        text, message = repr(error), str(error)
        if message not in text and repr(message)[1:-1] not in text:
            text = f"{type(error).__name__}({message!r})"
    except Exception as broken:  # the class may override the method, and the error itself matters more
        text = f"{type(error).__name__}, whose text cannot be made ({type(broken).__name__})"
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}... ({len(text)} characters)"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def logged(error: BaseException) -> str:
    """The error as `shown`, for a line of a log: its length is limited like that of a message."""
    return bounded(shown(error))


def add_note(error: BaseException, text: str) -> None:
    """Add a note to an error. Its length is limited like that of a message."""
    error.add_note(bounded(text))


class _ReadBackError(RuntimeError):
    """An error whose repr is the stored text."""

    text: str

    def __repr__(self) -> str:
        return self.text


def read_back(text: str) -> RuntimeError:
    """An error with a repr that `shown` returned, and with the message and class name of the repr, if it has them.

    The value of an interrupt may contain the error's text, and must be the same after a restart to match its answer.
    """
    name, _, rest = text.partition("(")
    arguments: tuple[object, ...] = (text,)
    if not name.isidentifier():
        name = RuntimeError.__name__
    elif rest.endswith(")"):
        try:
            arguments = ast.literal_eval(f"({rest[:-1]},)") if rest != ")" else ()
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            name = RuntimeError.__name__  # the class's own repr, or arguments that are no literals
    if name == KeyError.__name__:
        arguments = (str(KeyError(*arguments)),)
    error: _ReadBackError = type(name, (_ReadBackError,), {"__module__": __name__})(*arguments)
    error.text = text
    return error


def start_of(value: object) -> str:
    """The first characters of a value's repr, at most 80, as text for any store."""
    try:
        text = _short.repr(value)
    except Exception:  # a class's own `__repr__` may fail, which is no reason to fail here
        text = f"a {type(value).__name__}"
    text = text if len(text) <= _START else text[: _START - 3] + "..."
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
