"""Errors and values as text, for records, events, notes and messages."""

import ast
import reprlib

from durable_graph.errors.tree import bounded

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 60
_short.maxlevel = 2
_START = 80

LONGEST = 10_000
"""How many characters of an error's text are kept."""


def shown(error: BaseException) -> str:
    """The error's repr, as `ValueError('text')`, as text that any store takes: lone surrogates are escaped.

    Where the repr does not have the error's message, the message is shown in its place. Of a text of more than LONGEST
    characters the first are kept, and how many it had.
    """
    try:
        text, message = repr(error), str(error)
        if message not in text and repr(message)[1:-1] not in text:
            text = f"{type(error).__name__}({message!r})"
    except Exception as broken:  # any class may have methods of its own, and the error matters more
        text = f"{type(error).__name__}, whose text cannot be made ({type(broken).__name__})"
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}... ({len(text)} characters)"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def add_note(error: BaseException, text: str) -> None:
    """Add a note to an error, as long as a message may be."""
    error.add_note(bounded(text))


class _ReadBackError(RuntimeError):
    """An error whose repr is the stored text."""

    text: str

    def __repr__(self) -> str:
        return self.text


def read_back(text: str) -> RuntimeError:
    """An error with the repr that `shown` kept of another, and with its message and class name where the repr has them.

    Code that asks about an error asks the same after a restart, or it would miss its answer.
    """
    name, _, rest = text.partition("(")
    arguments: tuple[object, ...] = (text,)
    if not name.isidentifier():
        name = RuntimeError.__name__
    elif rest.endswith(")"):
        try:
            arguments = ast.literal_eval(f"({rest[:-1]},)") if rest != ")" else ()
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            name = RuntimeError.__name__  # a repr of the class's own, or of arguments that are no literals
    if name == KeyError.__name__:
        arguments = (str(KeyError(*arguments)),)
    error: _ReadBackError = type(name, (_ReadBackError,), {"__module__": __name__})(*arguments)
    error.text = text
    return error


def start_of(value: object) -> str:
    """The start of how a value reads, at most 80 characters, as text that any store takes."""
    try:
        text = _short.repr(value)
    except Exception:  # any class may have a `__repr__` of its own, which is no reason to fail
        text = f"a {type(value).__name__}"
    text = text if len(text) <= _START else text[: _START - 3] + "..."
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
