"""Merging stored updates by the rule for which they were written, when the channel may have another rule now."""

import operator
from collections.abc import Sequence
from typing import Any

from durable_graph.channels.accumulated import Accumulated
from durable_graph.channels.channel import Channel, UpdateRefused
from durable_graph.channels.messages import Messages
from durable_graph.channels.topic import Topic

_MERGED_BY_OR = (dict, set, frozenset)


def merged_by_mark(mark: int, current: Any, updates: Sequence[Any]) -> Any:
    """The value after these updates, merged by the rule with this mark. `current` is MISSING if there was no value.

    Raises `UpdateRefused` for an unknown mark, and for updates that do not fit the rule.
    """
    rule = _rule(mark, updates)
    try:
        return rule.merge(current, updates)
    except (TypeError, AttributeError) as error:
        why = f"its updates do not fit the rule that they were written for: {error}"
        raise UpdateRefused(why) from error


def _rule(mark: int, updates: Sequence[Any]) -> Channel:
    rules: tuple[Channel, ...] = (
        Accumulated(Any, operator.or_ if isinstance(updates[0], _MERGED_BY_OR) else operator.add),
        Topic(accumulate=True),
        Messages(list[Any]),
    )
    for rule in rules:
        if rule.mark == mark:
            return rule
    why = f"its updates were written for a rule with the mark {mark}, which does not exist"
    raise UpdateRefused(why)
