"""States that inherit from another module, whose names mean something else here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.graph import postponed

Log = list


class AsTypedDict(postponed.AsTypedDict, total=False):
    more: int


class AsInheritedDict(postponed.AsGenericDict[str], total=False):
    more: int


@dataclass
class AsDataclass(postponed.AsDataclass[str]):
    more: int = 0


class AsStruct(postponed.AsStruct):
    more: int = 0


def in_a_function(read: Callable[[Any], None]) -> None:
    """Read classes with a field whose type only this function knows."""

    @dataclass
    class Local:
        size: int

    class LocalDict(postponed.AsTypedDict, total=False):
        local: Local

    @dataclass
    class LocalDataclass(postponed.AsDataclass[str]):
        local: Local

    class LocalStruct(postponed.AsStruct):
        local: Local

    for state in (LocalDict, LocalDataclass, LocalStruct):
        read(state)
