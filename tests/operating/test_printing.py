"""What commands print, as functions of values."""

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from durable_graph import DecodeError
from durable_graph.codec import Codec
from durable_graph.operating.printing import age, as_json, fields, printable, table, until
from durable_graph.operating.stored_values import plain_value

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59, "59s"), (60, "1m"), (7199, "1h"), (86_400, "1d"), (-5, "0s")]
)
def test_an_age_has_its_largest_unit(seconds: int, text: str) -> None:
    assert age(NOW - timedelta(seconds=seconds), NOW) == text


def test_a_due_time_is_the_time_until_then() -> None:
    assert until(NOW + timedelta(hours=3), NOW) == "in 3h"
    assert until(NOW, NOW) == "now"
    assert (until(None, NOW), age(None, NOW)) == ("", "")


def test_columns_are_aligned_and_long_cells_are_cut() -> None:
    lines = table(("A", "LONGER"), [("x", None), ("wide", "y" * 100), ("é", ("p", "q"))], longest=10)
    assert lines == ["A     LONGER", "x", "wide  yyyyyyy...", "é     p, q"]
    assert table(("A",), []) == []


def test_fields_without_a_value_are_left_out() -> None:
    assert fields([("thread", "t"), ("error", None), ("next", ()), ("run", 0)]) == ["thread  t", "run     0"]


@pytest.mark.parametrize(
    ("text", "shown"), [("a\nb", "a\\nb"), ("\x1b[2J", "\\x1b[2J"), ("é ☃", "é ☃"), ("\x9b", "\\x9b")]
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


class Parcel(msgspec.Struct):
    """A class of a program."""

    no: int
    sent: date


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        ({"a": [1, 2.5, "x", True]}, {"a": [1, 2.5, "x", True]}),
        ((1, 2), [1, 2]),
        ({3}, [3]),
        ({1: "one"}, {"1": "one"}),
        (Decimal("1.50"), "1.50"),
        (date(2026, 5, 4), "2026-05-04"),
        (1 << 70, str(1 << 70)),
        (b"\xff", "b'\\xff'"),
        ([Parcel(7, date(2026, 5, 4))], [{"$type": "Parcel", "value": {"no": 7, "sent": "2026-05-04"}}]),
    ],
    ids=str,
)
def test_stored_values_are_shown_as_plain_data(value: Any, plain: Any) -> None:
    data = Codec([Parcel]).of(Any, where="test").encode(value)
    assert plain_value(data) == plain
    msgspec.json.encode(plain_value(data))


def test_bytes_of_another_version_are_refused() -> None:
    for data in (b"", b"\x09\x00", b"\x01"):
        with pytest.raises(DecodeError):
            plain_value(data)


def test_json_has_times_in_iso_8601() -> None:
    assert as_json({"at": NOW, "not a number": math.nan}) == (
        '{\n  "at": "2026-05-04T12:00:00Z",\n  "not a number": null\n}'
    )
