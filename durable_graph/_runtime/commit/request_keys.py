"""Requests with a key: a thread accepts each once, also if another process repeats it."""

from typing import Any

import msgspec

from durable_graph._engine.digesting import digest_of
from durable_graph._engine.header import decode_header
from durable_graph._engine.restore import Restored
from durable_graph._runtime.commit.thread import Opened, open_thread
from durable_graph.checkpointing import Checkpointer, verify_request
from durable_graph.checkpointing.digests import request_digest
from durable_graph.checkpointing.integrity import damage_found, refuse_damage_since
from durable_graph.checkpointing.pieces import in_pieces
from durable_graph.errors import (
    CorruptCheckpointError,
    DurableGraphError,
    InvalidOptionError,
    KeyReusedError,
    NothingToResumeError,
)
from durable_graph.graph import Command, Topology
from durable_graph.records import RequestRow, checkpoint_id

_PAGE = 100
_BEGINNINGS = ("input", "fork", "update")
"""Sources of checkpoints that are no superstep of the run before them."""

_APPLIED = "the request was applied and is not applied again: read the thread's state with aget_state"


class Acceptance(msgspec.Struct, frozen=True):
    """A request that is about to be accepted. `same` are the digests that the same request may be recorded under."""

    key: str
    digest: bytes
    same: frozenset[bytes]

    def row(self, origin: bytes, checkpoint: int, at: int) -> RequestRow:
        """Its row, once it became this checkpoint."""
        row = RequestRow(self.key, self.digest, 0, checkpoint, at, b"")
        return msgspec.structs.replace(row, digest=request_digest(origin, row))


async def earlier_request(saver: Checkpointer, thread_id: str, request: Acceptance) -> RequestRow | None:
    """The request, if the thread has taken it. Raises `KeyReusedError` if it took another one under its key."""
    found = await saver.find_request(thread_id, request.key)
    row = None if found is None else verify_request(found)
    if row is not None and row.input_digest not in request.same:
        raise KeyReusedError(
            thread_id,
            request.key,
            stored=row.input_digest,
            given=request.digest,
            checkpoint_id=checkpoint_id(row.checkpoint),
        )
    return row


class RunOfRequest(msgspec.Struct, frozen=True):
    """Where the run that a request began is: at its end, or where it is to be gone on with."""

    restored: Restored
    has_ended: bool


async def run_of_request(saver: Checkpointer, topology: Topology, opened: Opened, request: RequestRow) -> RunOfRequest:
    """Where the run is that the request began.

    Raises `NothingToResumeError` where a fork has left the branch on which it was taken, and where a prune removed its
    result or what leads there.
    """
    thread, restored = opened.thread, opened.restored
    last = await _last_checkpoint_of(saver, thread.thread, request, thread.head)
    if last is None:
        why = f"the request {request.key!r} belongs to a branch that is not the thread's current one"
        raise NothingToResumeError(thread.thread, why, remedy=_APPLIED)
    if last != thread.head or restored is None or restored.state.no != thread.head:
        restored = (await open_thread(saver, topology, thread.thread, last)).restored
    if restored is None:
        why = f"the result of the request {request.key!r} was removed by a prune"
        raise NothingToResumeError(thread.thread, why, remedy=_APPLIED)
    return RunOfRequest(restored, last != thread.head or not restored.state.plan)


async def _last_checkpoint_of(saver: Checkpointer, thread_id: str, request: RequestRow, head: int) -> int | None:
    """The last checkpoint of the run that the request began: `head`, unless another input followed.

    None where the thread's branch does not lead through the request any more: a fork left it. Raises
    `NothingToResumeError` where a prune removed the checkpoints that would tell.
    """
    oldest_kept = 0
    parents: dict[int, tuple[int, str]] = {}
    errors: dict[int, CorruptCheckpointError] = {}
    before: int | None = None
    while before is None or before > request.checkpoint:
        page = await saver.history(thread_id, "", before=before, limit=_PAGE)
        if page is None:
            break
        oldest_kept = page.thread.floor
        found = await in_pieces(damage_found(page))
        errors.update(found)
        sound = (row for row in page.checkpoints if row.no not in found)
        parents.update({row.no: (row.parent, decode_header(row.header).source) for row in sound})
        before = page.older
        if not before:
            break
    last = at = head
    while at > request.checkpoint:
        if at not in parents:
            raise errors.get(at) or _missing(thread_id, at, request, oldest_kept)
        parent, source = parents[at]
        if source in _BEGINNINGS:
            last = parent
        at = parent
    if at != request.checkpoint:
        return None
    if last == head:
        return last
    # A run that went on from there did so on a line that a fork has left. A damaged checkpoint may be of that line.
    has_gone_on = any(parent == last and source not in _BEGINNINGS for parent, source in parents.values())
    if not has_gone_on:
        refuse_damage_since(last, errors)
    return None if has_gone_on else last


def _missing(thread_id: str, no: int, request: RequestRow, oldest_kept: int) -> DurableGraphError:
    """The error for a checkpoint that the store does not have. A prune removes those older than `oldest_kept`."""
    if no < oldest_kept:
        why = f"a prune removed the checkpoints between the request {request.key!r} and its result"
        return NothingToResumeError(thread_id, why, remedy=_APPLIED)
    return CorruptCheckpointError(thread_id, row=f"the row of checkpoint {checkpoint_id(no)!r}", why="it is missing")


def acceptance(topology: Topology, key: str, given: Any) -> Acceptance:
    """The request for this graph with this input. A name that the graph had before, or none, makes it no other.

    Raises `InvalidOptionError` for an input with a part that cannot be read: another one would look the same.
    """
    names = (topology.graph_name or "", *topology.formerly, "")
    parts: tuple[Any, ...] = (given,)
    if isinstance(given, Command):
        later = () if given.after is None else (given.after,)
        parts = (given.update, given.resume, given.goto, *later)
    named = [digest_of(topology.argument.encode, name, type(given).__name__, *parts) for name in names]
    if opaque := named[0].opaque:
        kind = type(opaque[0]).__qualname__
        raise InvalidOptionError("key", key, allowed=f"left out for this input, whose {kind} cannot be compared")
    return Acceptance(key, named[0].digest, frozenset(each.digest for each in named))
