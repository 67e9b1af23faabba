"""Updates that were stored for a rule that the channel no longer has."""

import operator
from typing import Any

import pytest

from durable_graph import RemoveMessage, Topic
from durable_graph.channels import MISSING, Accumulated, Messages, UpdateRefused, merged_by_mark

ONE, TWO = {"id": "1", "content": "a"}, {"id": "1", "content": "b"}


@pytest.mark.parametrize(
    ("rule", "current", "updates"),
    [
        (Accumulated(list[int], operator.add), MISSING, [[1], [2, 3]]),
        (Accumulated(list[int], operator.add), [0], [[1]]),
        (Accumulated(str, operator.add), MISSING, ["a", "b"]),
        (Accumulated(dict[str, int], operator.or_), MISSING, [{"a": 1}, {"a": 2}]),
        (Accumulated(frozenset[int], operator.or_), frozenset({0}), [frozenset({1})]),
        (Topic(int, accumulate=True), MISSING, [[1], [2]]),
        (Messages(list[Any]), [ONE], [[TWO], [{"id": "2"}]]),
        (Messages(list[Any]), MISSING, [[ONE, {"id": "2"}], [RemoveMessage("1")]]),
    ],
)
def test_updates_of_a_former_rule_are_merged_by_that_rule(rule: Any, current: Any, updates: list[Any]) -> None:
    begun = rule.initial() if current is MISSING else current

    assert merged_by_mark(rule.mark, current, updates) == rule.merge(begun, updates)


@pytest.mark.parametrize(
    ("mark", "updates"), [(9, [[1]]), (0, [[1], "a"]), (0, [None, None]), (1, [[1], None]), (2, [[1]])]
)
def test_updates_that_no_rule_can_merge_are_refused(mark: int, updates: list[Any]) -> None:
    with pytest.raises(UpdateRefused):
        merged_by_mark(mark, MISSING, updates)
