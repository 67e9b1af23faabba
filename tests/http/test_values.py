"""Values of a state as JSON."""

import dataclasses
import json
import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec
import pydantic
import pytest
from langchain_core.messages import AIMessage

from durable_graph_http.values import encoded


class Point(msgspec.Struct):
    x: int
    y: Any


@dataclasses.dataclass
class Named:
    name: str
    inner: Any = None


class Color(Enum):
    RED = "red"


class Model(pydantic.BaseModel):
    text: str


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (10**400, 10**400),
        (-(2**64), -(2**64)),
        ({"a": [2**64, Point(1, 2**70)]}, {"a": [2**64, {"x": 1, "y": 2**70}]}),
        (math.nan, None),
        (math.inf, None),
        ({1: "a", (1, 2): "b", None: "c"}, {"1": "a", "(1, 2)": "b", "None": "c"}),
        ({"\ud800": "\udfff"}, {"\\ud800": "\\udfff"}),
        (b"bytes", "Ynl0ZXM="),
        ({"set": {1}}, {"set": [1]}),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00Z"),
        (Named("a", Named("b", 2**65)), {"name": "a", "inner": {"name": "b", "inner": 2**65}}),
        (Model(text="a"), {"text": "a"}),
        (ValueError("no"), {"error": "ValueError", "message": "no"}),
        ([Model(text="a"), 2**64], [{"text": "a"}, 2**64]),
        (
            {(1, 2): [datetime(2026, 1, 2, tzinfo=UTC), Decimal("1.50"), UUID(int=1), Color.RED, timedelta(seconds=1)]},
            {"(1, 2)": ["2026-01-02T00:00:00Z", "1.50", str(UUID(int=1)), "red", "PT1S"]},
        ),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_every_value_has_json(value: Any, expected: Any) -> None:
    assert json.loads(encoded(value)) == expected


def test_a_message_is_the_object_of_its_fields() -> None:
    found = json.loads(encoded(AIMessage("hello", id="1")))
    assert (found["type"], found["content"], found["id"]) == ("ai", "hello", "1")


def test_a_value_that_is_nested_without_end_is_cut() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    assert encoded(deep).count(b"[") >= 50


def test_an_object_of_any_class_is_its_text() -> None:
    assert json.loads(encoded({"a": object()}))["a"].startswith("<object object")
