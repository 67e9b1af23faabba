"""The decisions about the directory of threads that all stores have in common, as functions of values without I/O.

The metadata of a thread is searched by digests: one for each of its keys, together with the value. So two values are
equal in every store exactly if they are the same JSON, and an index finds them.
"""

import math
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from durable_graph.checkpointing.directory import (
    MOST_METADATA_BYTES,
    DirectoryStatus,
    ThreadEntry,
    ThreadQuery,
)
from durable_graph.errors import CorruptCheckpointError, InvalidOptionError
from durable_graph.records import ThreadInfo, is_text
from durable_graph.run_records import RunState, WaitsOn

_DIGEST = 16
_LARGEST = 1 << 63
_DEEPEST = 100

_OBJECT = f"a dict with text keys and JSON values, at most {MOST_METADATA_BYTES} bytes of JSON"


# Metadata -----------------------------------------------------------------------------------------


def encoded_metadata(metadata: object) -> str:
    """The metadata as a JSON object. Raises `InvalidOptionError` for other values, and for more bytes than the
    limit."""
    if not isinstance(metadata, Mapping):
        raise InvalidOptionError("metadata", metadata, allowed=_OBJECT)
    for key, value in metadata.items():
        if not _is_key(key) or not _is_json(value, _DEEPEST):
            raise InvalidOptionError(f"metadata[{key!r}]", value, allowed=_OBJECT)
    return _bounded(msgspec.json.encode(dict(metadata)))


def merged_metadata(thread: str, before: str, changes: str) -> str:
    """The metadata of the thread after the values of these keys were replaced. Raises `InvalidOptionError` above the
    limit, and `CorruptCheckpointError` for damaged metadata."""
    try:
        kept = decoded_metadata(before)
    except UNREADABLE as error:
        raise CorruptCheckpointError(thread, row="the row of its metadata", why=_NO_OBJECT) from error
    return _bounded(msgspec.json.encode({**kept, **decoded_metadata(changes)}))


UNREADABLE = (ValueError, RecursionError)
"""The errors of decoding a text that is no JSON object."""

_NO_OBJECT = "it is no JSON object"


def decoded_metadata(metadata: str) -> dict[str, Any]:
    """The metadata of a thread as a dict. Raises one of `UNREADABLE`."""
    return msgspec.json.decode(metadata, type=dict[str, Any])


def entries_of(metadata: Mapping[str, Any]) -> tuple[bytes, ...]:
    """The digests of the keys of this metadata with their values, sorted. Numbers that are equal have one digest."""
    pairs = (msgspec.json.encode([key, _canonical(value)], order="sorted") for key, value in metadata.items())
    return tuple(sorted(blake2b(pair, digest_size=_DIGEST).digest() for pair in pairs))


def entries_in(metadata: str) -> tuple[bytes, ...]:
    """As `entries_of`, of a JSON object."""
    return entries_of(decoded_metadata(metadata))


def _bounded(encoded: bytes) -> str:
    if len(encoded) > MOST_METADATA_BYTES:
        what = f"{len(encoded)} bytes of JSON"
        raise InvalidOptionError("metadata", what, allowed=_OBJECT)
    return encoded.decode()


def _is_key(key: object) -> bool:
    return isinstance(key, str) and is_text(key)


def _is_json(value: object, depth: int) -> bool:
    match value:
        case None | bool():
            return True
        case str():
            return is_text(value)
        case int():
            return -_LARGEST <= value < _LARGEST
        case float():
            return math.isfinite(value)
        case Mapping():
            return depth > 0 and all(_is_key(key) and _is_json(each, depth - 1) for key, each in value.items())
        case list() | tuple():
            return depth > 0 and all(_is_json(each, depth - 1) for each in value)
        case _:
            return False


def _canonical(value: Any) -> Any:
    """The value with one form for equal numbers: JSON does not tell 1 from 1.0."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case Mapping():
            return {key: _canonical(each) for key, each in value.items()}
        case list() | tuple():
            return [_canonical(each) for each in value]
        case _:
            return value


# A thread -----------------------------------------------------------------------------------------


class RunMark(msgspec.Struct, frozen=True, gc=False):
    """The part of a run's row that decides about the status of its thread."""

    state: int
    due: int
    deadline: int
    waits_on: str | None
    graph: str
    ended_at: int
    error: str | None


