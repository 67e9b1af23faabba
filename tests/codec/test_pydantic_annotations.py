"""Pydantic's field types: their values round-trip, or the error names the type to declare instead."""

import datetime as dt
import operator
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, TypedDict, Union
from uuid import UUID

import pydantic
import pytest
from pydantic import networks, types

from durable_graph import START, GraphValidationError, LastValue, StateGraph, UntrackedValue
from durable_graph.channels import Accumulated
from durable_graph.codec import Codec
from durable_graph.errors import UnstorableValueError
from durable_graph.graph import Schema
from tests.codec.identical import identical
from tests.errors.kinds import of_kind
from tests.graph.state_makers import as_model, as_typed_dict

AWARE, NAIVE = dt.datetime(2024, 1, 2, tzinfo=dt.UTC), dt.datetime(2024, 1, 2)  # noqa: DTZ001 - the subject of the test
ID = UUID(int=1)

PLAIN: dict[str, tuple[Any, Any]] = {
    "AwareDatetime": (pydantic.AwareDatetime, AWARE),
    "NaiveDatetime": (pydantic.NaiveDatetime, NAIVE),
    "PastDatetime": (pydantic.PastDatetime, AWARE),
    "FutureDatetime": (pydantic.FutureDatetime, dt.datetime(9024, 1, 2, tzinfo=dt.UTC)),
    "PastDate": (pydantic.PastDate, dt.date(2024, 1, 2)),
    "FutureDate": (pydantic.FutureDate, dt.date(9024, 1, 2)),
    "EmailStr": (pydantic.EmailStr, "amy@example.com"),
    "Json": (pydantic.Json, {"a": [1]}),
    "JsonValue": (pydantic.JsonValue, {"a": [1, None, "x"]}),
    "StrictBool": (pydantic.StrictBool, True),
    "StrictBytes": (pydantic.StrictBytes, b"x"),
    "StrictInt": (pydantic.StrictInt, 1),
    "StrictFloat": (pydantic.StrictFloat, 1.5),
    "StrictStr": (pydantic.StrictStr, "x"),
    "PositiveInt": (pydantic.PositiveInt, 1),
    "NegativeInt": (pydantic.NegativeInt, -1),
    "NonNegativeInt": (pydantic.NonNegativeInt, 0),
    "NonPositiveInt": (pydantic.NonPositiveInt, 0),
    "PositiveFloat": (pydantic.PositiveFloat, 1.5),
    "NegativeFloat": (pydantic.NegativeFloat, -1.5),
    "NonNegativeFloat": (pydantic.NonNegativeFloat, 0.0),
    "NonPositiveFloat": (pydantic.NonPositiveFloat, 0.0),
    "FiniteFloat": (pydantic.FiniteFloat, 1.5),
    "UUID1": (pydantic.UUID1, ID),
    "UUID3": (pydantic.UUID3, ID),
    "UUID4": (pydantic.UUID4, ID),
    "UUID5": (pydantic.UUID5, ID),
    "UUID6": (pydantic.UUID6, ID),
    "UUID7": (pydantic.UUID7, ID),
    "UUID8": (pydantic.UUID8, ID),
    "FilePath": (pydantic.FilePath, Path("a")),
    "DirectoryPath": (pydantic.DirectoryPath, Path("a")),
    "NewPath": (pydantic.NewPath, Path("a")),
    "SocketPath": (pydantic.SocketPath, Path("a")),
    "Base64Bytes": (pydantic.Base64Bytes, b"x"),
    "Base64Str": (pydantic.Base64Str, "x"),
    "Base64UrlBytes": (pydantic.Base64UrlBytes, b"x"),
    "Base64UrlStr": (pydantic.Base64UrlStr, "x"),
    "OnErrorOmit": (list[pydantic.OnErrorOmit[int]], [1]),
    "conint": (pydantic.conint(gt=0), 1),
    "confloat": (pydantic.confloat(gt=0), 1.5),
    "constr": (pydantic.constr(max_length=3), "x"),
    "conbytes": (pydantic.conbytes(max_length=3), b"x"),
    "condecimal": (pydantic.condecimal(gt=Decimal(0)), Decimal("1.50")),
    "condate": (pydantic.condate(gt=dt.date(2000, 1, 1)), dt.date(2024, 1, 2)),
    "conlist": (pydantic.conlist(int, max_length=3), [1]),
    "conset": (pydantic.conset(int, max_length=3), {1}),
    "confrozenset": (pydantic.confrozenset(int, max_length=3), frozenset({1})),
}
OTHER: dict[str, tuple[Any, Any]] = {
    "Json of a type": (pydantic.Json[list[int]], [1]),
    "InstanceOf": (pydantic.InstanceOf[int], 1),
    "SkipValidation": (pydantic.SkipValidation[int], 1),
    "SerializeAsAny": (pydantic.SerializeAsAny[int], 1),
    "nested": (dict[str, list[pydantic.AwareDatetime | None]], {"a": [AWARE, None]}),
    "union of two datetime types": (pydantic.AwareDatetime | pydantic.NaiveDatetime, NAIVE),
    "union with str": (Union[pydantic.EmailStr, pydantic.PastDate, int], "amy@example.com"),  # noqa: UP007
}
INSTEAD: dict[str, Any] = {
    **dict.fromkeys(("SecretStr", "SecretBytes", "Secret"), UntrackedValue),
    **dict.fromkeys(("NameEmail", "IPvAnyAddress", "IPvAnyInterface", "IPvAnyNetwork", "ImportString"), str),
    **{name: str for name in networks.__all__ if name.endswith(("Url", "Dsn"))},
    "PaymentCardNumber": str,
    "ByteSize": int,
}
NO_TYPES = {
    *("Strict", "AllowInfNan", "EncoderProtocol", "EncodedBytes", "EncodedStr", "Base64Encoder", "GetPydanticSchema"),
    *("StringConstraints", "Tag", "Discriminator", "FailFast", "UrlConstraints", "validate_email"),
}
"""Names that pydantic exports besides types: markers for `Annotated`, and functions."""


