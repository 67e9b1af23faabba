"""A run with callbacks of another library, which are called at its start and its end."""

from collections.abc import Awaitable, Callable

import msgspec

from durable_graph._runtime.entry.subgraph import Nested
from durable_graph._runtime.request.callbacks import CallbackLibrary
from durable_graph._runtime.request.output import Ended, result_of
from durable_graph._runtime.request.run import Request
from durable_graph.graph import Topology


async def observed_run(
    library: CallbackLibrary,
    topology: Topology,
    place: Nested | Request,
    go: Callable[[Nested | Request], Awaitable[Ended]],
) -> Ended:
    """Run a graph with an observer."""
    nested = place if isinstance(place, Nested) else None
    request = place.request if isinstance(place, Nested) else place
    # A nested run has the run id of the outer run, which that run's callbacks already use.
    run_id = request.run_id if nested is None else None
    async with library.graph(
        request.name or topology.name, request.input, request.config, request.callbacks, run_id
    ) as observer:
        observed = msgspec.structs.replace(request, observer=observer)
        ended = await go(observed if nested is None else msgspec.structs.replace(nested, request=observed))
        observer.ended(result_of(topology, ended, None, "v1"))
        return ended
