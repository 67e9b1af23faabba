"""A class changes while threads have stored instances: they fit, take defaults, or raise an error."""

import dataclasses
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, NamedTuple

import msgspec
import pydantic
import pydantic.dataclasses
import pytest

from durable_graph.codec import Codec, TypeCodec
from durable_graph.errors import DecodeError


def reader(declared: Any) -> TypeCodec:
    return Codec().of(declared, where="channel 'x'")


def version(cls: Any) -> TypeCodec:
    """The codec of a program that stores this class under the tag `Kept`."""
    return Codec([("Kept", cls)]).of(cls, where="channel 'x'")


def versions() -> dict[str, tuple[Any, Any, Any]]:
    @dataclasses.dataclass
    class Before:
        name: str

    @dataclasses.dataclass
    class Grown:
        more: list[int] = dataclasses.field(default_factory=list)
        name: str = ""
        size: int = 3

    @dataclasses.dataclass
    class Demanding:
        name: str
        size: int

    @pydantic.dataclasses.dataclass
    class ValidatedBefore:
        name: str

    @pydantic.dataclasses.dataclass
    class ValidatedGrown:
        name: str
        more: list[int] = pydantic.Field(default_factory=list)
        size: int = pydantic.Field(default=3)

    @pydantic.dataclasses.dataclass
    class ValidatedDemanding:
        name: str
        size: int = pydantic.Field(gt=0)

    class StructBefore(msgspec.Struct):
        name: str

    class StructGrown(msgspec.Struct):
        name: str
        more: list[int] = []
        size: int = 3

    class StructDemanding(msgspec.Struct):
        name: str
        size: int

    class ModelBefore(pydantic.BaseModel):
        name: str

    class ModelGrown(pydantic.BaseModel):
        name: str
        more: list[int] = pydantic.Field(default_factory=list)
        size: int = 3

    class ModelDemanding(pydantic.BaseModel):
        name: str
        size: int

    class TupleBefore(NamedTuple):
        name: str

    class TupleGrown(NamedTuple):
        name: str
        more: list[int] = []  # noqa: RUF012 - a default, not shared state
        size: int = 3

    class TupleDemanding(NamedTuple):
        name: str
        size: int

    return {
        "dataclass": (Before, Grown, Demanding),
        "validated dataclass": (ValidatedBefore, ValidatedGrown, ValidatedDemanding),
        "struct": (StructBefore, StructGrown, StructDemanding),
        "model": (ModelBefore, ModelGrown, ModelDemanding),
        "named tuple": (TupleBefore, TupleGrown, TupleDemanding),
    }


@pytest.mark.parametrize("kind", ["dataclass", "validated dataclass", "struct", "model", "named tuple"])
def test_a_new_field_takes_its_default(kind: str) -> None:
    before, grown, _ = versions()[kind]
    back = version(grown).decode(version(before).encode(before(name="x")))
    assert (back.name, back.more, back.size) == ("x", [], 3)
    assert type(back) is grown


def test_a_new_field_of_a_model_does_not_count_as_set() -> None:
    before, grown, _ = versions()["model"]
    assert version(grown).decode(version(before).encode(before(name="x"))).model_fields_set == {"name"}


@pytest.mark.parametrize("kind", ["dataclass", "validated dataclass", "struct", "model", "named tuple"])
def test_a_new_field_without_a_default_is_an_error(kind: str) -> None:
    before, _, demanding = versions()[kind]
    with pytest.raises(DecodeError, match=r"size"):
        version(demanding).decode(version(before).encode(before(name="x")))


@pytest.mark.parametrize("kind", ["dataclass", "struct", "model", "named tuple"])
def test_a_removed_field_is_an_error_and_not_dropped(kind: str) -> None:
    before, grown, _ = versions()[kind]
    with pytest.raises(DecodeError, match=r"has no field"):
        version(before).decode(version(grown).encode(grown(name="x")))


def _enum(**members: Any) -> Any:
    return Enum("Made", members)


@pytest.mark.parametrize("members", [{"ADDED": auto(), "KEPT": auto()}, {"KEPT": "another value"}])
def test_a_member_of_an_enum_keeps_its_meaning_when_values_change(members: dict[str, Any]) -> None:
    before, after = _enum(KEPT=1), _enum(**members)
    assert reader(after).decode(reader(before).encode(before.KEPT)) is after.KEPT


WIDENED: list[tuple[Callable[[Any], Any], str]] = [
    (lambda cls: cls | None, "optional"),
    (lambda cls: cls | str, "or text"),
]


@pytest.mark.parametrize(("widen", "_name"), WIDENED)
def test_a_declared_class_may_become_a_member_of_a_union(widen: Callable[[Any], Any], _name: str) -> None:
    @dataclasses.dataclass
    class Kept:
        name: str

    stored = reader(Kept).encode(Kept("x"))
    assert reader(widen(Kept)).decode(stored) == Kept("x")


def test_a_declared_class_reads_an_instance_stored_as_any_under_its_tag() -> None:
    @dataclasses.dataclass
    class Kept:
        name: str

    stored = Codec([Kept]).of(Any, where="channel 'x'").encode(Kept("x"))
    assert reader(Kept).decode(stored) == Kept("x")
