"""The threads, runs and graphs that a request names."""

from typing import Any

from durable_graph import CompiledGraph, StateSnapshot
from durable_graph.errors import UnknownRunError
from durable_graph.runs import RunHandle, RunStatus, ThreadSummary
from durable_graph_http.call import Call
from durable_graph_http.problems import Problem
from durable_graph_http.protocol import LEG_MARK
from durable_graph_http.starting import check_has_graph, found_graph

Graph = CompiledGraph[Any, Any, Any, Any]


async def thread_of(call: Call) -> ThreadSummary:
    """The thread of the path. Raises `UnknownThreadError`."""
    return await call.service.app.threads.get(call.thread_id)


def graph_of_thread(call: Call, summary: ThreadSummary) -> Graph | None:
    """The graph of a thread, or the one that its metadata names; None if it has neither. Clients may write any name
    into the metadata.

    Raises `Problem` with 409 for a thread of a graph that the service does not have.
    """
    graphs = call.service.app.graphs
    name = summary.graph
    if name is None:
        given = summary.metadata.get("graph_id") or summary.metadata.get("assistant_id")
        named = found_graph(call, given) if isinstance(given, str) else None
        return None if named is None else graphs[named]
    for graph in graphs.values():
        if name == graph.topology.graph_name or name in graph.topology.formerly:
            return graph
    raise Problem(409, f"The thread belongs to the graph {name!r:.100}, which this service does not have")


def graph_to_write(call: Call, summary: ThreadSummary) -> Graph:
    """The graph of a thread whose state is written. Raises `Problem` with 409 for a thread without a graph."""
    graph = graph_of_thread(call, summary)
    if graph is None:
        raise Problem(409, "No graph has run on the thread: create it with graph_id, or start a run on it first")
    return graph


async def snapshot_of(call: Call, summary: ThreadSummary) -> StateSnapshot | None:
    """The thread's state, None if no graph has run on it."""
    graph = graph_of_thread(call, summary)
    return None if graph is None else await graph.aget_state(thread_id=summary.thread_id)


async def run_of(call: Call) -> RunHandle:
    """The run of the path. Raises `UnknownRunError`, also for a run of another thread."""
    return await named_run(call, call.thread_id, call.parameters["run_id"])


async def named_run(call: Call, thread_id: str, run_id: str) -> RunHandle:
    """The run of a stored thread, by its id or by the name that the thread streaming protocol has for a part of it.

    Raises `UnknownRunError`, the same one for a run of another thread as for one that does not exist.
    """
    handle = await call.service.app.find(run_id.partition(LEG_MARK)[0])
    if handle.thread_id != thread_id:
        raise UnknownRunError(run_id)
    return handle


async def run_with_graph(call: Call) -> tuple[RunHandle, RunStatus]:
    """The run of the path, and its status. Raises `UnknownRunError`, and `Problem` with 409 for a run of a graph that
    the service does not have."""
    handle = await run_of(call)
    status = await handle.status()
    check_has_graph(call, status)
    return handle, status
