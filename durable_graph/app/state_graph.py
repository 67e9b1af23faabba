"""The builder with `compile`."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Never

from durable_graph._runtime.entry.options import Breakpoints, breakpoints
from durable_graph._runtime.request.run import Request
from durable_graph._runtime.task.context import Runtime
from durable_graph._runtime.task.mutation import is_debugging
from durable_graph.app.compiled import CompiledGraph, check_savers
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
        """The graph as it is now, checked and ready to run.

        `checkpointer` is a saver. For a graph that another graph runs it may be None (its state is kept in the other's
        thread, for as long as the node that runs it), True (kept from one call to the next, per thread) or False (not
        kept). `store` is any object, handed to nodes as `runtime.store`; what is put into it is stored when the object
        stores it, apart from the commits of the graph. `interrupt_before` and `interrupt_after` are nodes at which
        every run stops, or "*" for all. With `debug` a node that changes its input in place fails, and without a
        checkpointer values are checked as with one; left out, it is what the environment variable DURABLE_GRAPH_DEBUG
        says ("1": on). `types` are classes that `Any`-typed parts of the state may hold, beside those that the state's
        own types name; they are stored under their qualified name, or under the tag given with them. A `StoredType`
        among them says how instances of any other class are stored.

        `upcasts` reads what was stored in an older shape: a channel's name or a class, and a function that takes the
        value without its classes (an instance as a dict of its fields, an enum's member as its name) and returns one of
        today's type. It is called for values that today's type does not read; of a channel that stores updates, for
        each update. `{"price": {int: from_dollars}}` calls `from_dollars` for each value that was written when `int`
        was declared.

        A thread belongs to the graph whose `name` it was begun under: another graph is refused (`WrongGraphError`).
        `formerly` are the names that this graph had before, whose threads it may go on with.

        `messages` says what `add_messages` makes of what is written: "langchain" LangChain's messages, "dict" leaves
        dicts and objects of your own as they are. "auto" is the former where `langchain_core` is installed and the key
        is declared as a list of its messages or of anything.

        Raises `GraphValidationError`, which lists everything that is wrong with the graph, `InvalidOptionError` and
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
