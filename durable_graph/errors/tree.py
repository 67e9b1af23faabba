"""The root of the tree of exceptions, and what their messages share.

An error says what happened and whose move it is, and carries its facts as attributes.
"""

from collections.abc import Iterable
from typing import Any, Self


class DurableGraphError(Exception):
    """Anything that durable_graph itself raises."""

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


def names(known: Iterable[object]) -> str:
    """A list for a message: `a, b, c`, or `(none)`."""
    return ", ".join(sorted(str(name) for name in known)) or "(none)"


def with_article(name: str) -> str:
    return f"{'an' if name[:1] in 'aeiouAEIOU' else 'a'} {name}"
