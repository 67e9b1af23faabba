"""Checks of names that PostgreSQL cannot store: its text has neither NUL characters nor lone surrogates."""

from collections.abc import Iterator
from functools import lru_cache

from durable_graph.checkpointing.directory import ThreadQuery
from durable_graph.checkpointing.schedule_store import ScheduleRow
from durable_graph.errors import InvalidOptionError
from durable_graph.records import CommitUnit, WritesBatch
from durable_graph.run_records import NewMessage, NewRun

_LONGEST_SCHEMA = 63


def check_schema(name: str) -> None:
    """Raises `InvalidOptionError`."""
    # PostgreSQL truncates longer names, and two such names may then be equal.
    length = len(name.encode("utf-8", "replace"))
    if not 0 < length <= _LONGEST_SCHEMA or not _is_text(name):
        raise InvalidOptionError("schema", name, allowed=f"the name of a schema, of up to {_LONGEST_SCHEMA} bytes")


def check_thread(thread: str) -> None:
    """Raises `InvalidOptionError`."""
    _check("thread id", thread)


def check_namespace(ns: str) -> None:
    """Raises `InvalidOptionError`."""
    _check("namespace", ns)


def check_key(key: str) -> None:
    """Raises `InvalidOptionError`."""
    _check("request key", key)


def check_run(run: NewRun) -> None:
    """Check all identifiers of a run. Raises `InvalidOptionError`."""
    _check("thread id", run.thread)
    _check("graph", run.graph)
    _check("queue", run.queue)
    if run.key is not None:
        _check("request key", run.key)


def check_message(message: NewMessage) -> None:
    """Check all identifiers of a message. Raises `InvalidOptionError`."""
    _check("thread id", message.thread)
    _check("topic", message.topic)
    _check("key", message.key)


def check_schedule(row: ScheduleRow) -> None:
    """Check all identifiers of a schedule. Raises `InvalidOptionError`."""
    _check("schedule", row.name)
    _check("graph", row.graph)
    if row.thread is not None:
        _check("thread id", row.thread)


def check_query(query: ThreadQuery) -> None:
    """Check all texts of a search. Raises `InvalidOptionError`."""
    _check("prefix", query.prefix)
    if query.graph is not None:
        _check("graph", query.graph)
    for thread in query.ids or ():
        _check("thread id", thread)


def check_reason(reason: str) -> None:
    """Raises `InvalidOptionError`."""
    _check("reason", reason)


def check_identifiers(written: CommitUnit | WritesBatch) -> None:
    """Check all identifiers in a write. Raises `InvalidOptionError`."""
    _check("thread id", written.thread)
    if written.request is not None:
        _check("request key", written.request.key)
    for record in written.records:
        _check("namespace", record.ns)
    if isinstance(written, CommitUnit):
        for new in written.checkpoints:
            _check("namespace", new.row.ns)
            for value in new.values:
                _check("channel", value.channel)


def too_long(thread: str, written: object) -> InvalidOptionError:
    """The error for a name that does not fit into an index. It names the longest name of the write.

    The server compresses names, so only the server can tell which names fit.
    """
    names = _identifiers_in(written) if isinstance(written, CommitUnit | WritesBatch) else [("thread id", thread)]
    what, name = max(names, key=lambda each: len(each[1].encode()))
    return InvalidOptionError.of_unstorable(what, name, "it is too long for an index of PostgreSQL")


def _identifiers_in(written: CommitUnit | WritesBatch) -> Iterator[tuple[str, str]]:
    yield "thread id", written.thread
    if written.request is not None:
        yield "request key", written.request.key
    for record in written.records:
        yield "namespace", record.ns
    if isinstance(written, CommitUnit):
        for new in written.checkpoints:
            yield "namespace", new.row.ns
            for value in new.values:
                yield "channel", value.channel


# Cached, because a run repeats few names in all of its commits.
@lru_cache(maxsize=4096)
def _check(what: str, name: str) -> None:
    if not _is_text(name):
        why = "cannot hold NUL characters" if "\x00" in name else "cannot hold lone surrogates"
        raise InvalidOptionError.of_unstorable(what, name, f"PostgreSQL's text {why}")


def _is_text(name: str) -> bool:
    # Most names are ASCII, and need no loop over their characters.
    if name.isascii():
        return "\x00" not in name
    return "\x00" not in name and not any("\ud800" <= character <= "\udfff" for character in name)
