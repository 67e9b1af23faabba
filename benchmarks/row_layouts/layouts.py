"""The layouts, and supersteps as the rows that each layout writes for them."""

from collections.abc import Sequence
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar

import msgspec

from benchmarks.engines.log import SUPERSTEP
from benchmarks.engines.log import Row as FloorRow
from durable_graph._engine.header import Header, PlanEntry, encode_header
from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.digests import add, checkpoint_digest, origin_of, value_digest
from durable_graph.checkpointing.prepared import PreparedWrite, prepare
from durable_graph.records import (
    EMPTY_SUM,
    CheckpointRow,
    CommitUnit,
    NewCheckpoint,
    StoredThread,
    Summary,
    ValueKind,
    ValueRow,
)

T = TypeVar("T")
Order = Literal["hashed", "newest", "oldest"]

GRAPH_DIGEST: Final = bytes(range(16))
COMMIT_ID: Final = bytes(range(16, 32))


class Layout(NamedTuple):
    """`has_channel_rows`: each changed channel is a row; otherwise it is part of the checkpoint's header.

    `rewrites_every`: each so many supersteps replace the thread's row. Between them the primary key of the checkpoints
    refuses a second writer, and the epoch in the thread's row is compared as always.

    `order` says where the keys of the measured threads lie: "hashed" among those of the other threads, "newest" after
    them and "oldest" before them. The last two are keys by order of creation.
    """

    name: str
    has_channel_rows: bool = True
    rewrites_every: int = 1
    order: Order = "hashed"


B: Final = Layout("B: thread, checkpoint, channel")
C: Final = Layout("C: B, keys by creation, newest threads", order="newest")
C_OLDEST: Final = Layout("C: B, keys by creation, oldest threads", order="oldest")
D: Final = Layout("D: thread, checkpoint with channel", has_channel_rows=False)
E: Final = Layout("E: checkpoint, channel; thread each 10th", rewrites_every=10)
F: Final = Layout("F: checkpoint with channel; thread each 10th", has_channel_rows=False, rewrites_every=10)

ON_SQLITE: Final = (B, C, C_OLDEST, D, E, F)
ON_POSTGRES: Final = (B, D, E, F)


class RefusedError(Exception):
    """The database refused a superstep: another writer was first, or the thread's epoch has changed."""


class Superstep(NamedTuple):
    """The rows of one superstep of one thread. `write.before` is the thread's row that is stored."""

    write: PreparedWrite
    replaces_thread: bool


class Thread:
    """A run of one thread: its first commit, and then supersteps that change one channel each."""

    def __init__(self, name: str, key: int, layout: Layout) -> None:
        self.name = name
        self.key = key
        self._layout = layout
        self._origin = origin_of(name, 1)
        # The thread after the newest superstep, and as its row in the database has it.
        self._newest: StoredThread | None = None
        self._stored: StoredThread | None = None

    def next(self) -> Superstep:
        number = 1 + (self._newest.row.version if self._newest else 0)
        write = prepare(self._unit(number))
        assert write is not None
        is_due = self._stored is None or number % self._layout.rewrites_every == 0
        superstep = Superstep(msgspec.structs.replace(write, key=self.key, before=self._stored), is_due)
        self._newest = write.after
        if is_due:
            self._stored = write.after
        return superstep

    def _unit(self, number: int) -> CommitUnit:
        """What a chain of nodes commits for a superstep that counts one further."""
        value = ValueRow("count", number, 0, ValueKind.FULL, b"\x01" + msgspec.msgpack.encode(number), b"")
        value = msgspec.structs.replace(value, digest=value_digest(self._origin, "", value))
        plan = (PlanEntry(f"n{number}", 0, 0),)
        header = encode_header(Header(step=number, source="loop", plan=plan, writers=(f"n{number - 1}",)))
        values: tuple[ValueRow, ...] = (value,)
        if not self._layout.has_channel_rows:
            header, values = with_changes(header, values), ()
        row = CheckpointRow(
            ns="",
            no=number,
            parent=number - 1,
            born=number,
            at=1_700_000_000_000_000 + number,
            commit_id=COMMIT_ID,
            header=header,
            state_digest=add(EMPTY_SUM, value.digest),
            digest=b"",
        )
        row = msgspec.structs.replace(row, digest=checkpoint_digest(self._origin, row))
        return CommitUnit(
            thread=self.name,
            incarnation=1,
            origin=self._origin,
            expected=number - 1,
            epoch=0,
            wseq=0,
            gen=0,
            commit_id=COMMIT_ID,
            at=row.at,
            status="running",
            checkpoints=(NewCheckpoint(row, values),),
            summary=Summary(None, GRAPH_DIGEST, (f"n{number}",)),
            base=self._newest,
        )


class FloorThread:
    """A run of one thread on the floor, which writes one row for each superstep."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._number = 0

    def next(self) -> FloorRow:
        self._number += 1
        data = msgspec.msgpack.encode((1_700_000_000.5, [f"n{self._number}"], {"count": self._number}))
        return self.name, self._number, SUPERSTEP, 0, data


class Population(NamedTuple, Generic[T]):
    """The threads that are measured, and the others."""

    measured: Sequence[T]
    others: Sequence[T]


def threads_of(layout: Layout, measured: int, others: int) -> Population[Thread]:
    names = sorted((f"{number:032x}" for number in range(measured + others)), key=key_of)
    own = _chosen(names, measured, layout.order)
    keys = {name: key_of(name) if layout.order == "hashed" else place for place, name in enumerate(names, 1)}
    threads = {name: Thread(name, keys[name], layout) for name in names}
    return Population([threads.pop(name) for name in own], list(threads.values()))


def threads_of_floor(measured: int, others: int) -> Population[FloorThread]:
    names = [f"{number:032x}" for number in range(measured + others)]
    threads = {name: FloorThread(name) for name in names}
    own = _chosen(names, measured, "hashed")
    return Population([threads.pop(name) for name in own], list(threads.values()))


def _chosen(names: Sequence[str], measured: int, order: Order) -> Sequence[str]:
    """The measured ones of these names, which have the order of their keys."""
    if order == "newest":
        return names[-measured:]
    if order == "oldest":
        return names[:measured]
    # Evenly among the others.
    return [names[(2 * place + 1) * len(names) // (2 * measured)] for place in range(measured)]


class Counts(NamedTuple):
    """What is stored of a thread: the version in its row, its checkpoints, and the changes of its channels."""

    version: int
    checkpoints: int
    changes: int


def with_changes(header: bytes, values: Sequence[ValueRow]) -> bytes:
    """A header that contains the changes of the channels."""
    return msgspec.msgpack.encode((header, [(row.channel, row.prev, int(row.kind), row.value) for row in values]))


def changes_in(headers: Sequence[bytes]) -> int:
    """How many changes of channels these headers contain."""
    return sum(len(msgspec.msgpack.decode(header, type=tuple[bytes, list[Any]])[1]) for header in headers)
