"""The input and the options of a run as its row holds them, and the call that a worker makes of them."""

from collections.abc import Callable, Mapping
from typing import Any, TypedDict, cast

import msgspec

from durable_graph._engine.digesting import digest_of
from durable_graph._engine.state import initial_state
from durable_graph._runtime.entry.options import Breakpoints, Config, RunOptions, merged_config, read_run
from durable_graph._runtime.request.owned_run import OwnedRun
from durable_graph._runtime.request.run import Durability, IfUnfinished, Request, RunControl
from durable_graph._runtime.task.read_result import goto_routes
from durable_graph._runtime.task.writes import encode_anything, input_writes, update_writes
from durable_graph.app.compiled import CompiledGraph
from durable_graph.errors import InvalidOptionError, InvalidUpdateError, UnknownOptionError
from durable_graph.graph import UNSET, Command, Send, Topology
from durable_graph.graph.durations import Duration, microseconds
from durable_graph.graph.state_kinds import context_of
from durable_graph.records import is_text
from durable_graph.run_records import Claim


class StartOptions(TypedDict, total=False):
    """The keyword arguments of `App.start` that it stores with the run. They are as for `ainvoke`."""

    durability: Durability | None
    recursion_limit: int | None
    max_concurrency: int | None
    if_unfinished: IfUnfinished
    interrupt_before: Breakpoints | None
    interrupt_after: Breakpoints | None
    debug: bool


_OPTIONS = frozenset(StartOptions.__annotations__)
_CONFIG = ("recursion_limit", "max_concurrency", "metadata", "tags", "run_name")

Graph = CompiledGraph[Any, Any, Any, Any]


class _Usual(msgspec.Struct, frozen=True):
    """A call without a config, and the options that it was read from, as the runs have them."""

    options: bytes
    request: Request
    keeps_events: bool
    is_command: bool


class ClaimedCalls:
    """Makes the calls that execute the claimed runs of one graph.

    Most runs have no config and the same options. Their calls differ in the input and in the thread, so the options are
    read once. A config is read for each run, because its values may be changed by nodes.
    """

    def __init__(self, graph: Graph, make_context: Callable[[], Any] | None) -> None:
        """`make_context` makes the context of one execution."""
        self._graph, self._make_context = graph, make_context
        self._usual: _Usual | None = None

    def of(self, claim: Claim, owned: OwnedRun, control: RunControl) -> tuple[Request, bool]:
        """The call as it was accepted, and whether all events of the run are stored. The input is None once it has
        become a checkpoint: the run resumes from there.

        Raises `DecodeError` for an input that this version of the graph cannot read, and the errors of `make_context`.
        """
        request, keeps_events = self._of(claim, owned, control)
        if self._make_context is not None:
            context = context_of(self._graph.topology.context, self._make_context())
            request = msgspec.structs.replace(request, context=context)
        return request, keeps_events

    def _of(self, claim: Claim, owned: OwnedRun, control: RunControl) -> tuple[Request, bool]:
        decode, thread = self._graph.topology.argument.decode, claim.thread
        given = None if claim.first_checkpoint else decode(claim.input)
        usual = self._usual
        if usual is None or usual.options != claim.options:
            return self._read(decode(claim.options), given, claim, owned, control)
        config = {"configurable": {"thread_id": thread}}
        given = input_of(given, usual.is_command)
        request = msgspec.structs.replace(
            usual.request, input=given, thread_id=thread, config=config, metadata={}, control=control, owned=owned
        )
        return request, usual.keeps_events

    def _read(
        self, settings: dict[str, Any], given: object, claim: Claim, owned: OwnedRun, control: RunControl
    ) -> tuple[Request, bool]:
        setup, options, keeps_events = self._graph.setup, settings["options"], settings.get("keeps_events", False)
        is_command = settings.get("is_command", False)
        given = input_of(given, is_command)
        config = merged_config(setup.config, settings["config"])
        request = _request(self._graph, given, config, options, RunOptions(thread_id=claim.thread, control=control))
        request = msgspec.structs.replace(request, owned=owned, step_timeout=setup.step_timeout)
        if not config:
            # Without the parts of this run, which would stay in memory.
            plain = msgspec.structs.replace(request, input=None, control=None, owned=None)
            self._usual = _Usual(claim.options, plain, keeps_events, is_command)
        return request, keeps_events


def check_start(graph: Graph, given: object, config: Config | None, options: StartOptions, thread: str) -> str:
    """The metadata of the run as a JSON object, empty without any.

    Raises as `ainvoke` does for invalid options and an invalid config, and `UnknownOptionError`.
    """
    UnknownOptionError.check("app.start", options, known=_OPTIONS)
    place = (config or {}).get("configurable") or {}
    for key in ("checkpoint_id", "checkpoint_ns"):
        if place.get(key):
            allowed = "left out: a run begins at the newest checkpoint; app.graph(...).ainvoke may begin at another one"
            raise InvalidOptionError(f"config['configurable'][{key!r}]", place[key], allowed=allowed)
    metadata = _request(graph, given, config, options, RunOptions(thread_id=thread)).metadata
    return msgspec.json.encode(metadata).decode() if metadata else ""


