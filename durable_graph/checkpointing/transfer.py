"""Whole threads as a file, for another store, database or machine. The format is in docs/storage.md.

Rows are copied as they are stored, digests included, and are not decoded. So damage in a thread stays detectable after
the import.

    durable_graph threads 1\\n                  the file's kind and the version of its format
    frame ...                                  one for each thread: a msgpack map {"thread": id, "tables": {name: rows}}
    frame                                      the last frame: {"end": number of threads}

A frame is the length of its content (8 bytes, big-endian), a BLAKE2b digest of it (16 bytes), and the content. The rows
of a table are arrays of the columns in `COLUMNS`: texts, integers of 64 bits, bytes, or nothing.
"""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any, Literal, Protocol, runtime_checkable

import msgspec

from durable_graph.checkpointing.columns import Columns
from durable_graph.checkpointing.imported_families import send_ends
from durable_graph.checkpointing.protocol import Checkpointer
from durable_graph.checkpointing.publishing import publish
from durable_graph.checkpointing.run_store import KeepsRuns
from durable_graph.errors import (
    CorruptCheckpointError,
    DurableGraphError,
    InvalidOptionError,
    StoreUnavailableError,
    ThreadExistsError,
    TransferError,
    UnknownThreadError,
)
from durable_graph.records import ThreadInfo
from durable_graph.run_records import RunState, WaitsOn

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "threads": (
        *("thread_id", "incarnation", "origin", "graph", "graph_digest", "version", "head", "epoch", "writes_seq"),
        *("prunes", "oldest_kept", "run_seq", "status", "status_since", "created_at", "updated_at", "commit_id"),
        *("next", "metadata", "error", "extra", "writes_digest", "branches_digest", "requests_digest", "digest"),
    ),
    "branches": ("first", "parent", "digest", "extra"),
    "checkpoints": (
        *("namespace", "number", "parent", "planned_at", "made_at", "commit_id", "state_digest", "digest", "extra"),
        "header",
    ),
    "channel_rows": ("namespace", "channel", "number", "previous", "kind", "digest", "value"),
    "tasks": (*("namespace", "planned_at", "position", "rank", "revision", "commit_id", "digest", "extra", "value"),),
    "requests": ("key", "input_digest", "seq", "checkpoint", "made_at", "extra", "digest"),
    "runs": (
        *(
            "seq",
            "state",
            "priority",
            "due",
            "deadline",
            "first_checkpoint",
            "checkpoint",
            "claimed_version",
            "attempt",
        ),
        *("crashes", "inbox", "worker", "request", "accepted_at", "ended_at", "limit_key", "parent_key", "parent_seq"),
        *("on_parent", "queue", "graph", "thread_id", "error", "waits_on", "metadata", "from_checkpoint"),
        *("input_digest", "input", "options", "context", "extra"),
    ),
    "messages": ("seq", "topic", "key", "taken", "made_at", "extra", "value"),
    "thread_metadata": ("updated_at", "metadata"),
}
"""The tables of a thread, and the columns of each, without the key that is a hash of the thread's id."""

_TEXTS = frozenset({"thread_id", "graph", "status", "next", "metadata", "error", "namespace", "channel", "key"}) | {
    *("queue", "waits_on", "topic")
}
_BYTES = frozenset({"origin", "commit_id", "extra", "header", "value", "input_digest", "digest"}) | {
    *("graph_digest", "writes_digest", "branches_digest", "requests_digest", "state_digest"),
    *("input", "options", "context"),
}
_MAY_BE_MISSING: Mapping[str, frozenset[str]] = {
    "threads": frozenset({"graph", "error"}),
    "runs": frozenset({"error", "waits_on", "metadata", "from_checkpoint"}),
}
"""The types of the columns: text, bytes, columns that may be null; all other columns are integers."""

_MAGIC = b"durable_graph threads 1\n"
_LENGTH, _DIGEST = 8, 16
_PAGE = 500


