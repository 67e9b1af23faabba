"""The event stream of a graph's run."""

from collections.abc import Awaitable, Callable

from durable_graph._runtime.entry.subgraph import Nested, unfinished_child
from durable_graph._runtime.events.modes import View
from durable_graph._runtime.events.sink import EventSink
from durable_graph._runtime.events.stream import EventStream, OnDisconnect, OnSlowReader
from durable_graph._runtime.request.output import Ended, result_of
from durable_graph._runtime.request.run import Request
from durable_graph.errors import InvalidOptionError
from durable_graph.graph import Topology


def stream_of(
    topology: Topology,
    place: Nested | Request,
    run: Callable[[Nested | Request, EventSink], Awaitable[Ended]],
    on_slow_reader: OnSlowReader,
    on_disconnect: OnDisconnect,
    view: View | None = None,
) -> EventStream:
    """A stream that runs the graph once it is entered. Raises `InvalidOptionError` for a nested run that would continue
    without its reader. `view` chooses the events; without one the stream has all of them."""
    if isinstance(place, Nested) and on_disconnect == "continue":
        option = "on_disconnect"
        raise InvalidOptionError(
            option, on_disconnect, allowed="'cancel' inside a node, because a nested run ends with its node"
        )

    async def output_of(sink: EventSink) -> object:
        ended = await run(place, sink)
        # Returned and not raised: the events already reported the stop, so only `output` raises this error.
        return unfinished_child(place, ended) or result_of(topology, ended, None, "v1")

    return EventStream(
        output_of,
        on_slow_reader=on_slow_reader,
        on_disconnect=on_disconnect,
        wants=None if view is None else view.wants,
        takes_messages=view is None or view.has_messages,
    )
