"""What is wrong with nodes that are to run on an executor, for `compile`."""

from collections.abc import Iterator

from durable_graph.errors import ExecutorImportError
from durable_graph.graph.description import DescribedNode
from durable_graph.graph.executors import name_in_module, why_not_found, why_not_plain


def import_error_of(nodes: list[DescribedNode]) -> ExecutorImportError | None:
    """The error for nodes whose functions their executors cannot import: the first one, with all as its `problems`."""
    refused: list[tuple[DescribedNode, str]] = []
    for node in nodes:
        if node.options.executor is not None and node.subgraph is None:
            why = why_not_plain(node.action) or why_not_found(node.action)
            refused += [] if why is None else [(node, why)]
    if not refused:
        return None
    named = [(name_in_module(node.action), str(node), why) for node, why in refused]
    texts = [ExecutorImportError.text_of(name, where=where, why=why) for name, where, why in named]
    name, where, why = named[0]
    return ExecutorImportError(name, where=where, why=why, problems=texts)


def problems_of_executors(nodes: list[DescribedNode]) -> Iterator[str]:
    """The problems of nodes with an executor, besides functions that cannot be imported."""
    for node in nodes:
        if node.options.executor is None:
            continue
        if node.subgraph is not None:
            yield f"{node} is a graph, which cannot run on an executor; give the executor to its nodes"
        elif node.signature.injected:
            named = ", ".join(map(repr, node.signature.injected))
            yield f"{node} runs on an executor, where it gets its input alone: remove the parameter {named}"
        timeout = node.options.timeout
        if timeout is not None and timeout.idle_timeout is not None:
            yield f"{node} runs on an executor, which sends no heartbeats: give it a run_timeout alone"
