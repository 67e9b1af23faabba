"""The problems of a description, each as a sentence that names the place."""

from collections import Counter
from collections.abc import Iterable, Iterator

from durable_graph.errors import ExecutorImportError, names
from durable_graph.graph.control import END, START
from durable_graph.graph.description import DescribedNode, Description
from durable_graph.graph.executors import name_in_module, why_not_found, why_not_plain
from durable_graph.records import NO_TEXT, is_text

_RESERVED = frozenset({START, END})
# Separators in LangGraph's checkpoint namespaces, and in the channel names of joins.
_SEPARATORS = ("|", ":")


def problems_of(description: Description) -> tuple[str, ...]:
    """The problems of nodes and edges, each kind in the order of the calls."""
    return tuple(
        dict.fromkeys(
            [
                *description.mistakes,
                *_problems_of_nodes(description.nodes),
                *_problems_of_executors(description.nodes),
                *_problems_of_handlers(description),
                *_problems_of_destinations(description),
                *_problems_of_edges(description),
                *_problems_of_joins(description),
                *_problems_of_routers(description),
                *_problems_of_entry(description),
            ]
        )
    )


def unreachable_nodes(description: Description) -> tuple[str, ...]:
    """Nodes that no edges and Commands reach from START. Empty if a router may choose any node."""
    if any(router.choices is None for router in description.routers):
        return ()
    leads_to: dict[str, set[str]] = {}
    for start, end in _ways(description):
        leads_to.setdefault(start, set()).add(end)
    reached = {START}
    ahead = [START]
    while ahead:
        new = leads_to.get(ahead.pop(), set()) - reached
        reached |= new
        ahead.extend(new)
    return tuple(node.name for node in description.nodes if node.name not in reached)


def import_error_of(nodes: Iterable[DescribedNode]) -> ExecutorImportError | None:
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


def _ways(description: Description) -> Iterator[tuple[str, str]]:
    yield from ((edge.start, edge.end) for edge in description.edges)
    yield from ((source, join.target) for join in description.joins for source in join.sources)
    yield from ((router.source, end) for router in description.routers for end in (router.choices or {}).values())
    for node in description.nodes:
        handler = node.handler or description.default_handler
        handled = () if handler is None else handler.destinations
        yield from ((node.name, end) for end in (*node.options.destinations, *handled))


def _problems_of_nodes(nodes: Iterable[DescribedNode]) -> Iterator[str]:
    for node in nodes:
        if not node.name:
            yield "a node's name cannot be empty"
        yield from (f"{node.name!r} cannot be a node's name: {why}" for why in problems_of_name(node.name))
        if node.signature.problem:
            yield f"{node} {node.signature.problem}"
        if node.options.timeout is not None and not node.signature.is_async and node.options.executor is None:
            yield f"{node} has a timeout, and a plain function cannot be stopped: only an async node can have one"
    for name, times in Counter(node.name for node in nodes).items():
        if times > 1:
            yield f"{times} nodes are called {name!r}"


def _problems_of_executors(nodes: Iterable[DescribedNode]) -> Iterator[str]:
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


def problems_of_name(name: str) -> Iterator[str]:
    """The reasons why this cannot be the name of a node or a task, as predicates."""
    if name in _RESERVED:
        yield "it is reserved"
    if not is_text(name):
        yield NO_TEXT
    for separator in _SEPARATORS:
        if separator in name:
            yield f"it contains {separator!r}"


def _problems_of_handlers(description: Description) -> Iterator[str]:
    for handler in (*(node.handler for node in description.nodes), description.default_handler):
        if handler is not None and handler.signature.problem:
            yield f"{handler} {handler.signature.problem}"


def _problems_of_destinations(description: Description) -> Iterator[str]:
    known = {node.name for node in description.nodes}
    for node in description.nodes:
        for target in node.options.destinations:
            yield from _commanding(f"a Command of {node}", target, known)
    for handler in (*(node.handler for node in description.nodes), description.default_handler):
        for target in () if handler is None else handler.destinations:
            yield from _commanding(f"a Command of {handler}", target, known)


def _problems_of_edges(description: Description) -> Iterator[str]:
    known = {node.name for node in description.nodes}
    for edge in description.edges:
        yield from _leading_out(str(edge), edge.start, known | {START})
        yield from _leading_to(str(edge), edge.end, known)


def _problems_of_joins(description: Description) -> Iterator[str]:
    known = {node.name for node in description.nodes}
    for join in description.joins:
        if not join.sources:
            yield f"{join} waits for no node"
        for source, times in Counter(join.sources).items():
            if times > 1:
                yield f"{join} names {source!r} {times} times"
            yield from _leading_out(str(join), source, known)
        yield from _leading_to(str(join), join.target, known)


def _problems_of_routers(description: Description) -> Iterator[str]:
    known = {node.name for node in description.nodes}
    for router in description.routers:
        yield from _leading_out(str(router), router.source, known | {START})
        for target in (router.choices or {}).values():
            yield from _leading_to(str(router), target, known)
        if router.signature.problem:
            yield f"{router} {router.signature.problem}"
    for (source, name), times in Counter((router.source, router.name) for router in description.routers).items():
        if times > 1:
            yield f"{source!r} has {times} routers called {name!r}; give them functions of different names"


def _problems_of_entry(description: Description) -> Iterator[str]:
    begins = [*(edge.start for edge in description.edges), *(router.source for router in description.routers)]
    if START not in begins:
        yield "no edge leads out of START, so no run can start; add one with set_entry_point"


def _leading_out(where: str, source: str, known: set[str]) -> Iterator[str]:
    if source == END:
        yield f"{where} leads out of END, after which nothing runs"
    elif source not in known:
        reason = "which is no node to wait for" if source == START else "which is no node"
        yield f"{where} leads out of {source!r}, {reason}; the graph has: {names(known - _RESERVED)}"


def _commanding(where: str, target: str, known: set[str]) -> Iterator[str]:
    if target == START:
        yield f"{where} goes to START, where runs only begin"
    elif target != END and target not in known:
        yield (
            f"{where} goes to {target!r}, which is no node; the graph has: {names(known)}; if it is a node of the "
            f"parent graph, put it into the destinations of the node that runs this graph"
        )


def _leading_to(where: str, target: object, known: set[str]) -> Iterator[str]:
    if target == START:
        yield f"{where} leads to START, where runs only begin"
    elif not isinstance(target, str) or (target != END and target not in known):
        yield f"{where} leads to {target!r}, which is no node; the graph has: {names(known)}"
