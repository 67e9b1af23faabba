"""Instances made through a parametrised class, and other attributes that Python or a library adds to an instance."""

import dataclasses
from collections import Counter, OrderedDict
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
import pydantic
import pytest
from pydantic.dataclasses import dataclass as validated_dataclass

from durable_graph.codec import Codec
from durable_graph.errors import UnstorableValueError
from tests.codec.identical import identical

T = TypeVar("T")


@dataclasses.dataclass
class AsDataclass(Generic[T]):
    value: T

    @cached_property
    def doubled(self) -> list[T]:
        return [self.value] * 2


@dataclasses.dataclass(frozen=True)
class AsFrozenDataclass(Generic[T]):
    value: T

    @cached_property
    def doubled(self) -> list[T]:
        return [self.value] * 2


@validated_dataclass
class AsValidatedDataclass(Generic[T]):
    value: T

    @cached_property
    def doubled(self) -> list[T]:
        return [self.value] * 2


class AsStruct(msgspec.Struct, Generic[T], dict=True):
    value: T

    @cached_property
    def doubled(self) -> list[T]:
        return [self.value] * 2


class AsModel(pydantic.BaseModel, Generic[T]):
    value: T
    _noted: list[T] = pydantic.PrivateAttr(default_factory=list)

    @pydantic.computed_field  # type: ignore[prop-decorator]  # as pydantic's manual has it
    @cached_property
    def doubled(self) -> list[T]:
        return [self.value] * 2


class Pair(NamedTuple, Generic[T]):
    value: T


class AsNamedTuple(Pair[T]):
    @cached_property
    def doubled(self) -> list[T]:
        return [self.value] * 2


CLASSES: list[Any] = [AsDataclass, AsFrozenDataclass, AsValidatedDataclass, AsStruct, AsModel, AsNamedTuple]


@pytest.mark.parametrize("cls", CLASSES)
def test_an_instance_of_a_parametrised_class_round_trips(cls: Any) -> None:
    value = cls[int](value=1)
    assert value.doubled == [1, 1]
    codec = Codec([cls])
    for declared, given in ((cls[int], value), (Any, value), (list[cls[int]], [value] * 8), (cls | None, value)):
        made = codec.of(declared, where="channel 'x'")
        back = made.decode(made.encode(given))
        assert back == given
        one = back[0] if declared == list[cls[int]] else back
        assert type(one) is type(value)
        assert one.doubled == [1, 1]


def test_the_private_attributes_of_a_model_round_trip() -> None:
    value = AsModel[int](value=1)
    value._noted.append(2)
    made = Codec().of(AsModel[int], where="channel 'x'")
    assert identical(made.decode(made.encode(value)), value)


@pytest.mark.parametrize("value", [Counter[str]("aab"), OrderedDict[str, int](a=1)])
def test_a_container_made_through_a_parametrised_class_round_trips(value: Any) -> None:
    for declared in (Counter[str] if isinstance(value, Counter) else OrderedDict[str, int], Any):
        made = Codec().of(declared, where="channel 'x'")
        assert identical(made.decode(made.encode(value)), value)


@pytest.mark.parametrize("cls", [AsDataclass, AsValidatedDataclass, AsStruct, AsNamedTuple])
def test_any_other_attribute_is_still_refused_by_name(cls: Any) -> None:
    value = cls[int](value=1)
    value.noted = 1
    with pytest.raises(UnstorableValueError, match="attributes that are not fields: noted") as caught:
        Codec().of(cls[int], where="channel 'x'").encode(value)
    assert "__orig_class__" not in str(caught.value)
