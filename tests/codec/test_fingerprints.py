"""The fingerprint in the stamp of a value: one for each type, independent of the spelling of the type."""

import dataclasses
import os
import subprocess
import sys
from enum import Enum
from itertools import combinations
from typing import Annotated, Any, Literal, NewType, NotRequired, Optional, TypedDict, Union

import pytest
from typing_extensions import TypeAliasType

from durable_graph.codec import Codec
from durable_graph.errors import GraphValidationError
from tests.codec.samples import Box, Color, Message, Point, Tree
from tests.errors.kinds import of_kind

Name = NewType("Name", str)
Names = TypeAliasType("Names", list[str])
Json = TypeAliasType("Json", "dict[str, Json] | list[Json] | str | int | None")
Chain = TypeAliasType("Chain", "tuple[Chain, ...]")


class First(TypedDict):
    name: str
    left: "First | None"


class Second(TypedDict):
    left: "Second | None"
    name: str


class Third(TypedDict):
    name: str
    left: NotRequired["Third | None"]


Itself = TypeAliasType("Itself", "Itself")  # type: ignore[misc]  # the subject of the test
One = TypeAliasType("One", "Other")  # type: ignore[misc]  # the subject of the test
Other = TypeAliasType("Other", "One")  # type: ignore[misc]  # the subject of the test


def fingerprint(declared: Any, **tags: type) -> bytes:
    return Codec(tags.items()).fingerprint(declared, "a test")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (int | str, str | int),
        (int | None, Optional[int]),  # noqa: UP045 - as users write it
        (int | str | None, Union[None, str, int]),  # noqa: UP007 - as users write it
        (list[str], Names),
        (list[Name], list[str]),
        (Annotated[list[str], "why"], list[str]),
        (list, list[Any]),
        (object, Any),
        (Names | None, list[str] | None),
        (Literal["a", 1], Literal[1, "a"]),
        (Message | Tree, Tree | Message),
        (First, Second),
        (list[Json], list[Json]),
    ],
)
def test_two_spellings_of_a_type_have_the_same_fingerprint(one: Any, other: Any) -> None:
    assert fingerprint(one) == fingerprint(other)


def versions() -> list[Any]:
    @dataclasses.dataclass
    class Order:
        price: int

    @dataclasses.dataclass
    class Grown:
        price: int
        currency: str = "EUR"

    @dataclasses.dataclass
    class Strict:
        price: int
        currency: str

    @dataclasses.dataclass
    class Renamed:
        cents: int

    @dataclasses.dataclass
    class Retyped:
        price: str

    return [Order, Grown, Strict, Renamed, Retyped]


def test_types_that_are_read_differently_have_different_fingerprints() -> None:
    types: list[Any] = [
        *(int, float, bool, str, bytes, None, Any, list[int], list[str], tuple[int, ...], tuple[int], tuple[int, int]),
        *(set[int], frozenset[int], dict[str, int], dict[int, str], int | None, Literal["a"], Literal["a", "b"]),
        *(Color, Point, Message, Tree, Message | Tree, list[Message], list[Message | None], Box[int], Box[str]),
        *(First, Third, Json, Chain, dict[str, Any], Literal[True], Literal[1]),
    ]
    found = [fingerprint(each) for each in types]
    found += [fingerprint(cls, Order=cls) for cls in versions()]

    assert [pair for pair in combinations(found, 2) if pair[0] == pair[1]] == []


def test_a_class_keeps_its_fingerprint_when_it_moves_and_when_it_is_renamed_under_its_tag() -> None:
    def made(name: str, module: str) -> Any:
        return dataclasses.make_dataclass(name, [("price", int)], namespace={"__module__": module})

    before, renamed = made("Order", "shop.orders"), made("Purchase", "shop.models")
    assert fingerprint(before) == fingerprint(made("Order", "shop.models"))
    assert fingerprint(before) == fingerprint(renamed, Order=renamed)
    assert fingerprint(before) != fingerprint(renamed)


def test_an_added_enum_member_changes_the_fingerprint_and_a_changed_value_does_not() -> None:
    assert fingerprint(Enum("E", {"A": 1})) != fingerprint(Enum("E", {"A": 1, "B": 2}))
    assert fingerprint(Enum("E", {"A": 1})) == fingerprint(Enum("E", {"A": "another value"}))


def test_the_fingerprint_of_a_type_with_exponentially_many_paths_is_computed_in_time() -> None:
    declared: Any = int
    for level in range(40):
        declared = dataclasses.make_dataclass(f"Node{level}", [("left", declared), ("right", declared)])
    assert len(fingerprint(declared)) == 4


IN_ANOTHER_PROCESS = """
from tests.codec.test_fingerprints import *
print([fingerprint(each).hex() for each in (Message | Tree | Point | None, First, Json, Literal["a", 1, "b"], Color)])
"""


@pytest.mark.slow
def test_every_process_has_the_same_fingerprints() -> None:
    def printed(seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", IN_ANOTHER_PROCESS]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=60).stdout

    assert printed("0") == printed("1") == printed("4711")


def test_the_stamp_costs_four_bytes() -> None:
    codec = Codec()
    stamped, plain = (codec.of(str, where="x", is_stamped=is_stamped).encode("abc") for is_stamped in (True, False))
    assert stamped == b"\x02" + fingerprint(str) + plain[1:]


@pytest.mark.parametrize("declared", [Itself, list[Itself], One, dict[str, Other]])
def test_an_alias_that_refers_only_to_itself_is_refused(declared: Any) -> None:
    codec = Codec()
    for _ in range(2):
        with pytest.raises(GraphValidationError, check=of_kind("type"), match="the alias refers to itself"):
            codec.of(declared, where="channel 'x'", is_stamped=True)