class ExportedThread(msgspec.Struct, frozen=True):
    """A thread as it is stored: the rows of each table of `COLUMNS`, in the order of their keys."""

    thread: str
    tables: dict[str, list[Columns]]


@runtime_checkable
class Transferable(Protocol):
    """A saver that can export and import threads."""

    async def export_thread(self, thread: str) -> ExportedThread | None:
        """A consistent copy of the thread, in any state. None if there is no such thread."""
        ...

    async def import_thread(self, exported: ExportedThread) -> None:
        """Store the whole thread or nothing of it. Raises `ThreadExistsError` if a thread has this id."""
        ...


class Exported(msgspec.Struct, frozen=True):
    """The number of threads in a file."""

    threads: int


class Imported(msgspec.Struct, frozen=True):
    """The number of imported threads, and the ids of threads that existed already."""

    threads: int
    skipped: tuple[str, ...] = ()


async def export_threads(
    checkpointer: Checkpointer, path: str | Path, *, thread_ids: Iterable[str] | None = None
) -> Exported:
    """Write threads, by default all, to a new file. Runs may continue meanwhile: each thread's copy is consistent.

    The file appears under its name once it is complete, and only its owner may read it. One thread is in memory at a
    time.

    Raises `UnknownThreadError` for an unknown id, `StoreUnavailableError` for a full disk, and `InvalidOptionError` for
    a path that exists or where no file can be created, and for a saver that cannot export.
    """
    saver, target = _transferable(checkpointer), Path(path)
    partial = target.parent / f"{target.name}.partial-{os.urandom(4).hex()}"
    making = asyncio.ensure_future(asyncio.to_thread(_create, target, partial))
    try:
        file = await asyncio.shield(making)
        count = 0
        async for thread in _ids(checkpointer, thread_ids):
            exported = await saver.export_thread(thread)
            if exported is None:
                if thread_ids is None:
                    # The thread was deleted since it was listed.
                    continue
                raise UnknownThreadError(thread)
            await asyncio.to_thread(_write, target, file, exported)
            count += 1
        await asyncio.to_thread(_finish, file, partial, target, count)
    finally:
        # Cancelling the caller does not stop `_create` in its worker thread: wait until it has ended.
        await asyncio.wait([making])
        if making.exception() is None:
            await asyncio.to_thread(_discard, making.result(), partial)
    return Exported(count)


async def import_threads(
    checkpointer: Checkpointer, path: str | Path, *, if_exists: Literal["reject", "skip"] = "reject"
) -> Imported:
    """Store the threads of a file, each unchanged and under its own id. The whole file is checked first.

    A thread whose id exists in the store is not imported: with "reject" the call raises, and the threads before it stay
    imported; with "skip" the call continues. Task ids stay the same, so user code that uses them as idempotency keys
    recognises its earlier side effects; do not continue one thread in both stores: the runs that have not ended are
    imported, and workers of this store execute them.

    Raises `TransferError` for a file that is damaged, incomplete or of another format, before anything is stored,
    `ThreadExistsError`, and `InvalidOptionError` for a path that cannot be read and a saver that cannot import. A
    damaged thread that the store cannot hold is skipped, and `CorruptCheckpointError` is raised for it after all others
    are imported.
    """
    if if_exists not in ("reject", "skip"):
        raise InvalidOptionError("if_exists", if_exists, allowed="'reject' or 'skip'")
    saver, source = _transferable(checkpointer), Path(path)
    await asyncio.to_thread(_check, source)
    threads, skipped = 0, []
    damaged: list[CorruptCheckpointError] = []
    frames = _threads(source)
    while (exported := await asyncio.to_thread(next, frames, None)) is not None:
        try:
            _check_types(exported)
            await saver.import_thread(exported)
            threads += 1
        except ThreadExistsError:
            if if_exists == "reject":
                raise
            skipped.append(exported.thread)
        except CorruptCheckpointError as error:
            damaged.append(error)
            continue
        damaged += await _send_ends(checkpointer, exported)
    if damaged:
        raise damaged[0]
    return Imported(threads, tuple(skipped))


