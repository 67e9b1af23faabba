"""The rules that users declare in annotations."""

from collections.abc import Sequence
from typing import Any

import pytest

from durable_graph import AnyValue, EphemeralValue, LastValue, Topic, UntrackedValue
from durable_graph.channels import MISSING, Declarable, UpdateRefused

TRANSIENT: list[Declarable] = [AnyValue(int), EphemeralValue(int), EphemeralValue(int, guard=False), Topic(int)]
LASTING: list[Declarable] = [LastValue(int), UntrackedValue(int), Topic(int, accumulate=True)]


def drawn() -> str:
    """No rule but that of messages draws an id."""
    raise AssertionError


@pytest.mark.parametrize("rule", [AnyValue(int), EphemeralValue(int, guard=False), UntrackedValue(int, guard=False)])
def test_the_last_of_several_writes_in_task_order_is_the_value(rule: Declarable) -> None:
    assert not rule.takes_one_write
    assert rule.merge(1, [2, 3]) == 3


@pytest.mark.parametrize("rule", [LastValue(int), EphemeralValue(int), UntrackedValue(int)])
def test_a_guarded_rule_takes_one_write(rule: Declarable) -> None:
    assert rule.takes_one_write
    assert rule.merge(1, [2]) == 2


@pytest.mark.parametrize("rule", TRANSIENT)
def test_a_transient_value_is_removed_in_a_superstep_without_a_write(rule: Declarable) -> None:
    assert rule.is_transient
    assert rule.merge(1, []) is MISSING


def test_a_lasting_value_is_kept_in_a_superstep_without_a_write() -> None:
    assert [rule.is_transient for rule in LASTING] == [False, False, False]
    assert [LASTING[0].merge(1, []), LASTING[1].merge(1, []), LASTING[2].merge([1], [])] == [1, 1, [1]]


@pytest.mark.parametrize("rule", [*TRANSIENT, *LASTING])
def test_a_channel_has_no_value_before_the_first_write(rule: Declarable) -> None:
    assert rule.initial() is MISSING


def test_only_an_untracked_value_is_not_stored() -> None:
    assert [type(rule) for rule in (*TRANSIENT, *LASTING) if not rule.is_stored] == [UntrackedValue]


def test_a_topic_starts_again_in_each_superstep() -> None:
    rule = Topic(int)

    assert rule.merge([1], [[2], [3, 4]]) == [2, 3, 4]
    assert rule.merge([1], [[]]) is MISSING
    assert not rule.stores_updates


def test_a_topic_that_accumulates_stores_its_updates() -> None:
    rule = Topic(int, accumulate=True)

    assert rule.merge([1], [[2], [3, 4]]) == [1, 2, 3, 4]
    assert rule.stores_updates


def test_a_write_to_a_topic_is_an_item_or_a_list_of_items() -> None:
    rule = Topic(Any)

    assert rule.prepare(1, drawn) == [1]
    assert rule.prepare([1, 2], drawn) == [1, 2]
    assert rule.prepare((1, 2), drawn) == [(1, 2)]
    assert rule.prepare([[1, 2]], drawn) == [[1, 2]]


@pytest.mark.parametrize(
    ("declared", "rule", "expected"),
    [
        (list[str], Topic(), list[str]),
        (Sequence[str], Topic(), list[str]),
        (list, Topic(int), list[int]),
        (list, Topic(), list[Any]),
    ],
)
def test_the_item_type_of_a_topic_comes_from_the_annotation_or_the_rule(
    declared: Any, rule: Topic, expected: Any
) -> None:
    assert rule.on(declared).declared == expected


@pytest.mark.parametrize("declared", [str, int, dict[str, int], tuple[int, ...]])
def test_a_topic_of_anything_but_a_list_is_refused(declared: Any) -> None:
    with pytest.raises(UpdateRefused, match="a Topic holds a list"):
        Topic().on(declared)


@pytest.mark.parametrize(
    "rule", [LastValue(str), AnyValue(str), EphemeralValue(str, guard=False), UntrackedValue(str, guard=False)]
)
def test_the_type_comes_from_the_annotation_and_the_guard_from_the_rule(rule: Declarable) -> None:
    on = rule.on(int)

    assert (type(on), on.declared, on.takes_one_write) == (type(rule), int, rule.takes_one_write)
