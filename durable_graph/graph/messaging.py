"""Choosing the message library of a graph, such as LangChain's, when the graph is compiled."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final, Literal, get_args

from durable_graph.channels import Channel, Messages, Reduced
from durable_graph.channels.libraries import (
    AUTO,
    LANGCHAIN,
    MessageLibrary,
    brought_library,
    installed_library,
)
from durable_graph.codec import Listed, StoredType
from durable_graph.errors import InvalidOptionError

MessageKind = Literal["auto", "langchain", "dict"]
"""The values of `compile(messages=...)`."""

_OPTION: Final = "messages"


def library_of(kind: MessageKind, rules: Mapping[str, Channel]) -> MessageLibrary | None:
    """The library of a graph with these channels; None if its messages are dicts or the user's own objects.

    "auto" is LangChain if `langchain_core` is installed, and the graph has a channel of messages or the program has
    imported LangChain's messages or documents, which any value may contain.

    Raises `InvalidOptionError`, and `ImportError` for "langchain" without `langchain_core`.
    """
    if kind not in get_args(MessageKind):
        raise InvalidOptionError(_OPTION, kind, allowed="'auto', 'langchain' or 'dict'")
    if kind == "langchain":
        library = brought_library()
        if library is None:
            raise InvalidOptionError(_OPTION, kind, allowed="'dict': the package durable_graph_langchain is not there")
        return library
    is_imported = any(f"{LANGCHAIN}.{each}" in sys.modules for each in ("messages", "documents"))
    is_used = is_imported or any(isinstance(rule, Messages) for rule in rules.values())
    return installed_library() if kind == "auto" and is_used else None


def with_library(rules: Mapping[str, Channel], kind: MessageKind, library: MessageLibrary | None) -> dict[str, Channel]:
    """The channels, with the library set on those that may hold its messages."""
    of_reducers = AUTO if kind == "auto" else library
    return {
        name: rule.with_library(library)
        if isinstance(rule, Messages)
        else replace(rule, library=of_reducers)
        if isinstance(rule, Reduced)
        else rule
        for name, rule in rules.items()
    }


def listed_with(types: Iterable[Listed], library: MessageLibrary | None) -> Iterable[Listed]:
    """The types of `compile(types=...)` and those of the library. The user's `StoredType` replaces the library's."""
    if library is None or not isinstance(types, Iterable):
        # `Storing.of` raises the error for a value that is no list.
        return types
    given = tuple(types)
    own = {each.cls for each in given if isinstance(each, StoredType)}
    brought = {each.cls: each for each in library.types if each.cls not in own}
    return (*(each for each in given if each not in brought), *brought.values())
