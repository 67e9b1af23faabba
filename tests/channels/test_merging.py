"""The laws of merging, for every rule that a channel can have."""

import copy
import operator
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durable_graph import LastValue, RemoveMessage, Topic
from durable_graph.channels import MISSING, Accumulated, Channel, Joined, Messages, Reduced

_MESSAGES = st.lists(
    st.one_of(
        st.builds(lambda id_, text: {"id": id_, "content": text}, st.sampled_from("abc"), st.text(max_size=2)),
        st.just(RemoveMessage("__remove_all__")),
    ),
    max_size=4,
)
_RULES: list[tuple[Channel, st.SearchStrategy[Any]]] = [
    (Accumulated(list[int], operator.add), st.lists(st.integers(), max_size=4)),
    (Accumulated(list[int], operator.concat), st.lists(st.integers(), max_size=4)),
    (Accumulated(tuple[int, ...], operator.add), st.lists(st.integers(), max_size=4).map(tuple)),
    (Accumulated(str, operator.add), st.text(max_size=4)),
    (Accumulated(bytes, operator.add), st.binary(max_size=4)),
    (Accumulated(dict[str, int], operator.or_), st.dictionaries(st.text(max_size=4), st.integers(), max_size=4)),
    (Accumulated(set[int], operator.or_), st.sets(st.integers(), max_size=4)),
    (Accumulated(frozenset[int], operator.or_), st.frozensets(st.integers(), max_size=4)),
    (Accumulated(list[int] | None, operator.add, is_optional=True), st.none() | st.lists(st.integers(), max_size=4)),
    (Topic(int, accumulate=True), st.lists(st.integers(), max_size=4)),
    (Messages(list[Any]), _MESSAGES),
]
_WRITES: st.SearchStrategy[tuple[Channel, list[Any]]] = st.sampled_from(_RULES).flatmap(
    lambda rule: st.tuples(st.just(rule[0]), st.lists(rule[1], max_size=5))
)


class Counted(list[int]):
    """A list class of the user."""


def one_by_one(rule: Channel, current: Any, updates: list[Any]) -> Any:
    for update in updates:
        current = rule.merge(current, [update])
    return current


@settings(deadline=None)
@given(_WRITES, st.integers(0, 5))
def test_merging_does_not_depend_on_the_boundaries_of_supersteps(case: tuple[Channel, list[Any]], cut: int) -> None:
    rule, updates = case
    at_once = rule.merge(rule.initial(), updates)

    assert rule.merge(rule.merge(rule.initial(), updates[:cut]), updates[cut:]) == at_once
    assert one_by_one(rule, rule.initial(), updates) == at_once


@settings(deadline=None)
@given(_WRITES, st.lists(st.integers(0, 5), max_size=3).map(sorted))
def test_merging_in_pieces_equals_merging_at_once(case: tuple[Channel, list[Any]], cuts: list[int]) -> None:
    rule, updates = case
    current = rule.merge(rule.initial(), updates)
    before = copy.deepcopy((current, updates))
    at_once = rule.merge(current, updates)

    merging = rule.merging(current)
    for start, end in zip([0, *cuts], [*cuts, None], strict=True):
        merging.add(updates[start:end])
    in_pieces = merging.value()

    assert in_pieces == at_once
    assert type(in_pieces) is type(at_once)
    assert (current, updates) == before


def test_updates_of_another_class_merge_in_pieces_as_they_do_at_once() -> None:
    rule = Accumulated(list[int], operator.add)
    updates = [[1], Counted([2]), [3]]

    merging = rule.merging(Counted([0]))
    for update in updates:
        merging.add([update])
    grown = rule.merging([0])
    grown.add([[1]])

    assert merging.value() == rule.merge(Counted([0]), updates) == [0, 1, 2, 3]
    with pytest.raises(TypeError, match="concatenate"):
        grown.add([(2,)])


@settings(deadline=None)
@given(_WRITES)
def test_merging_changes_neither_the_current_value_nor_the_writes(case: tuple[Channel, list[Any]]) -> None:
    rule, updates = case
    current = rule.merge(rule.initial(), updates)
    before = copy.deepcopy((current, updates))

    rule.merge(current, updates)

    assert (current, updates) == before


@settings(deadline=None)
@given(_WRITES)
def test_merging_no_writes_keeps_the_value(case: tuple[Channel, list[Any]]) -> None:
    rule, updates = case
    current = rule.merge(rule.initial(), updates)

    assert rule.merge(current, []) == current