async def _send_ends(checkpointer: Checkpointer, exported: ExportedThread) -> list[CorruptCheckpointError]:
    """See `send_ends`. Also for a thread that is skipped: an earlier import may have stopped before it did this."""
    if isinstance(checkpointer, KeepsRuns):
        runs = [dict(zip(COLUMNS["runs"], row, strict=True)) for row in exported.tables["runs"]]
        try:
            await send_ends(checkpointer.runs, exported.thread, runs)
        except CorruptCheckpointError as error:
            return [error]
    return []


def is_thread(tables: Mapping[str, list[Columns]]) -> bool:
    """Whether these rows are of an existing thread: not only a tombstone."""
    at = COLUMNS["threads"].index("status")
    return any(row[at] != "deleted" for row in tables["threads"])


def rows_of(exported: ExportedThread, table: str, key: int) -> list[Columns]:
    """A table's rows for insertion, with the thread's key first. No worker of this store has the thread's runs."""
    rows = exported.tables[table]
    return [(key, *(_without_worker(row) if table == "runs" else row)) for row in rows]


def _without_worker(row: Columns) -> Columns:
    """The row of a run that is ready if it was running."""
    run = dict(zip(COLUMNS["runs"], row, strict=True))
    state = RunState.READY if run["state"] == RunState.RUNNING else run["state"]
    return tuple({**run, "state": int(state), "worker": 0}.values())


def _transferable(checkpointer: Checkpointer) -> Transferable:
    if not isinstance(checkpointer, Transferable):
        allowed = "a saver with export_thread and import_thread: MemorySaver, SqliteSaver, PostgresSaver"
        raise InvalidOptionError("checkpointer", type(checkpointer).__name__, allowed=allowed)
    return checkpointer


async def _ids(checkpointer: Checkpointer, thread_ids: Iterable[str] | None) -> AsyncIterator[str]:
    if thread_ids is not None:
        for thread in dict.fromkeys(thread_ids):
            yield thread
        return
    after: ThreadInfo | None = None
    while page := await checkpointer.list_threads(after=after, limit=_PAGE):
        for info in page:
            yield info.thread
        after = page[-1]


def _exists(path: Path) -> InvalidOptionError:
    return InvalidOptionError("path", str(path), allowed="a path where there is no file yet")


@contextmanager
def _translating_errors(path: Path, allowed: str) -> Iterator[None]:
    """Translate errors of the file system, and Python's `ValueError` for an impossible path, into the library's."""
    try:
        yield
    except DurableGraphError:
        raise
    except FileExistsError as error:
        raise _exists(path) from error
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreUnavailableError(str(path), str(error), kind="full") from error
        why = error.strerror if isinstance(error, OSError) else "it is not a valid path"
        raise InvalidOptionError("path", str(path), allowed=f"{allowed} ({why})") from error


_NEW = "a path where a file can be made"


