"""Errors of every class and kind, made with facts that are far too long for a message."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from durable_graph import errors

LONG = "\ud800" + "x" * 1_000_000 + "\ud800"
"""A text of a million characters that UTF-8 cannot take."""

MANY = sorted([LONG, LONG[1:], *(f"name {number}" for number in range(1_000))])
LISTS = ("Iterable", "Sequence", "Collection")
BY_NAME = ("answers",)
NUMBERS = ("int", "float")


@dataclass(frozen=True)
class Maker:
    """A way to make an error: its class or a constructor `of_...`, with its arguments."""

    cls: type[BaseException]
    name: str
    make: Callable[..., BaseException]
    facts: dict[str, Any]

    def __call__(self) -> BaseException:
        """The error with these facts; a class without any takes its message as it is."""
        parameters = inspect.signature(self.make).parameters.values()
        if any(each.kind is each.VAR_POSITIONAL for each in parameters):
            return self.make(LONG)
        by_name = {each.name for each in parameters if each.kind is each.KEYWORD_ONLY}
        given = [value for name, value in self.facts.items() if name not in by_name]
        return self.make(*given, **{name: value for name, value in self.facts.items() if name in by_name})

    def __str__(self) -> str:
        return self.name


def error_classes() -> list[type[BaseException]]:
    """Every public class of errors and warnings."""
    return [cls for cls in vars(errors).values() if inspect.isclass(cls) and issubclass(cls, BaseException)]


def makers() -> list[Maker]:
    """Every way to make an error: each kind, with every fact and with the required facts alone."""
    return [maker for cls in error_classes() for maker in _makers_of(cls)]


def _makers_of(cls: type[BaseException]) -> Iterator[Maker]:
    yield from _with_facts(cls, cls.__name__, cls)
    for name in vars(cls):
        if name.startswith("of_"):
            yield from _with_facts(cls, f"{cls.__name__}.{name}", getattr(cls, name))


def _with_facts(cls: type[BaseException], name: str, make: Callable[..., BaseException]) -> Iterator[Maker]:
    parameters = inspect.signature(make).parameters
    kinds = get_args(parameters["kind"].annotation) if "kind" in parameters else (None,)
    for kind in kinds:
        named = name if kind is None else f"{name} {kind}"
        every = dict(_facts(parameters, kind))
        needed = {fact: value for fact, value in every.items() if parameters[fact].default is inspect.Parameter.empty}
        if kind is not None:
            needed["kind"] = kind
        yield Maker(cls, named, make, every)
        if needed.keys() != every.keys():
            yield Maker(cls, f"{named} alone", make, needed)


def _facts(parameters: Any, kind: str | None) -> Iterator[tuple[str, Any]]:
    for name, parameter in parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            continue
        annotation = str(getattr(parameter.annotation, "__name__", parameter.annotation))
        if name == "kind" and get_origin(parameter.annotation) is Literal:
            yield name, kind
        elif annotation == "type":
            yield name, str
        elif annotation in LISTS and "tuple" in str(parameter.annotation):
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
