"""Reading streams, and what in them differs from run to run."""

from typing import Any

from durable_graph import CompiledGraph


async def parts(graph: CompiledGraph[Any, Any, Any, Any], given: Any, **options: Any) -> list[Any]:
    """What `astream` yields, on the thread "t" unless the options name another."""
    options.setdefault("thread_id", "t")
    return [part async for part in graph.astream(given, **options)]


def names(ns: tuple[str, ...]) -> tuple[str, ...]:
    """A namespace without the numbers of its tasks."""
    return tuple(part.split(":")[0] for part in ns)