def _create(target: Path, partial: Path) -> IO[bytes]:
    with _translating_errors(target, _NEW):
        if target.exists():
            raise _exists(target)
        file = os.fdopen(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")
        file.write(_MAGIC)
        return file


def _write(target: Path, file: IO[bytes], content: object) -> None:
    data = msgspec.msgpack.encode(content)
    with _translating_errors(target, _NEW):
        file.write(len(data).to_bytes(_LENGTH, "big") + _digest(data))
        file.write(data)


def _finish(file: IO[bytes], partial: Path, target: Path, count: int) -> None:
    _write(target, file, {"end": count})
    with _translating_errors(target, _NEW):
        file.flush()
        os.fsync(file.fileno())
        file.close()
        publish(partial, target)


def _discard(file: IO[bytes], partial: Path) -> None:
    # Closing flushes the buffer, which fails on a full disk. The partial file is removed anyway.
    with suppress(OSError):
        file.close()
    partial.unlink(missing_ok=True)


def _check(source: Path) -> None:
    """Raises `TransferError` unless every frame of the file is complete and valid."""
    for _ in _threads(source):
        pass


def _threads(source: Path) -> Iterator[ExportedThread]:
    with _translating_errors(source, "the path of an export"), source.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise TransferError(
                str(source), "it is not an export of threads, or its version is not supported", kind="import"
            )
        count = 0
        while "end" not in (content := _content(source, file)):
            yield _exported(source, content)
            count += 1
        if content["end"] != count:
            raise TransferError(str(source), f"it should have {content['end']} threads and has {count}", kind="import")
        if file.read(1):
            raise TransferError(str(source), "data follows its end", kind="import")


def _content(source: Path, file: IO[bytes]) -> dict[str, Any]:
    head = file.read(_LENGTH + _DIGEST)
    size = int.from_bytes(head[:_LENGTH], "big")
    remaining = os.fstat(file.fileno()).st_size - file.tell()
    if len(head) < _LENGTH + _DIGEST or size > remaining:
        raise TransferError(str(source), "it is incomplete", kind="import")
    data = file.read(size)
    if _digest(data) != head[_LENGTH:]:
        raise TransferError(str(source), "its bytes do not match their digest", kind="import")
    try:
        found = msgspec.msgpack.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TransferError(str(source), f"a frame cannot be read ({error})", kind="import") from error
    return found


def _exported(source: Path, content: dict[str, Any]) -> ExportedThread:
    try:
        exported = msgspec.convert(content, ExportedThread)
    except msgspec.ValidationError as error:
        raise TransferError(str(source), f"a thread cannot be read ({error})", kind="import") from error
    widths = {table: {len(row) for row in rows} for table, rows in exported.tables.items()}
    expected = {table: len(columns) for table, columns in COLUMNS.items()}
    is_of_tables = widths.keys() == expected.keys() and len(exported.tables["threads"]) == 1
    if not is_of_tables or any(found - {expected[table]} for table, found in widths.items()):
        raise TransferError(str(source), f"thread {exported.thread!r} has other tables or columns", kind="import")
    if not all(_is_value(value) for rows in exported.tables.values() for row in rows for value in row):
        raise TransferError(str(source), f"thread {exported.thread!r} has a value of another type", kind="import")
    return exported


def _is_value(value: object) -> bool:
    if type(value) is int:
        return -(1 << 63) <= value < 1 << 63
    return value is None or type(value) in (str, bytes)


def _check_types(exported: ExportedThread) -> None:
    """Raises `CorruptCheckpointError` for a column of another type, which an export of a damaged database may have."""
    for table, columns in COLUMNS.items():
        for row in exported.tables[table]:
            for column, value in zip(columns, row, strict=True):
                if not _is_of_column(table, column, value):
                    why = f"its column {column} holds {type(value).__name__}"
                    raise CorruptCheckpointError(exported.thread, row=f"a row of {table}", why=why)
                if table in _WITH_JSON and not _can_be_read(exported.thread, column, value):
                    why = f"its {column} is {value!r}"
                    raise CorruptCheckpointError(exported.thread, row=f"a row of {table}", why=why)


_WITH_JSON = ("runs", "thread_metadata")
_STATES = frozenset(map(int, RunState))
_JSON: Mapping[str, type] = {"waits_on": WaitsOn, "metadata": dict}


def _can_be_read(thread: str, column: str, value: object) -> bool:
    """Whether the row of a run, or of a thread's metadata, can have this value. Stores read the objects in some of its
    columns."""
    if column in _JSON and isinstance(value, str):
        try:
            msgspec.json.decode(value, type=_JSON[column])
        except (ValueError, RecursionError):
            return False
    return (column != "thread_id" or value == thread) and (column != "state" or value in _STATES)


def _is_of_column(table: str, column: str, value: object) -> bool:
    if value is None:
        return column in _MAY_BE_MISSING.get(table, ())
    return isinstance(value, str if column in _TEXTS else bytes if column in _BYTES else int)


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=_DIGEST).digest()
