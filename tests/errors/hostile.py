"""Errors of every class, made with facts that are far too long for a message."""

import inspect
from collections.abc import Iterator
from typing import Any

from durable_graph import errors

LONG = "\ud800" + "x" * 1_000_000 + "\ud800"
"""A text of a million characters that UTF-8 cannot take."""

MANY = sorted([LONG, LONG[1:], *(f"name {number}" for number in range(1_000))])
LISTS = ("Iterable", "Sequence", "Collection")
BY_NAME = ("answers",)
NUMBERS = ("int", "float")


def error_classes() -> list[type[BaseException]]:
    """Every public class of errors and warnings."""
    return [cls for cls in vars(errors).values() if inspect.isclass(cls) and issubclass(cls, BaseException)]


def facts_for(cls: type[BaseException]) -> dict[str, Any]:
    """An argument for each parameter of the class."""
    return dict(_facts(cls))


def _facts(cls: type[BaseException]) -> Iterator[tuple[str, Any]]:
    for name, parameter in inspect.signature(cls).parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            continue
        annotation = str(getattr(parameter.annotation, "__name__", parameter.annotation))
        if cls.__name__ == "InvalidStateValueError" and name == "problems":
            yield name, [(LONG, LONG)] * 3
        elif annotation in LISTS:
            yield name, MANY
        elif name in BY_NAME:
            yield name, dict.fromkeys(MANY, LONG)
        elif annotation in NUMBERS:
            yield name, 10**300
        elif annotation == "bool":
            yield name, True
        else:
            yield name, LONG


def made(cls: type[BaseException], facts: dict[str, Any]) -> BaseException:
    """The error with these facts; a class without any takes its message as it is."""
    kinds = {name: parameter.kind for name, parameter in inspect.signature(cls).parameters.items()}
    if not facts and any(kind is inspect.Parameter.VAR_POSITIONAL for kind in kinds.values()):
        return cls(LONG)
    given = [facts[name] for name in facts if kinds[name] is not inspect.Parameter.KEYWORD_ONLY]
    named = {name: facts[name] for name in facts if kinds[name] is inspect.Parameter.KEYWORD_ONLY}
    return cls(*given, **named)
