"""Options of calls: unknown, missing, contradicting, or with a value that is not possible."""

from collections.abc import Collection, Iterable
from typing import Literal, Self

from durable_graph.errors.elsewhere import OPTIONS
from durable_graph.errors.tree import DurableGraphError, names, quoted


class InvalidOptionError(DurableGraphError, ValueError):
    """An option that has no possible value.

    `kind` is "value" if the value is not possible; "missing" if a value is needed and there is none, such as a thread
    id for a graph with a checkpointer; "contradiction" if a keyword argument and the config dict have different values
    (`value` is the pair of them); "unstorable" if the value is a name that the store cannot hold, refused before
    anything was stored. `allowed` says which values are possible.
    """

    def __init__(
        self,
        option: str,
        value: object,
        *,
        allowed: str,
        kind: Literal["value", "missing", "contradiction", "unstorable"] = "value",
        text: str | None = None,
    ) -> None:
        self.kind: Literal["value", "missing", "contradiction", "unstorable"] = kind
        self.option = option
        self.value = value
        self.allowed = allowed
        super().__init__(f"{option}={quoted(value)} is not possible; it takes {allowed}" if text is None else text)

    @classmethod
    def of_missing_thread_id(cls) -> Self:
        """A graph with a checkpointer was called without a thread id."""
        text = (
            "this graph has a checkpointer, so the call has to name a thread: pass thread_id='...' "
            "or config={'configurable': {'thread_id': '...'}}"
        )
        return cls("thread_id", None, allowed="the id of a thread", kind="missing", text=text)

    @classmethod
    def of_contradiction(cls, option: str, *, keyword: object, config: object) -> Self:
        """The config dict and a keyword argument have different values."""
        text = f"{option} is {quoted(keyword)} as keyword and {quoted(config)} in the config; give it once"
        return cls(option, (keyword, config), allowed="the same value in both", kind="contradiction", text=text)

    @classmethod
    def of_unstorable(cls, what: str, name: str, why: str) -> Self:
        """A name that the store cannot hold: a thread id, a namespace, a request's key, a channel's name."""
        text = f"the {what} {quoted(name)} cannot be stored: {why}; choose another one"
        return cls(what, name, allowed=f"a name that can be stored: {why}", kind="unstorable", text=text)


class MissingCheckpointerError(DurableGraphError, ValueError):
    """A call that needs stored state, `what`, on a graph without a checkpointer."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"{what} needs a checkpointer: compile(checkpointer=SqliteSaver('runs.db'))")


class UnknownOptionError(DurableGraphError, TypeError):
    """An option that does not exist. It is refused rather than ignored.

    `kind` is "argument" for a keyword argument that the call `where` does not have, and "config" for a key of the
    config dict. `known` are the options that exist.
    """

    def __init__(
        self, text: str, *, kind: Literal["argument", "config"], where: str, option: object, known: Iterable[str]
    ) -> None:
        self.kind: Literal["argument", "config"] = kind
        self.where = where
        self.option = option
        self.known: tuple[str, ...] = tuple(sorted(known))
        super().__init__(text)

    @classmethod
    def of_argument(cls, call: str, option: str, *, known: Iterable[str]) -> Self:
        """A keyword argument that a call does not have."""
        every = tuple(known)
        remedy = OPTIONS.get(option)
        way_out = "leave it out" if remedy is None else f"{option}= is LangGraph's: {remedy}"
        text = f"{call} got an unexpected keyword argument {option!r}; it takes: {names(every)}; {way_out}"
        return cls(text, kind="argument", where=call, option=option, known=every)

    @classmethod
    def of_config(cls, key: object, *, known: Iterable[str], remedy: str = "") -> Self:
        """A key of the config dict that the library does not know."""
        every = tuple(known)
        text = f"the config has no key {quoted(key)}{'; ' + remedy if remedy else ''}; known keys: {names(every)}"
        return cls(text, kind="config", where="the config", option=key, known=every)

    @classmethod
    def check(cls, call: str, given: Iterable[str], *, known: Collection[str]) -> None:
        """Raise the error for the first unknown argument."""
        for option in given:
            if option not in known:
                raise cls.of_argument(call, option, known=known)
