"""The graph builder. Its calls only record the description, which `topology` validates."""

import warnings
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Generic, Self, TypeVar, Unpack, get_origin, overload

from durable_graph.codec import FindStored, Listed
from durable_graph.errors import (
    GraphValidationError,
    InvalidOptionError,
    UnreachableNodeWarning,
)
from durable_graph.errors.tree import quoted
from durable_graph.graph.actions import NodeAction, RouterPath
from durable_graph.graph.annotations import read_annotation
from durable_graph.graph.assembly import Schemas, assemble, internal_channels
from durable_graph.graph.codecs import Storing, codecs_of, types_named_in
from durable_graph.graph.control import END, START
from durable_graph.graph.defaults import converted_defaults, defaults_of, unstorable_defaults
from durable_graph.graph.deprecated import renamed
from durable_graph.graph.description import (
    DescribedEdge,
    DescribedJoin,
    DescribedNode,
    DescribedRouter,
    Description,
    NodeOptions,
    said_first,
)
from durable_graph.graph.inputs import channels_of, inputs_of
from durable_graph.graph.messaging import MessageKind, library_of, listed_with, with_library
from durable_graph.graph.options import (
    ExtraKeys,
    NodeArguments,
    caching_of,
    checked_extra_keys,
    described_handler,
    names_formerly,
    node_options,
    retries_of,
    timeout_of,
)
from durable_graph.graph.policies import CachePolicy, RetryPolicy, TimeoutPolicy
from durable_graph.graph.runnables import as_function
from durable_graph.graph.schema import Schema
from durable_graph.graph.signatures import ROUTER_INJECTABLE, name_of, routes_of, signature_of
from durable_graph.graph.stack_frames import depth_of_caller
from durable_graph.graph.subgraph import Subgraph, is_subgraph
from durable_graph.graph.topology import Topology
from durable_graph.graph.type_variables import ContextT, InputT, OutputT, RuntimeT, StateT
from durable_graph.graph.validation import import_error_of, problems_of, unreachable_nodes
from durable_graph.records import NO_TEXT, is_text

_OPTIONS = ("state_schema", "context_schema", "input_schema", "output_schema", "extra_keys")
_NODE_OPTIONS = ("input_schema", *NodeArguments.__annotations__)

OwnT = TypeVar("OwnT")
"""The input of a node with its own schema."""


