"""The status of a thread, for each node."""

from collections.abc import Iterable, Mapping
from typing import Final, Literal, get_args

from durable_graph.errors import InvalidOptionError, UnknownNameError
from durable_graph.graph.drawing.elements import DrawnNode

NodeStatus = Literal["done", "next", "interrupted", "failed"]
STATUSES: Final[tuple[NodeStatus, ...]] = get_args(NodeStatus)


def status_of(
    *,
    done: Iterable[str] = (),
    next: Iterable[str] = (),  # noqa: A002  # the snapshot's name for it
    interrupted: Iterable[str] = (),
    failed: Iterable[str] = (),
    inside: str | None = None,
) -> dict[str, NodeStatus]:
    """One status for each named node. Of several, the first counts: failed, interrupted, next, done.

    A node in a loop may be done and next; in a fan-out one task may have failed while others are done. `inside` is the
    id of the nodes' subgraph.
    """
    named: dict[NodeStatus, Iterable[str]] = {"done": done, "next": next, "interrupted": interrupted, "failed": failed}
    prefix = "" if inside is None else f"{inside}:"
    return {prefix + name: status for status, nodes in named.items() for name in nodes}


def check_status(status: Mapping[str, NodeStatus], nodes: Iterable[DrawnNode]) -> None:
    """Raises `UnknownNameError` for a node that is not drawn, `InvalidOptionError` for an invalid status."""
    drawn = {node.id for node in nodes}
    for name, given in status.items():
        if name not in drawn:
            raise UnknownNameError.of_node(
                name, where="the status is of a node that is not in the drawing:", known=drawn
            )
        if given not in STATUSES:
            raise InvalidOptionError(f"status of node {name!r}", given, allowed=", ".join(STATUSES))
