"""How the writes of one superstep become a channel's new value: one merge rule a file."""

from durable_graph.channels.accumulated import Accumulated, is_stored_as_updates
from durable_graph.channels.channel import MISSING, Channel, Missing
from durable_graph.channels.empty import concrete_type, empty_value
from durable_graph.channels.joined import Joined
from durable_graph.channels.last_value import LastValue
from durable_graph.channels.reduced import Reduced

__all__ = [
    "MISSING",
    "Accumulated",
    "Channel",
    "Joined",
    "LastValue",
    "Missing",
    "Reduced",
    "concrete_type",
    "empty_value",
    "is_stored_as_updates",
]