class GraphBuilder(Generic[StateT, ContextT, InputT, OutputT, RuntimeT]):
    """A graph over a state: a TypedDict, dataclass, msgspec.Struct or pydantic model.

    Each key is a channel. `Annotated[<type>, <reducer>]` says how the writes of one superstep are merged into it;
    without a reducer a channel takes one write per superstep. Every method returns the builder.

    `context_schema` is the class of `runtime.context`. `input_schema` and `output_schema` are the classes of a run's
    input and output, if these are not the state. `extra_keys="ignore"` drops keys that the state does not have from
    inputs, results and updates; by default they are an error.

    Raises `GraphValidationError` for a class that cannot be a state, `InvalidOptionError`, `UnknownOptionError`.
    """

    @overload
    def __init__(
        self: "GraphBuilder[StateT, None, StateT, StateT, RuntimeT]",
        state_schema: type[StateT],
        *,
        extra_keys: ExtraKeys = "refuse",
    ) -> None: ...
    @overload
    def __init__(
        self: "GraphBuilder[StateT, ContextT, StateT, StateT, RuntimeT]",
        state_schema: type[StateT],
        context_schema: type[ContextT],
        *,
        extra_keys: ExtraKeys = "refuse",
    ) -> None: ...
    @overload
    def __init__(
        self: "GraphBuilder[StateT, ContextT, InputT, StateT, RuntimeT]",
        state_schema: type[StateT],
        context_schema: type[ContextT] | None = None,
        *,
        input_schema: type[InputT],
        extra_keys: ExtraKeys = "refuse",
    ) -> None: ...
    @overload
    def __init__(
        self: "GraphBuilder[StateT, ContextT, StateT, OutputT, RuntimeT]",
        state_schema: type[StateT],
        context_schema: type[ContextT] | None = None,
        *,
        output_schema: type[OutputT],
        extra_keys: ExtraKeys = "refuse",
    ) -> None: ...
    @overload
    def __init__(
        self,
        state_schema: type[StateT],
        context_schema: type[ContextT] | None = None,
        *,
        input_schema: type[InputT],
        output_schema: type[OutputT],
        extra_keys: ExtraKeys = "refuse",
    ) -> None: ...
    def __init__(
        self,
        state_schema: Any,
        context_schema: Any = None,
        *,
        input_schema: Any = None,
        output_schema: Any = None,
        extra_keys: ExtraKeys = "refuse",
        **unknown: Any,
    ) -> None:
        given = {"context_schema": context_schema, "input_schema": input_schema, "output_schema": output_schema}
        context_schema, input_schema, output_schema = renamed("StateGraph()", unknown, given, _OPTIONS).values()
        state = Schema.of(state_schema)
        self._schemas = Schemas(
            state,
            state if input_schema is None else Schema.of(input_schema),
            state if output_schema is None else Schema.of(output_schema),
            _context(context_schema),
            checked_extra_keys(extra_keys),
        )
        self._description = Description()

    @overload
    def add_node(
        self, node: NodeAction[StateT, StateT, RuntimeT] | Subgraph, /, **options: Unpack[NodeArguments]
    ) -> Self: ...
    @overload
    def add_node(
        self, node: str, action: NodeAction[StateT, StateT, RuntimeT] | Subgraph, **options: Unpack[NodeArguments]
    ) -> Self: ...
    @overload
    def add_node(
        self,
        node: NodeAction[OwnT, OwnT | StateT, RuntimeT],
        /,
        *,
        input_schema: type[OwnT],
        **options: Unpack[NodeArguments],
    ) -> Self: ...
    @overload
    def add_node(
        self,
        node: str,
        action: NodeAction[OwnT, OwnT | StateT, RuntimeT],
        *,
        input_schema: type[OwnT],
        **options: Unpack[NodeArguments],
    ) -> Self: ...

    def add_node(
        self, node: Any, action: Any = None, *, input_schema: Any = None, **options: Unpack[NodeArguments]
    ) -> Self:
        """Add a node under a name, by default its function's: `add_node("plan", plan)`, `add_node(plan)`.

        A node is a callable, async or not. It is called with the state, and with `runtime` and `config` if it has
        parameters of these names. It returns a dict of updates, an instance of the state's class, or None.

        A node whose first parameter is annotated with another state class receives an instance of that class, whose
        additional keys become channels. `input_schema` sets the class if the annotation cannot.

        A compiled graph is a node as well: it receives the keys that its input and this state share.

        Options:
            defer: the node runs when no other node is left to run.
            metadata: a dict for the node's events and its config.
            retry_policy: a `RetryPolicy` or several; the first that matches an error counts.
            timeout: for one attempt, in seconds, as a timedelta or a `TimeoutPolicy`; async nodes, and nodes with an
                executor.
            cache_policy: lets the result come from the cache that the graph is compiled with.
            error_handler: runs after the last failed attempt. It is called with the input, and with `error`, a
                `NodeError`, and chooses the next nodes itself.
            executor: runs the node: a `concurrent.futures.Executor`, or a factory, a function without parameters that
                returns one. The node is a plain function that the processes of the executor can import.
            destinations: the nodes that its Commands go to; an annotation `Command[Literal[...]]` sets them as well.

        Raises `GraphValidationError` for a node that is not callable or has no name, and `InvalidOptionError`.
        """
        options = renamed("add_node()", options, {"input_schema": input_schema}, _NODE_OPTIONS)  # type: ignore[assignment]
        input_schema = options.pop("input_schema")  # type: ignore[typeddict-item]
        if action is None and not isinstance(node, str):
            action, node = node, _own_name(node)
        subgraph = action if is_subgraph(action) else None
        action = as_function(action) if subgraph is None else subgraph.run_as_node
        if not isinstance(node, str):
            raise GraphValidationError(f"a node's name is a string, not {quoted(node)}")
        if not callable(action):
            raise GraphValidationError(f"node {node!r} cannot be called: {quoted(action)} is no function")
        handler = options.get("error_handler")
        described = DescribedNode(
            node,
            action,
            input_schema,
            signature_of(action),
            node_options(node, action, options),
            None if handler is None else described_handler(f"the error handler of node {node!r}", handler),
            subgraph,
        )
        self._description.nodes.append(described)
        return self

    def set_node_defaults(
        self,
        *,
        retry_policy: RetryPolicy | Sequence[RetryPolicy] | None = None,
        cache_policy: CachePolicy | None = None,
        error_handler: Callable[..., Any] | None = None,
        timeout: float | timedelta | TimeoutPolicy | None = None,
    ) -> Self:
        """Set defaults for all nodes, whether added before or after; the timeout is for async nodes and executors only.

        Retries and the timeout also apply to error handlers. A later call replaces the options that it names. Subgraphs
        have their own defaults.

        Raises `InvalidOptionError`, and `GraphValidationError` for a handler that is not callable.
        """
        so_far = self._description.defaults
        self._description.defaults = NodeOptions(
            retry=said_first(retries_of(retry_policy), so_far.retry),
            cache=said_first(caching_of(cache_policy), so_far.cache),
            timeout=said_first(timeout_of(timeout), so_far.timeout),
        )
        if error_handler is not None:
            self._description.default_handler = described_handler("the error handler of all nodes", error_handler)
        return self

    def add_edge(self, start: str | Sequence[str], end: str) -> Self:
        """Run `end` after `start`. A list of nodes makes a join: `end` runs once all of them have finished.

        A join starts again after it has fired. Its sources may finish in different supersteps.
        """
        if not isinstance(end, str):
            raise GraphValidationError(f"an edge leads to a node's name, not to {quoted(end)}")
        sources = (start,) if isinstance(start, str) else start
        if not isinstance(sources, Sequence) or not all(isinstance(source, str) for source in sources):
            raise GraphValidationError(
                f"an edge leads out of a node's name or a list of names, not out of {quoted(start)}"
            )
        if len(sources) == 1:
            self._description.edges.append(DescribedEdge(sources[0], end))
        else:
            self._description.joins.append(DescribedJoin(tuple(sources), end))
        return self

    def add_conditional_edges(
        self,
        source: str,
        path: RouterPath[StateT, RuntimeT],
        path_map: Mapping[Hashable, str] | Sequence[str] | None = None,
    ) -> Self:
        """After `source`, run the nodes that `path` returns: a node's name, END, a `Send`, or a list of these.

        `path` is called with the state after `source`'s writes. `path_map` maps its results to names, or lists the
        names; a `Literal` as its return annotation lists them as well. Any other result is an error of the run.

        Raises `GraphValidationError` for a `path` that is not callable.
        """
        if not isinstance(source, str):
            raise GraphValidationError(f"a conditional edge leads out of a node's name, not out of {quoted(source)}")
        path = as_function(path)
        if not callable(path):
            raise GraphValidationError(f"the router of {source!r} cannot be called: {quoted(path)} is no function")
        router = DescribedRouter(
            source=source,
            name=name_of(path) or "condition",
            path=path,
            choices=_choices(path, path_map),
            signature=signature_of(path, injectable=ROUTER_INJECTABLE),
        )
        self._description.routers.append(router)
        return self

    def add_sequence(
        self, nodes: Sequence[NodeAction[StateT, StateT, RuntimeT] | tuple[str, NodeAction[StateT, StateT, RuntimeT]]]
    ) -> Self:
        """Add nodes with an edge from each to the next. No edge leads to the first node."""
        if not nodes:
            self._description.mistakes.append("add_sequence was given no nodes")
        previous: str | None = None
        for entry in nodes:
            name, action = entry if isinstance(entry, tuple) else (_own_name(entry), entry)
            self.add_node(name, action)
            if previous is not None:
                self.add_edge(previous, name)
            previous = name
        return self

    def set_entry_point(self, key: str) -> Self:
        """Start every run with this node: an edge out of START."""
        return self.add_edge(START, key)

    def set_conditional_entry_point(
        self, path: RouterPath[StateT, RuntimeT], path_map: Mapping[Hashable, str] | Sequence[str] | None = None
    ) -> Self:
        """Start every run with the nodes that `path` returns: a conditional edge out of START."""
        return self.add_conditional_edges(START, path, path_map)

    def set_finish_point(self, key: str) -> Self:
        """Run nothing after this node: an edge to END."""
        return self.add_edge(key, END)

    def topology(
        self,
        *,
        name: str | None = None,
        formerly: Iterable[str] = (),
        types: Iterable[Listed] = (),
        upcasts: Mapping[Any, Any] | None = None,
        find: FindStored | None = None,
        messages: MessageKind = "auto",
    ) -> Topology:
        """The validated graph. Later calls of the builder do not change it.

        `types` are classes that values of type `Any` may be of, in addition to those that the state names; a pair sets
        the tag of a class, a `StoredType` defines how instances are stored, and `find` looks up a `StoredType` for
        classes that cannot be stored otherwise. `upcasts` reads older shapes of values. `messages` chooses the messages
        of `add_messages`. Unreachable nodes emit an `UnreachableNodeWarning`.

        Raises `GraphValidationError` with all problems, `ExecutorImportError` if there is no other, and
        `InvalidOptionError`.
        """
        description, state = self._description, self._schemas.state
        inputs = inputs_of(description, state, self._schemas.input, self._schemas.output)
        channels, disagreements = channels_of(state, inputs)
        library = library_of(messages, channels)
        channels = with_library(channels, messages, library)
        storing = Storing.of(listed_with(types, library), upcasts, find)
        rules = {**channels, **internal_channels(description)}
        defaults, wrong = defaults_of(state, inputs, channels)
        codecs, unstorable = codecs_of(rules, types_named_in(description, state, inputs), storing)
        problems = (
            *_problems_of_graph_name(name),
            *problems_of(description),
            *inputs.problems,
            *disagreements,
            *wrong,
            *unstorable,
            *(() if codecs is None else unstorable_defaults(defaults, codecs)),
        )
        refused = import_error_of(description.nodes)
        if problems or codecs is None:
            raise GraphValidationError.of_problems((*problems, *(() if refused is None else refused.problems)))
        if refused is not None:
            raise refused
        unreachable = unreachable_nodes(description)
        if unreachable:
            warnings.warn(UnreachableNodeWarning(unreachable), stacklevel=depth_of_caller())
        former = names_formerly(name, formerly)
        defaults = converted_defaults(defaults, codecs)
        return assemble(name, former, description, self._schemas, inputs, channels, codecs, defaults)


