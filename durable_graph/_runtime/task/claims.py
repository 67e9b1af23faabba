"""The calls that a piece of user code makes, of tasks and of nested graphs, and the records of earlier attempts at it.

The rules are those of `_engine/matching.py`; here are the records, and what is under way.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from durable_graph._engine.digesting import Digested
from durable_graph._engine.matching import (
    NOTE,
    Kind,
    Mark,
    Point,
    matching_place,
    new_place,
    places_in_the_way,
)
from durable_graph._runtime.commit.store import Stored
from durable_graph._runtime.commit.thread import KnownThread
from durable_graph._runtime.task.run_context import GraphRun, TaskContext
from durable_graph.checkpointing.digests import record_digest
from durable_graph.errors import DecodeError, InvalidCallError, ReplayMismatchError
from durable_graph.graph import Topology
from durable_graph.graph.topology import UNNAMED
from durable_graph.records import Rank, TaskRecord


class RecordedCall(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A call as stored: what was called, a digest of its arguments, and what it returned.

    `is_declared` says that the value is encoded by the function's own annotation. The record of a nested graph is made
    when that begins, and has no value: its state is in a namespace of its own, that of its caller if it `is_main`. The
    rest is as in `Mark`.
    """

    name: str
    arguments: bytes
    value: bytes
    is_declared: bool
    kind: Kind = "task"
    nodes: tuple[str, ...] = ()
    nth: int = 0
    is_in_sequence: bool = False
    results: int = 0
    failures: int = 0
    is_main: bool = False

    @property
    def mark(self) -> Mark:
        """The identity of the call: its name and the digest of its arguments."""
        point = Point(self.results, self.failures)
        return Mark(self.kind, self.name, self.arguments, self.nodes, self.nth, self.is_in_sequence, point)


class KeptCall(msgspec.Struct, frozen=True):
    """A call of a run of which nothing is stored, for when its caller is tried again."""

    mark: Mark
    value: object