def exported(name: str) -> Any:
    return getattr(pydantic, name, None) or getattr(types, name)


def test_every_name_that_pydantic_exports_is_in_a_table() -> None:
    assert {*types.__all__, *networks.__all__} == PLAIN.keys() | INSTEAD.keys() | NO_TYPES


@pytest.mark.parametrize("name", [*PLAIN, *OTHER])
def test_values_of_pydantic_annotation_types_round_trip_as_plain_values(name: str) -> None:
    declared, value = {**PLAIN, **OTHER}[name]
    model = as_model(declared, "value")
    # A checker knows nothing of such a type.
    container: Any = list
    for whole, given in (
        (declared, value),
        (operator.getitem(container, declared), [value] * 5),
        (as_typed_dict(declared, "value"), {"value": value}),
        (model, model.model_construct(value=value)),
    ):
        codec = Codec().of(whole, where="channel 'x'")
        assert identical(codec.decode(codec.encode(given)), given)


def test_a_value_of_another_class_than_the_annotation_declares_is_refused() -> None:
    for declared, value in ((pydantic.AwareDatetime, "2024"), (pydantic.EmailStr, 1), (pydantic.PastDate, AWARE)):
        with pytest.raises(UnstorableValueError, match="is declared"):
            Codec().of(declared, where="channel 'x'").encode(value)


async def node(given: Any) -> None:
    """Write nothing."""


def compiles(declared: Any) -> bool:
    return StateGraph(as_typed_dict(declared)).add_node("node", node).add_edge(START, "node").compile() is not None


@pytest.mark.parametrize("name", INSTEAD)
@pytest.mark.filterwarnings("ignore:PaymentCardNumber:DeprecationWarning")
def test_the_alternative_named_by_a_refusal_compiles(name: str) -> None:
    declared, instead = exported(name), INSTEAD[name]
    advised = f"Annotated[{name}, UntrackedValue]" if instead is UntrackedValue else f"declare {instead.__name__}, and"
    with pytest.raises(GraphValidationError, check=of_kind("type")) as caught:
        Codec().of(declared, where="channel 'x'")
    assert advised in str(caught.value)
    assert len(str(caught.value)) <= 400
    with pytest.raises(GraphValidationError, check=of_kind("graph")):
        compiles(declared)
    assert compiles(Annotated[declared, UntrackedValue] if instead is UntrackedValue else instead)


class Marked(TypedDict):
    plain: pydantic.Json[list[int]]
    merged: Annotated[pydantic.Json[list[int]], operator.add]


def test_a_marker_class_in_an_annotation_is_no_reducer() -> None:
    assert Schema.of(Marked).channels() == {
        "plain": LastValue(list[int]),
        "merged": Accumulated(list[int], operator.add),
    }
