"""The rules of the directory of threads: prefixes, metadata and their digests."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph.checkpointing.directory import MOST_METADATA_BYTES
from durable_graph.checkpointing.directory_rules import (
    after_prefix,
    decoded_metadata,
    encoded_metadata,
    entries_in,
    entries_of,
    merged_metadata,
)
from durable_graph.errors import CorruptCheckpointError, InvalidOptionError

EDGES = "a/\x00\x7f\ud7ff\ue000\uffff\U00010000\U0010ffff"

texts = st.text(st.sampled_from(EDGES) | st.characters(exclude_categories=["Cs"]), max_size=4)


@given(texts, texts)
def test_a_text_has_a_prefix_exactly_if_it_is_between_its_bounds(prefix: str, text: str) -> None:
    following = after_prefix(prefix)

    assert (text >= prefix and (following is None or text < following)) == text.startswith(prefix)
    # The order of characters is the order of their bytes, in which databases compare.
    if following is not None:
        assert (text.encode() < following.encode()) == (text < following)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.sampled_from("ab\0"), max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)
metadata = st.dictionaries(st.text(st.sampled_from("ab\0é"), max_size=2), json_values, max_size=4)


@given(metadata)
def test_metadata_are_stored_unchanged_and_found_by_each_of_their_keys(given: dict[str, Any]) -> None:
    encoded = encoded_metadata(given)

    assert decoded_metadata(encoded) == given
    assert entries_in(encoded) == entries_of(given)
    assert set(entries_of(given)) == {entry for key, value in given.items() for entry in entries_of({key: value})}
    assert len(entries_of(given)) == len(given)


def _is_same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON: Python has True == 1, too."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return bool(one == other)


@given(json_values, json_values)
def test_values_have_one_digest_exactly_if_they_are_the_same_json(one: Any, other: Any) -> None:
    assert (entries_of({"key": one}) == entries_of({"key": other})) == _is_same(one, other)


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (0, -0.0), ([{"a": 2.0}], [{"a": 2}]), (1 << 60, float(1 << 60))])
def test_equal_numbers_have_one_digest(one: Any, other: Any) -> None:
    assert entries_of({"key": one}) == entries_of({"key": other})


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), 1 << 63, b"x", {1}, object(), "\ud800", {"\ud800": 1}, {1: 2}, [b""], (1, {2})],
)
def test_values_that_are_no_json_are_refused_by_their_key(value: Any) -> None:
    with pytest.raises(InvalidOptionError, match=r"metadata\['key'\]="):
        encoded_metadata({"key": value})


@pytest.mark.parametrize("given", [1, "text", [], [("a", 1)], None])
def test_metadata_that_are_no_dict_are_refused(given: Any) -> None:
    with pytest.raises(InvalidOptionError, match="metadata="):
        encoded_metadata(given)


@pytest.mark.parametrize("key", [1, None, "\ud800"])
def test_keys_that_are_no_text_are_refused(key: Any) -> None:
    with pytest.raises(InvalidOptionError, match="metadata"):
        encoded_metadata({key: 1})


def test_metadata_that_contain_themselves_are_refused() -> None:
    looped: dict[str, Any] = {}
    looped["again"] = [looped]

    with pytest.raises(InvalidOptionError):
        encoded_metadata(looped)


def test_the_limit_is_counted_in_bytes_of_the_whole_object() -> None:
    empty = len(msgspec.json.encode({"key": ""}))
    full = {"key": "é" * ((MOST_METADATA_BYTES - empty) // 2)}

    assert len(encoded_metadata(full).encode()) in (MOST_METADATA_BYTES - 1, MOST_METADATA_BYTES)
    with pytest.raises(InvalidOptionError, match=f"{MOST_METADATA_BYTES} bytes"):
        encoded_metadata({"key": full["key"] + "éé"})
    with pytest.raises(InvalidOptionError):
        merged_metadata("thread", encoded_metadata(full), '{"other":1}')


@pytest.mark.parametrize("stored", ["", "[]", "{", '{"a":\xff}', "[" * 100_000])
def test_damaged_metadata_are_not_updated(stored: str) -> None:
    with pytest.raises(CorruptCheckpointError, match="the row of its metadata"):
        merged_metadata("thread", stored, "{}")