def test_a_merge_into_a_list_makes_a_new_list() -> None:
    rule = Accumulated(list[int], operator.add)
    first = rule.merge(rule.initial(), [[1]])
    second = rule.merge(first, [[2], [3]])

    assert (first, second) == ([1], [1, 2, 3])


@pytest.mark.parametrize(("rule", "_updates"), [case for case in _RULES if isinstance(case[0], Accumulated)])
def test_the_first_write_is_the_value_of_an_accumulated_channel_without_a_value(
    rule: Channel, _updates: object
) -> None:
    one = [] if rule.initial() is MISSING else rule.initial()

    assert rule.merge(MISSING, [one, one]) == one


def test_a_write_that_the_operator_refuses_is_refused_among_any_number_of_writes() -> None:
    rule = Accumulated(Sequence[int], operator.add)

    for updates in ([(1,)], [(1,), [2]], [[1], (2,)]):
        with pytest.raises(TypeError, match="can only concatenate list"):
            rule.merge([], updates)
    assert rule.merge((1,), [(2,), (3,)]) == (1, 2, 3)


@pytest.mark.parametrize(
    ("rule", "one"),
    [
        (Accumulated(str, operator.add), "a"),
        (Accumulated(bytes, operator.add), b"a"),
        (Accumulated(tuple[int, ...], operator.add), (1,)),
    ],
)
def test_many_writes_are_joined_at_once_and_not_one_by_one(rule: Accumulated, one: Any) -> None:
    calls: list[Any] = []

    def add(value: Any, update: Any) -> Any:
        calls.append(update)
        return value + update

    counting = Accumulated(rule.declared, add)

    assert counting.merge(one, [one] * 500) == one * 501
    assert calls == []


class Loud(str):
    """A str class with its own `__add__`."""

    __slots__ = ()

    def __add__(self, other: str) -> "Loud":
        return Loud(f"{self!s}!{other}")


def test_a_str_subclass_is_merged_by_its_own_add_method() -> None:
    assert Accumulated(str, operator.add).merge(Loud("a"), ["b", "c"]) == "a!b!c"


def test_a_last_value_channel_keeps_the_last_write() -> None:
    rule = LastValue(str)

    assert rule.initial() is MISSING
    assert rule.merge("a", ["b"]) == "b"
    assert rule.merge("a", []) == "a"
    assert rule.takes_one_write


def test_a_custom_reducer_receives_the_current_value_and_one_write() -> None:
    calls: list[tuple[Any, Any]] = []

    def reducer(value: list[int], write: int) -> list[int]:
        calls.append((list(value), write))
        return [*value, write]

    assert Reduced(list[int], reducer).merge([], [1, 2]) == [1, 2]
    assert calls == [([], 1), ([1], 2)]


@pytest.mark.parametrize(
    ("declared", "reducer", "merged"), [(int, operator.add, 6), (int, max, 3), (set[int], set.union, {1, 2, 3})]
)
def test_a_reducer_starts_from_the_empty_value_of_its_type(
    declared: Any, reducer: Callable[[Any, Any], Any], merged: Any
) -> None:
    rule = Reduced(declared, reducer)
    updates = [{1}, {2}, {3}] if isinstance(merged, set) else [1, 2, 3]

    assert rule.merge(rule.initial(), updates) == merged


def test_the_first_write_is_the_value_of_a_reduced_channel_without_an_empty_value() -> None:
    rule = Reduced(complex | None, operator.mul)

    assert rule.initial() is MISSING
    assert rule.merge(MISSING, [2j]) == 2j
    assert rule.merge(MISSING, [2j, 2j]) == -4


@settings(deadline=None)
@given(st.lists(st.sampled_from("abc")))
def test_a_join_is_full_once_every_source_arrived_in_any_order(arrivals: list[str]) -> None:
    rule = Joined(frozenset("abc"))
    value = rule.merge(rule.initial(), arrivals)

    assert rule.is_full(value) == (set(arrivals) == set("abc"))
    assert one_by_one(rule, rule.initial(), arrivals) == value


def test_a_join_without_arrivals_is_not_full() -> None:
    rule = Joined(frozenset("ab"))

    assert rule.merge(rule.initial(), []) is MISSING
    assert not rule.is_full(MISSING)
