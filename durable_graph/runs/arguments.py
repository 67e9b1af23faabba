"""Arguments of an `App` and its calls that may be of any type: each is read here, or refused by name."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from durable_graph._engine.answering import names_questions
from durable_graph.errors import InvalidOptionError


def read_timeout(given: object) -> float | None:
    """A time limit in seconds. Raises `InvalidOptionError` for one that is no number: the caller would wait for ever,
    or fail once the run is accepted."""
    if given is None:
        return None
    if not isinstance(given, int | float) or isinstance(given, bool) or math.isnan(given):
        raise InvalidOptionError("timeout", given, allowed="a number of seconds, or None for no limit")
    return given


def read_contexts(given: Mapping[str, Callable[[], Any]] | None) -> dict[str, Callable[[], Any]]:
    """The functions that make contexts, by graph. Raises `InvalidOptionError`."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InvalidOptionError("context", given, allowed="a dict of functions by the names of their graphs")
    for name, make in given.items():
        if not callable(make):
            raise InvalidOptionError(f"context[{name!r}]", make, allowed="a function that makes the context")
    return dict(given)


def answer_by_id(interrupt_id: object, value: Any) -> dict[str, Any]:
    """The answer to the interrupt with this id. Raises `InvalidOptionError` for a value that is no id: with it, the
    dict would be the answer to any interrupt."""
    answers = {interrupt_id: value} if isinstance(interrupt_id, str) else None
    if not names_questions(answers):
        allowed = "the id of an interrupt, 32 hex digits: see RunStatus.interrupts"
        raise InvalidOptionError("interrupt_id", interrupt_id, allowed=allowed)
    return answers


def check_number(option: str, given: float, least: float, most: float, *, whole: bool = False) -> None:
    """Raises `InvalidOptionError` for what is no number, or outside of these limits."""
    kinds = int if whole else int | float
    if not isinstance(given, kinds) or isinstance(given, bool) or not least <= given <= most:
        what = "a whole number" if whole else "a number"
        raise InvalidOptionError(option, given, allowed=f"{what} from {least:g} to {most:g}")
