"""The root of the tree of exceptions, and functions for their messages.

An error's text says what happened and who has to act, and its attributes have the facts. The facts are complete; the
message is for people, and never longer than `MAX_TEXT` characters.
"""

import reprlib
from collections.abc import Iterable
from typing import Any, Final, Self

MAX_TEXT: Final = 400
"""The maximum length of an error message, in characters."""

_CUT: Final = " [...] "
_LONGEST_REMEDY: Final = 260
_LONGEST_LIST: Final = 180
_LONGEST_NAME: Final = 40


class DurableGraphError(Exception):
    """The base of all errors of durable_graph. Messages have at most 400 characters, attributes are complete."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(bounded(each) if isinstance(each, str) else each for each in args))

    def __str__(self) -> str:
        # Some of these errors are also a KeyError, which shows the repr of its message.
        return Exception.__str__(self)

    def __reduce__(self) -> tuple[Any, ...]:
        # The default rebuilds from the message alone, and fails for errors whose constructor takes facts. Such a
        # failure inside a process pool hangs the pool.
        return _rebuild, (type(self), self.args, dict(self.__dict__))

    @classmethod
    def _from_parts(cls, args: tuple[Any, ...], facts: dict[str, Any]) -> Self:
        error = cls.__new__(cls)
        error.args = args
        error.__dict__.update(facts)
        return error


def _rebuild(kind: type[DurableGraphError], args: tuple[Any, ...], facts: dict[str, Any]) -> DurableGraphError:
    return kind._from_parts(args, facts)


def bounded(text: str, limit: int = MAX_TEXT) -> str:
    """The text in at most `limit` characters, for any log: lone surrogates are escaped.

    A longer text is cut in the middle. The remedy, the part after the last semicolon, is kept.
    """
    if len(text) > 2 * limit:
        # Escaping makes a text longer. For a very long text, both ends are enough.
        text = text[:limit] + _CUT + _ending(text, limit)
    safe = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if len(safe) <= limit:
        return safe
    end = _ending(safe, limit)
    return safe[: limit - len(end) - len(_CUT)].rstrip() + _CUT + end


def _ending(text: str, limit: int) -> str:
    longest = min(_LONGEST_REMEDY, limit * 2 // 3)
    start = text.rfind("; ", len(text) - longest - 2)
    return text[start + 2 :] if start >= 0 else text[-limit // 3 :].lstrip()


def quoted(value: object, limit: int = 80) -> str:
    """The shortened repr of any object. An object whose repr fails is shown by its class."""
    shortener = reprlib.Repr()
    shortener.maxlevel = 3
    shortener.maxstring = shortener.maxother = shortener.maxlong = limit
    try:
        text = shortener.repr(value)
    except Exception:
        # The repr fails for an int of thousands of digits, and for a container that cannot be iterated.
        text = f"<{type(value).__name__} instance>"
    return bounded(text, limit)


def names(known: Iterable[object]) -> str:
    """A sorted list for a message: `a, b, c`, or `(none)`; a long list is cut, and the number of items added."""
    return listed(sorted(str(name) for name in known))


def listed(known: Iterable[object]) -> str:
    """As `names`, in the given order."""
    texts = [str(name) for name in known]
    shown: list[str] = []
    room = _LONGEST_LIST
    for text in texts:
        shown.append(bounded(text, _LONGEST_NAME))
        room -= len(shown[-1]) + 2
        if room < 0:
            break
    more = f" and {len(texts) - len(shown)} more" if len(shown) < len(texts) else ""
    return ", ".join(shown) + more if shown else "(none)"


def with_article(name: str) -> str:
    return f"{'an' if name[:1] in 'aeiouAEIOU' else 'a'} {name}"


_OURS = frozenset({"Command", "Interrupt", "Overwrite", "RemoveMessage", "Send"})

_THEIRS = frozenset({"langchain", "langchain_core", "langgraph"})


def kind_of(value: object) -> str:
    """The class of a value, such as `a dict`; for a namesake of this library's class, with the modules of both."""
    cls = type(value)
    shown = with_article(bounded(cls.__name__, 80))
    if not is_namesake(value):
        return shown
    return f"{shown} of {bounded(cls.__module__, 80)}, not durable_graph's {cls.__name__}"


def is_namesake(value: object, name: str | None = None) -> bool:
    """Whether the value's class is LangGraph's or LangChain's, and has the name of a class that nodes return."""
    cls = type(value)
    is_meant = cls.__name__ in _OURS if name is None else cls.__name__ == name
    return is_meant and cls.__module__.partition(".")[0] in _THEIRS
