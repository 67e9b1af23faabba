"""The channels that store their writes instead of their value."""

import operator
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from durable_graph.channels import MISSING, concrete_type, empty_value, is_stored_as_updates


class Callable2:
    """A reducer that cannot be hashed."""

    __hash__ = None  # type: ignore[assignment]  # what the test is about

    def __call__(self, value: Any, write: Any) -> Any:
        return value


@pytest.mark.parametrize("declared", [list, list[str], Sequence[str], tuple, tuple[int, ...], str, bytes])
def test_types_that_add_concatenates_are_stored_as_updates(declared: Any) -> None:
    assert is_stored_as_updates(declared, operator.add)


@pytest.mark.parametrize("declared", [dict[str, int], Mapping[str, int], set[int], frozenset[int]])
def test_types_that_a_union_merges_are_stored_as_updates(declared: Any) -> None:
    assert is_stored_as_updates(declared, operator.or_)


@pytest.mark.parametrize(
    ("declared", "reducer"),
    [
        (int, operator.add),
        (tuple[int, str], operator.add),
        (list[int], operator.or_),
        (set[int], operator.add),
        (list[int], lambda value, write: value + write),
        (list[int], Callable2()),
        (list[int] | None, operator.add),
        (deque[int], operator.add),
    ],
)
def test_other_types_and_reducers_are_stored_whole(declared: Any, reducer: Any) -> None:
    assert not is_stored_as_updates(declared, reducer)


@pytest.mark.parametrize(
    ("declared", "empty"),
    [(list[int], []), (Sequence[int], []), (Mapping[str, int], {}), (int, 0), (str, ""), (tuple[int, ...], ())],
)
def test_a_standard_type_has_an_empty_value(declared: Any, empty: Any) -> None:
    assert empty_value(declared) == empty
    assert concrete_type(declared) is type(empty)


@pytest.mark.parametrize("declared", [Callable2, int | None, Any])
def test_a_custom_class_is_never_called_for_an_empty_value(declared: Any) -> None:
    assert empty_value(declared) is MISSING
