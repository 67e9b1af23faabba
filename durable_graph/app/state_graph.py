"""The builder with `compile`."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Never

from durable_graph._runtime.entry.options import Breakpoints, breakpoints, check_savers
from durable_graph._runtime.request.run import Request
from durable_graph._runtime.task.context import Runtime
from durable_graph._runtime.task.mutation import is_debugging
from durable_graph.app.compiled import CompiledGraph
from durable_graph.app.installed_types import stored_type_of
from durable_graph.caching import Cache
from durable_graph.checkpointing import Checkpointer
from durable_graph.codec import Listed
from durable_graph.errors import UnknownOptionError
from durable_graph.graph import GraphBuilder
from durable_graph.graph.messaging import MessageKind
from durable_graph.graph.type_variables import ContextT, InputT, OutputT, StateT

COMPILE_OPTIONS: Final = (
    *("cache", "checkpointer", "debug", "formerly", "interrupt_after", "interrupt_before", "messages", "name"),
    *("store", "types", "upcasts"),
)


class StateGraph(GraphBuilder[StateT, ContextT, InputT, OutputT, Runtime[ContextT]]):
    """A graph over the state `StateT`, to be described and then compiled."""

    def compile(
        self,
        checkpointer: Checkpointer | bool | None = None,
        *,
        cache: Cache | None = None,
        store: Any = None,
        interrupt_before: Breakpoints | None = None,
        interrupt_after: Breakpoints | None = None,
        debug: bool | None = None,
        name: str | None = None,
        formerly: Iterable[str] = (),
        types: Iterable[Listed] = (),
        upcasts: Mapping[str | type, Any] | None = None,
        messages: MessageKind = "auto",
        **unknown: Never,
    ) -> "CompiledGraph[StateT, ContextT, InputT, OutputT]":
        """Validate the graph and return it ready to run. Later calls of the builder do not change it.

        `checkpointer` is a saver. For a subgraph it may be None (its state is kept in the outer graph's thread while
        the node runs), True (kept between calls, per thread) or False (not kept). `store` is any object, passed to
        nodes as `runtime.store`; it persists its data itself, apart from the graph's commits. `interrupt_before` and
        `interrupt_after` are nodes at which every run stops, or "*" for all. With `debug` a node that changes its
        input in place fails, and without a checkpointer values are checked as with one; the default is the environment
        variable DURABLE_GRAPH_DEBUG ("1": on). `types` are classes that `Any`-typed parts of the state may hold, in
        addition to those that the state's types name; they are stored under their qualified name, or under the tag
        given with them. A `StoredType` in `types` defines how instances of any other class are stored.

        `upcasts` reads values that were stored in an older shape: it maps a channel's name or a class to a function,
        which takes the value without its classes (an instance as a dict of its fields, an enum's member as its name)
        and returns a value of the current type. It is called for values that the current type cannot read; for a
        channel that stores updates, for each update. `{"price": {int: from_dollars}}` calls `from_dollars` for each
        value that was written when `int` was declared.

        A thread belongs to the graph of the `name` under which it started: other graphs raise `WrongGraphError`.
        `formerly` are earlier names of this graph, whose threads it may resume.

        `messages` chooses the messages of `add_messages`: "langchain" converts to LangChain's messages, "dict" keeps
        dicts and the user's own objects unchanged. "auto" is "langchain" if `langchain_core` is installed and the key
        is declared as a list of its messages or of anything.

        Raises `GraphValidationError`, which lists all problems of the graph, `InvalidOptionError` and
        `UnknownOptionError`.
        """
        UnknownOptionError.check("compile()", unknown, known=COMPILE_OPTIONS)
        check_savers(checkpointer, cache)
        topology = self.topology(
            name=name, formerly=formerly, types=types, upcasts=upcasts, find=stored_type_of, messages=messages
        )
        defaults = Request(
            None,
            store=store,
            stop_before=breakpoints("interrupt_before", interrupt_before, topology.nodes, frozenset()),
            stop_after=breakpoints("interrupt_after", interrupt_after, topology.nodes, frozenset()),
            is_checked=is_debugging() if debug is None else debug,
        )
        return CompiledGraph(topology, checkpointer, cache, defaults)