class Note(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is noted about a caller's records: which an attempt was refused for, and which count no more.

    `task` is the namespace of the task of the thread's plan that the caller is a part of.
    """

    refused: tuple[int, ...] = ()
    discarded: tuple[int, ...] = ()
    task: str = ""


@dataclass(slots=True, eq=False)
class Begun:
    """A call of this attempt. `has_overlapped` says that another one began before it was over.

    `target` is the function or graph, and `place` that of its record.
    """

    mark: Mark
    content: Digested
    target: object
    has_overlapped: bool = False
    is_indistinct: bool = False
    place: int = 0

    def recorded(self, value: bytes = b"", *, is_declared: bool = False, is_main: bool = False) -> RecordedCall:
        """The record of it."""
        mark = self.seen
        return RecordedCall(
            name=mark.name,
            arguments=mark.digest,
            value=value,
            is_declared=is_declared,
            kind=mark.kind,
            nodes=mark.nodes,
            nth=mark.nth,
            is_in_sequence=mark.is_in_sequence,
            results=mark.point.results,
            failures=mark.point.failures,
            is_main=is_main,
        )

    def is_another(self, other: "Begun") -> bool:
        """Whether two calls of one mark are different ones: of another function, with other opaque arguments."""
        return self.target is not other.target or self.content.differs_unseen(other.content)

    @property
    def seen(self) -> Mark:
        """Its mark, as far as it is known now: a call that another one has overlapped was not in sequence."""
        return msgspec.structs.replace(self.mark, is_in_sequence=self.mark.is_in_sequence and not self.has_overlapped)


_encoder = msgspec.msgpack.Encoder()
_call_decoder = msgspec.msgpack.Decoder(RecordedCall)
_note_decoder = msgspec.msgpack.Decoder(Note)


class Claims:
    """The records of one piece of code, over all attempts at it in this process, and which of them this one claimed."""

    def __init__(self, run: GraphRun, ns: str, born: int) -> None:
        self._run = run
        self._ns = ns
        self._born = born
        self._recorded: dict[int, RecordedCall | KeptCall] = dict(run.shared.graphs.get(ns, {}))
        self._note, self._note_revision = Note(), 0
        store = run.store
        self._unread = store.thread if isinstance(store, Stored) and ns in store.thread.calls_in else None
        self._loading = asyncio.Lock()
        self._claimed: set[int] = set()
        self._begun: dict[tuple[str, str, bytes], list[Begun]] = {}
        self._main: Begun | None = None
        self._under_way: list[Begun] = []
        self._results = self._failures = 0

    def begin(self) -> None:
        """Another attempt starts: nothing is claimed yet."""
        self._claimed = set()
        self._begun = {}
        self._main = None
        self._under_way = []
        self._results = self._failures = 0

    def call(
        self, context: TaskContext, mark: Mark, content: Digested, target: object, by: "asyncio.Task[object] | None"
    ) -> Begun:
        """A call begins, made in the asyncio task `by`. `mark` says what is called.

        Raises `InvalidCallError` where nothing but their order tells it from another one, and a race decides that.
        """
        point = Point(self._results, self._failures)
        is_in_sequence = not self._under_way and by is context.runner
        begun = Begun(msgspec.structs.replace(mark, is_in_sequence=is_in_sequence, point=point), content, target)
        for other in self._under_way:
            other.has_overlapped = True
        alike = self._begun.setdefault((mark.kind, mark.name, mark.digest), [])
        for other in alike:
            is_ordered = begun.seen.is_in_sequence and other.seen.is_in_sequence
            if not is_ordered and other.mark.is_like(mark) and begun.is_another(other):
                if self._run.store.is_stored:
                    kinds = {type(part).__qualname__ for part in content.opaque}
                    raise InvalidCallError.of_overlapping(
                        _where(context), called=_named(mark), unreadable=sorted(kinds)
                    )
                # Where nothing is stored, neither is kept for the next attempt.
                begun.is_indistinct = other.is_indistinct = True
        alike.append(begun)
        self._under_way.append(begun)
        return begun

    def over(self, begun: Begun, *, has_failed: bool) -> None:
        """A call has ended. One that outlived its attempt, and the grace period, is none of this one's."""
        if begun not in self._under_way:
            return
        self._under_way.remove(begun)
        if has_failed:
            self._failures += 1
        else:
            self._results += 1

    async def claim(self, context: TaskContext, begun: Begun) -> RecordedCall | KeptCall | None:
        """The record that is the call's, None for one that is to run. It has a place either way.

        Raises `ReplayMismatchError` where it is made in the place of another.
        """
        await self._load()
        unclaimed = self._unclaimed()
        place = matching_place(begun.mark, unclaimed)
        if place is None and unclaimed and isinstance(begun.target, Topology):
            places = (matching_place(mark, unclaimed) for mark in _former_marks(begun.mark, begun.target))
            place = next((found for found in places if found is not None), None)
        if place is not None:
            self._claimed.add(place)
            begun.place = place
            return self._recorded[place]
        if in_the_way := places_in_the_way(begun.seen, unclaimed):
            recorded = self._recorded[in_the_way[0]].mark
            is_same = (recorded.kind, recorded.name) == (begun.mark.kind, begun.mark.name)
            called = _named(begun.mark) + (_DIFFERENCE[begun.mark.kind] if is_same else "")
            error = self._mismatch(context, recorded=_named(recorded), called=called)
            raise await self._refused(context, in_the_way, error)
        self.move(begun)
        return None

    def move(self, begun: Begun) -> None:
        """Give a call a place that no other has."""
        self._claimed.discard(begun.place)
        taken = {*self._recorded, *self._claimed, *self._note.discarded}
        begun.place, begun.mark = new_place(begun.mark, taken)
        self._claimed.add(begun.place)

    def keep(self, place: int, recorded: RecordedCall | KeptCall) -> None:
        """A call is recorded."""
        self._recorded[place] = recorded
        if isinstance(recorded, RecordedCall) and recorded.kind == "graph":
            self._run.shared.graphs.setdefault(self._ns, {})[place] = recorded

    def take_main(self, begun: Begun) -> bool:
        """Whether a nested graph gets the caller's own namespace: the first one does."""
        is_taken = any(isinstance(each, RecordedCall) and each.is_main for each in self._recorded.values())
        if is_taken or self._main not in (None, begun):
            return False
        self._main = begun
        return True

    async def check_all_claimed(self, context: TaskContext) -> None:
        """The code returned. Raises `ReplayMismatchError` where it left records of an earlier attempt unclaimed."""
        if context.follows_failure():
            # What that attempt had called is superseded by what this one did.
            return
        await self._load()
        unclaimed = self._unclaimed()
        if unclaimed:
            named = sorted({_named(mark) for mark in unclaimed.values()})[:2]
            more = len(unclaimed) - len(named)
            recorded = ", ".join(named) + (f" and {more} more" if more else "")
            error = self._mismatch(context, recorded=recorded, called="", kind="unclaimed")
            raise await self._refused(context, sorted(unclaimed), error)

    async def settle_note(self) -> None:
        """An attempt ended that claimed what an earlier one was refused for: it is not to be discarded any more."""
        left = tuple(place for place in self._note.refused if place not in self._claimed)
        if left != self._note.refused and isinstance(self._run.store, Stored):
            await self._save_note(self._run.store, msgspec.structs.replace(self._note, refused=left))

    def record(self, thread: KnownThread, place: int, recorded: RecordedCall) -> TaskRecord:
        """A call's record, as the store keeps it. It is final: the result of a call is never changed."""
        return _record(thread, self._ns, self._born, place, Rank.DONE, 1, _encoder.encode(recorded))

    # Inside

    def _unclaimed(self) -> dict[int, Mark]:
        gone = {*self._claimed, *self._note.discarded}
        return {place: each.mark for place, each in self._recorded.items() if place not in gone}

    async def _load(self) -> None:
        if self._unread is None:
            return
        async with self._loading:
            if self._unread is None:
                return
            for record in await self._unread.load_records(self._ns):
                if record.born != self._born:
                    continue
                if record.ord == NOTE:
                    self._note, self._note_revision = decoded_note(record.value), record.revision
                elif record.ord not in self._recorded:
                    self._recorded[record.ord] = decoded_call(record.value)
            self._unread = None

    def _mismatch(
        self, context: TaskContext, *, recorded: str, called: str, kind: Literal["call", "unclaimed"] = "call"
    ) -> ReplayMismatchError:
        is_stored = self._run.store.is_stored
        return ReplayMismatchError(
            _where(context),
            recorded=recorded,
            called=called,
            thread_id=context.run.request.thread_id,
            task_id=context.outermost().task_id if is_stored else None,
            kind=kind,
        )

    async def _refused(
        self, context: TaskContext, places: Iterable[int], error: ReplayMismatchError
    ) -> ReplayMismatchError:
        """The error, once it is noted which records it is about: `adiscard_calls` drops those."""
        context.refuse(error)
        if isinstance(self._run.store, Stored):
            task = context.outermost().task_ns
            await self._save_note(self._run.store, Note(tuple(places), self._note.discarded, task))
        return error

    async def _save_note(self, store: Stored, note: Note) -> None:
        record = note_record(store.thread, self._ns, self._born, self._note_revision + 1, note)
        await store.writer.flush()
        (standing,) = await store.writer.save_records((record,))
        self._note, self._note_revision = decoded_note(standing.value), standing.revision


def note_record(thread: KnownThread, ns: str, born: int, revision: int, note: Note) -> TaskRecord:
    """The record of a note. One of a later revision takes its place."""
    return _record(thread, ns, born, NOTE, Rank.FAILED, revision, _encoder.encode(note))


def _record(thread: KnownThread, ns: str, born: int, place: int, rank: Rank, revision: int, value: bytes) -> TaskRecord:
    record = TaskRecord(ns, born, place, rank, revision, thread.commit_id, value, b"")
    return msgspec.structs.replace(record, digest=record_digest(thread.row.origin, record))


def decoded_call(data: bytes) -> RecordedCall:
    """Raises `DecodeError`."""
    try:
        return _call_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError("the record of a call", str(error)) from error


def encoded_call(recorded: RecordedCall) -> bytes:
    """The bytes that `decoded_call` reads."""
    return _encoder.encode(recorded)


def decoded_note(data: bytes) -> Note:
    """Raises `DecodeError`."""
    try:
        return _note_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError("a note about calls", str(error)) from error


def _former_marks(mark: Mark, topology: Topology) -> Iterator[Mark]:
    """The call of a graph under the names that it had before, and as the graph without a name that it may have been."""
    if topology.graph_name is not None:
        yield from (msgspec.structs.replace(mark, name=name) for name in topology.formerly)
        yield msgspec.structs.replace(mark, name=UNNAMED, nodes=tuple(sorted(topology.nodes)))


_LONG = 40
_DIFFERENCE: Mapping[Kind, str] = {"task": " with other arguments", "graph": " with another input"}


def _named(mark: Mark) -> str:
    name = f"the {mark.kind} {mark.name[:_LONG]!r}"
    if mark.nodes:
        nodes = ", ".join(mark.nodes)
        name += f" (with {nodes if len(nodes) <= _LONG else nodes[:_LONG] + '...'})"
    return name


def _where(context: TaskContext) -> str:
    kind = "task" if context.around is not None else "node"
    return f"{kind} {context.node[:_LONG]!r}"