class StoredMetadata(msgspec.Struct, frozen=True, gc=False):
    """The metadata of a thread, and the time of its last change. `entries` are its digests."""

    text: str = "{}"
    updated_at: int = 0
    entries: frozenset[bytes] = frozenset()


NO_METADATA = StoredMetadata()


def stored_metadata(text: str, updated_at: int) -> StoredMetadata:
    """The metadata with its digests."""
    return StoredMetadata(text, updated_at, frozenset(entries_in(text)))


def entry_of(info: ThreadInfo, metadata: StoredMetadata, first: RunMark | None, last: RunMark | None) -> ThreadEntry:
    """The thread in the directory. `first` is its first run that has not ended, `last` its last run. A thread with
    unreadable metadata has the status "error"."""
    status, error = _status_of(info, first, last)
    try:
        decoded = decoded_metadata(metadata.text)
    except UNREADABLE:
        decoded, status, error = {}, "error", f"the row of its metadata is damaged: {_NO_OBJECT}"
    return ThreadEntry(
        thread=info.thread,
        status=status,
        metadata=decoded,
        graph=info.graph if info.graph is not None or first is None else first.graph,
        created_at=info.created_at,
        updated_at=max(info.updated_at, metadata.updated_at),
        next=info.next,
        error=error,
    )


def _status_of(info: ThreadInfo, first: RunMark | None, last: RunMark | None) -> tuple[DirectoryStatus, str | None]:
    """The status of a thread, and the reason of an error. As the part `standing` of the databases' statements has it
    for undamaged rows."""
    if info.status == "damaged":
        return "error", info.damage
    if first is not None:
        return _status_of_run(first)
    if last is not None and last.state in _ERRORS and last.ended_at >= info.updated_at:
        return "error", last.error
    match info.status:
        case "failed":
            return "error", info.error
        case "running":
            return "busy", None
        case "interrupted":
            return "interrupted", None
        case _:
            return "idle", None


_ERRORS = (RunState.FAILED, RunState.QUARANTINED)


def _status_of_run(run: RunMark) -> tuple[DirectoryStatus, str | None]:
    if run.state != RunState.WAITING:
        return "busy", None
    try:
        waits_on = WaitsOn() if run.waits_on is None else msgspec.json.decode(run.waits_on, type=WaitsOn)
    except UNREADABLE:
        return "error", "what its run waits for is damaged: it cannot be read; cancel the run"
    if waits_on.interrupts:
        return "interrupted", None
    # A run that waits for its deadline alone stands at a breakpoint.
    return "busy" if waits_on.topics or run.due < run.deadline else "interrupted", None


# A search -----------------------------------------------------------------------------------------


def after_prefix(prefix: str) -> str | None:
    """The smallest text that is larger than every text with this prefix. None if there is none.

    Texts are compared by their characters, which is the order of their bytes in UTF-8.
    """
    while prefix:
        last = ord(prefix[-1])
        if last < _LAST_CHARACTER:
            # No text has a surrogate.
            following = _AFTER_SURROGATES if last == _BEFORE_SURROGATES else last + 1
            return prefix[:-1] + chr(following)
        prefix = prefix[:-1]
    return None


_BEFORE_SURROGATES, _AFTER_SURROGATES, _LAST_CHARACTER = 0xD7FF, 0xE000, 0x10FFFF


def has_all(query: ThreadQuery, entry: ThreadEntry, entries: frozenset[bytes]) -> bool:
    """Whether the thread fulfils all conditions of the query. `entries` are the digests of its metadata."""
    return (
        entry.thread.startswith(query.prefix)
        and entries.issuperset(query.entries)
        and (query.ids is None or entry.thread in query.ids)
        and query.graph in (None, entry.graph)
        and query.status in (None, entry.status)
    )


def check_page(limit: int, offset: int) -> None:
    """Raises `InvalidOptionError` for an offset that is no whole number from 0 on. `check_limit` checks the limit."""
    if not isinstance(offset, int) or isinstance(offset, bool) or not 0 <= offset < _LARGEST - limit:
        raise InvalidOptionError("offset", offset, allowed="a whole number of at least 0")


def page_of(entries: Iterable[ThreadEntry], sort_by: str, *, descending: bool) -> list[ThreadEntry]:
    """The entries in their order."""
    field = "thread" if sort_by == "thread_id" else sort_by
    return sorted(entries, key=lambda entry: (getattr(entry, field), entry.thread), reverse=descending)
