"""LangGraph's stream modes, as views of the typed events."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

from durable_graph._runtime.events import AnyEvent, CheckpointCommitted, RunResumed, TaskFinished
from durable_graph.errors import InvalidOptionError

StreamMode = Literal["values", "updates"]
View = Callable[[AnyEvent], list[Any]]


def values_of(event: AnyEvent) -> list[Any]:
    """The whole state: as the run begins, and after every superstep that changed it."""
    match event:
        case RunResumed():
            return [dict(event.values)]
        case CheckpointCommitted() if event.changed or event.source != "loop":
            return [dict(event.values)]
    return []


def updates_of(event: AnyEvent) -> list[Any]:
    """`{node: what it wrote}` for every task that finished; None for one that wrote nothing."""
    if isinstance(event, TaskFinished):
        return [{event.node: None if event.update is None else dict(event.update)}]
    return []


_VIEWS: dict[str, View] = {"values": values_of, "updates": updates_of}


def view_of(
    modes: StreamMode | Sequence[StreamMode],
    *,
    subgraphs: bool = False,
    version: str = "v1",
    output_keys: str | Sequence[str] | None = None,
) -> View:
    """One mode gives its payloads, a list of modes gives `(mode, payload)` pairs.

    Raises `InvalidOptionError` for a mode that there is not.
    """
    wanted: list[str] = [modes] if isinstance(modes, str) else list(modes)
    if not wanted or any(mode not in _VIEWS for mode in wanted):
        option = "stream_mode"
        known = " or ".join(map(repr, get_args(StreamMode)))
        raise InvalidOptionError(option, modes, allowed=f"{known}, or a list of them")
    if isinstance(modes, str):
        return _VIEWS[modes]
    return lambda event: [(mode, payload) for mode in wanted for payload in _VIEWS[mode](event)]