def _problems_of_graph_name(name: object) -> Iterable[str]:
    if name is not None and not isinstance(name, str):
        yield f"a graph's name is a string, not {quoted(name)}"
    elif name is not None and not is_text(name):
        yield f"{name!r} cannot be a graph's name: {NO_TEXT}"


def _context(given: Any) -> Any:
    given = read_annotation(given).declared
    if given is None or isinstance(given, type) or isinstance(get_origin(given), type):
        return given
    option = "context_schema"
    raise InvalidOptionError(option, given, allowed="a class, such as a dataclass or a TypedDict, or None")


def _own_name(action: Any) -> str:
    if is_subgraph(action):
        return str(action.topology.name)
    action = as_function(action)
    if not callable(action):
        raise GraphValidationError(f"{quoted(action)} is neither a node nor the name of one")
    name = name_of(action)
    if name is None:
        raise GraphValidationError(f"{quoted(action)} has no name of its own; give it one: add_node('<name>', ...)")
    return name


def _choices(path: Callable[..., Any], path_map: Any) -> Mapping[Any, Any] | None:
    if isinstance(path_map, Mapping):
        return dict(path_map)
    if path_map is None:
        routes = routes_of(path)
        return None if routes is None else {choice: choice for choice in routes}
    if isinstance(path_map, str) or not isinstance(path_map, Sequence) or not all(isinstance(n, str) for n in path_map):
        raise GraphValidationError(f"a path_map is a dict to nodes' names or a list of them, not {quoted(path_map)}")
    return {name: name for name in path_map}
