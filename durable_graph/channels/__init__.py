"""The merge rules of channels: each makes a channel's new value of the writes of one superstep."""

from durable_graph.channels.accumulated import Accumulated, is_stored_as_updates
from durable_graph.channels.channel import MISSING, Channel, Declarable, Missing, NewId, UpdateRefused
from durable_graph.channels.empty import concrete_type, empty_value, is_empty
from durable_graph.channels.former import merged_by_mark
from durable_graph.channels.joined import Joined
from durable_graph.channels.last_value import AnyValue, EphemeralValue, LastValue, UntrackedValue
from durable_graph.channels.messages import (
    REMOVE_ALL_MESSAGES,
    FormattedMessages,
    Messages,
    RemoveMessage,
    add_messages,
    can_hold_messages,
)
from durable_graph.channels.overwrite import Overwrite, overwritten_by
from durable_graph.channels.reduced import Reduced
from durable_graph.channels.topic import Topic
from durable_graph.channels.values import Values, changed, selected

__all__ = [
    "MISSING",
    "REMOVE_ALL_MESSAGES",
    "Accumulated",
    "AnyValue",
    "Channel",
    "Declarable",
    "EphemeralValue",
    "FormattedMessages",
    "Joined",
    "LastValue",
    "Messages",
    "Missing",
    "NewId",
    "Overwrite",
    "Reduced",
    "RemoveMessage",
    "Topic",
    "UntrackedValue",
    "UpdateRefused",
    "Values",
    "add_messages",
    "can_hold_messages",
    "changed",
    "concrete_type",
    "empty_value",
    "is_empty",
    "is_stored_as_updates",
    "merged_by_mark",
    "overwritten_by",
    "selected",
]
