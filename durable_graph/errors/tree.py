"""The root of the tree of exceptions, and what their messages share.

An error says what happened and whose move it is, and carries its facts as attributes. The facts are whole; the message
is for people, and never longer than `MAX_TEXT` characters.
"""

import reprlib
from collections.abc import Iterable
from typing import Any, Final, Self

MAX_TEXT: Final = 400
"""The length of the longest error message, in characters."""

_CUT: Final = " [...] "
_LONGEST_REMEDY: Final = 260
_LONGEST_LIST: Final = 180
_LONGEST_NAME: Final = 40


class DurableGraphError(Exception):
    """Anything that durable_graph itself raises. Its message has at most 400 characters, its attributes are whole."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(bounded(each) if isinstance(each, str) else each for each in args))

    def __str__(self) -> str:
        # KeyError, which some of these are as well, shows the repr of its message.
        return Exception.__str__(self)

    def __reduce__(self) -> tuple[Any, ...]:
        # The default rebuilds from the message alone and fails for errors whose constructor takes facts:
        # one such failure inside a process pool hangs the pool.
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
    """The text in at most `limit` characters that any log takes: lone surrogates are escaped.

    A longer text loses its middle. The remedy, which is what follows the last semicolon, is kept.
    """
    if len(text) > 2 * limit:
        # Escaping makes a text longer: of what is far too long it is enough to look at both ends.
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
    """The repr of any object, shortened. An object whose repr cannot be made is shown by its class."""
    shortener = reprlib.Repr()
    shortener.maxlevel = 3
    shortener.maxstring = shortener.maxother = shortener.maxlong = limit
    try:
        text = shortener.repr(value)
    except Exception:
        # An int of thousands of digits has no repr, nor has a container that cannot be iterated.
        text = f"<{type(value).__name__} instance>"
    return bounded(text, limit)


def names(known: Iterable[object]) -> str:
    """A sorted list for a message: `a, b, c`, or `(none)`; of a long one the first, and how many there are."""
    return listed(sorted(str(name) for name in known))


def listed(known: Iterable[object]) -> str:
    """As `names`, in the order given."""
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
    """The class of a value, as `a dict`; of LangGraph's that has the name of one of ours, with where both are."""
    cls = type(value)
    shown = with_article(bounded(cls.__name__, 80))
    if not is_namesake(value):
        return shown
    return f"{shown} of {bounded(cls.__module__, 80)}, not durable_graph's {cls.__name__}"


def is_namesake(value: object, name: str | None = None) -> bool:
    """Whether its class is LangGraph's or LangChain's, and has the name of one of ours that nodes return."""
    cls = type(value)
    is_meant = cls.__name__ in _OURS if name is None else cls.__name__ == name
    return is_meant and cls.__module__.partition(".")[0] in _THEIRS