def sought_metadata(metadata: Mapping[str, object] | None) -> str | None:
    """The metadata that a listing selects, as a JSON object; None for any. Raises `InvalidOptionError`."""
    if metadata is None:
        return None
    if not isinstance(metadata, Mapping):
        raise InvalidOptionError("metadata", metadata, allowed="a dict of the values that the runs have")
    if not metadata:
        return None
    for key, value in metadata.items():
        is_kind = value is None or type(value) in (int, bool) or (isinstance(value, str) and _is_plain(value))
        if not (isinstance(key, str) and _is_plain(key) and is_kind):
            option = f"metadata[{key!r}]"
            raise InvalidOptionError(option, value, allowed="a text without NUL, a whole number, a bool or None")
    return msgspec.json.encode(metadata).decode()


def _is_plain(text: str) -> bool:
    return is_text(text) and "\0" not in text


def _request(graph: Graph, given: object, config: Config | None, options: StartOptions, whole: RunOptions) -> Request:
    setup = graph.setup
    whole.update(cast("RunOptions", options))
    nodes = setup.plan.topology.nodes
    return read_run(config, whole, input=given, has_checkpointer=True, nodes=nodes, defaults=setup.defaults)


def encoded_input(topology: Topology, given: object, max_value_bytes: int) -> bytes:
    """The input, checked as `ainvoke` would. Raises `InvalidInputError`, `UnstorableValueError` and others."""
    if isinstance(given, Command):
        given = _parts_of(topology, given, max_value_bytes)
    elif given is not None:
        input_writes(topology, given, initial_state(topology).values, max_value_bytes)
    return encode_anything(topology, given, "the input", max_value_bytes) or b""


def _parts_of(topology: Topology, command: Command[Any], max_value_bytes: int) -> dict[str, Any]:
    """The Command as a value that every store can hold. Raises as `ainvoke` does for a Command without answers."""
    where = "the Command that is the input"
    if command.resume is not UNSET:
        option = "input"
        raise InvalidOptionError(option, command, allowed="a Command without resume; app.answer answers a run")
    if command.graph is not None:
        raise InvalidUpdateError(f"{where} is for the parent graph, and the outermost graph has none; leave out graph")
    if command.update is None and not command.goto:
        raise InvalidUpdateError(f"{where} is empty: pass update or goto")
    if command.update is not None:
        update_writes(topology, command.update, initial_state(topology).values, where, max_value_bytes)
    goto_routes(topology, command, where, max_value_bytes, _due)
    goto = [command.goto] if isinstance(command.goto, str | Send) else command.goto
    sent = [[each.node, each.arg, each.timeout, each.after] if isinstance(each, Send) else each for each in goto]
    return {"update": command.update, "goto": sent, "after": command.after}


def _due(option: str, duration: Duration) -> int:
    return microseconds(option, duration, least=0.001)


def input_of(given: Any, is_command: bool) -> Any:
    """The stored input as a caller passes it."""
    return _command_of(given) if is_command and given is not None else given


def _command_of(parts: dict[str, Any]) -> Command[Any]:
    goto = [each if isinstance(each, str) else _send_of(*each) for each in parts["goto"]]
    return Command(update=parts["update"], goto=goto, after=parts["after"])


def _send_of(node: str, arg: Any, timeout: Any, after: Any) -> Send:
    return Send(node, arg, timeout=timeout, after=after)


def encoded_options(
    topology: Topology,
    config: Config | None,
    options: StartOptions,
    max_value_bytes: int,
    *,
    keeps_events: bool,
    is_command: bool,
) -> bytes:
    """The options that a worker needs. Raises `UnstorableValueError` for one that cannot be stored."""
    given = dict(config or {})
    own = {key: value for key, value in (given.get("configurable") or {}).items() if key != "thread_id"}
    kept: dict[str, Any] = {key: given[key] for key in _CONFIG if key in given}
    settings = {
        "config": {**kept, **({"configurable": own} if own else {})},
        "options": {key: value for key, value in options.items() if value is not None},
        **({"keeps_events": True} if keeps_events else {}),
        **({"is_command": True} if is_command else {}),
    }
    return encode_anything(topology, settings, "an option of the run", max_value_bytes) or b""


def digest_of_input(topology: Topology, given: object, key: str) -> bytes:
    """The digest of the graph's name and the input, by which a repeated request is known.

    Raises `InvalidOptionError` for an input with a part that cannot be read: another one would look the same.
    """
    found = digest_of(topology.argument.encode, topology.graph_name or "", type(given).__name__, given)
    if found.opaque:
        kind = type(found.opaque[0]).__qualname__
        raise InvalidOptionError("key", key, allowed=f"left out for this input, whose {kind} cannot be compared")
    return found.digest
