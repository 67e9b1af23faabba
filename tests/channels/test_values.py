"""Values with layered changes are equal to a dict with the same changes."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph.channels.channel import MISSING
from durable_graph.channels.values import LAYER, changed, selected

KEYS = [f"k{number}" for number in range(2 * LAYER)]
CHANGES = st.dictionaries(st.sampled_from(KEYS), st.one_of(st.integers(), st.just(MISSING)), max_size=LAYER)


@given(st.dictionaries(st.sampled_from(KEYS), st.integers()), st.lists(CHANGES, max_size=8))
def test_values_with_layered_changes_read_like_a_changed_dict(
    start: dict[str, int], steps: list[dict[str, object]]
) -> None:
    expected: dict[str, object] = dict(start)
    values: Mapping[str, object] = changed(start, {})
    before: list[tuple[Mapping[str, object], dict[str, object]]] = []

    for changes in steps:
        before.append((values, dict(expected)))
        values = changed(values, changes)
        for key, value in changes.items():
            expected[key] = value
        expected = {key: value for key, value in expected.items() if value is not MISSING}

    assert values == expected
    assert dict(values) == expected
    assert len(values) == len(expected)
    assert [key in values for key in KEYS] == [key in expected for key in KEYS]
    assert [values.get(key, "none") for key in KEYS] == [expected.get(key, "none") for key in KEYS]
    assert selected(values, KEYS) == expected
    for chosen in (KEYS, KEYS[::2], sorted(expected), sorted(expected, reverse=True)):
        in_order = [(key, expected[key]) for key in chosen if key in expected]
        assert list(selected(values, dict.fromkeys(chosen)).items()) == in_order
    # The earlier values are unchanged.
    assert all(earlier == copy for earlier, copy in before)


def test_reading_a_key_without_a_value_raises_key_error() -> None:
    values = changed({"a": 1, "b": 2}, {"a": MISSING})

    for key in ("a", "c"):
        with pytest.raises(KeyError, match=key):
            values[key]
