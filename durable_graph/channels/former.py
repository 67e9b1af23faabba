"""What stored updates come to under the rule that they were written for, whatever rule the channel has today."""

import operator
from collections.abc import Sequence
from typing import Any

from durable_graph.channels.accumulated import Accumulated
from durable_graph.channels.channel import Channel
from durable_graph.channels.messages import Messages
from durable_graph.channels.topic import Topic

_MERGED_BY_OR = (dict, set, frozenset)


def merged_by_mark(mark: int, current: Any, updates: Sequence[Any]) -> Any:
    """The value after these updates, which carry the mark of their rule. `current` is MISSING where there was none.

    Raises `LookupError` for a mark that no rule has, and what merging raises.
    """
    return _rule(mark, updates).merge(current, updates)


def _rule(mark: int, updates: Sequence[Any]) -> Channel:
    rules: tuple[Channel, ...] = (
        Accumulated(Any, operator.or_ if isinstance(updates[0], _MERGED_BY_OR) else operator.add),
        Topic(accumulate=True),
        Messages(list[Any]),
    )
    return next(rule for rule in rules if rule.mark == mark)
