"""Which graph a thread belongs to, by name. A nested graph is checked by the place that calls it."""

from durable_graph._runtime import log
from durable_graph.errors import WrongGraphError
from durable_graph.graph import Topology
from durable_graph.records import ThreadRow


def check_graph(topology: Topology, thread_id: str, thread: ThreadRow) -> None:
    """Raise `WrongGraphError` unless the thread is the graph's.

    No name is None: a graph without a name may not touch a thread that belongs to one, and a named graph takes a thread
    without a name, which its next commit names. `formerly` has the names that the graph once had.
    """
    if thread.status == "deleted" or not thread.version:
        return
    stored, called = thread.graph, topology.graph_name
    if stored is None:
        if called is None and thread.graph_digest != topology.nodes_digest and thread.graph_digest:
            log.other_nodes(thread_id)
    elif stored != called and stored not in topology.formerly:
        raise WrongGraphError(thread_id, stored=stored, called=called)
