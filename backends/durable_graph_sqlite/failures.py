"""Translating errors of SQLite and of the file system to the library's."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from durable_graph.errors import (
    CorruptCheckpointError,
    DurableGraphError,
    InvalidOptionError,
    StoreConfigurationError,
    StoreUnavailableError,
)

_PRIMARY = 0xFF
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def code_of(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 for an error of Python's module itself."""
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection had a lock, so that another attempt may succeed."""
    return code_of(error) in _BUSY


def is_unreadable_text(error: sqlite3.Error) -> bool:
    """Whether a text column is not valid UTF-8. Python's module raises this error, so it has no code of SQLite."""
    return code_of(error) == 0 and "decode to UTF-8" in str(error)


@contextmanager
def told_in_ours(path: str, thread: str | None) -> Iterator[None]:
    """Translate Python's Unicode errors: of a name that SQLite's text cannot hold, and of a damaged file."""
    try:
        yield
    except (UnicodeEncodeError, UnicodeDecodeError) as error:
        raise of_text(path, error, thread) from error


def of_text(path: str, error: UnicodeEncodeError | UnicodeDecodeError, thread: str | None) -> DurableGraphError:
    """The error for a text that Python could not hand to SQLite, or read from it."""
    if isinstance(error, UnicodeDecodeError):
        return translated(path, error, thread)
    what, why = "text", "SQLite's text cannot hold lone surrogates"
    return InvalidOptionError.of_unstorable(what, str(error.object), why)


def translated(path: str, error: sqlite3.Error | UnicodeDecodeError, thread: str | None = None) -> DurableGraphError:
    """The library's error for an error of SQLite. `thread` is the thread whose rows the call used."""
    if isinstance(error, UnicodeDecodeError):
        # SQLite's message quotes the damaged text, and Python decodes the message as UTF-8.
        why = "it is damaged, and SQLite's error message is not valid text"
        return (
            StoreConfigurationError.of_foreign_file(path, why)
            if thread is None
            else CorruptCheckpointError(thread, row=path, why=why)
        )
    if is_unreadable_text(error):
        why = "a text in it is damaged and no UTF-8"
        return (
            StoreConfigurationError.of_foreign_file(path, why)
            if thread is None
            else CorruptCheckpointError(thread, row=path, why=why)
        )
    why = f"{error} ({getattr(error, 'sqlite_errorname', type(error).__name__)})"
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_IOERR_SHMSIZE:
        # The log's index file could not grow. SQLite has no other code for a full disk here.
        return StoreUnavailableError(path, why, kind="full")
    match code_of(error):
        case sqlite3.SQLITE_FULL:
            return StoreUnavailableError(path, why, kind="full")
        case sqlite3.SQLITE_READONLY:
            return StoreUnavailableError(path, why, kind="read_only")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_CONSTRAINT if thread is not None:
            return CorruptCheckpointError(thread, row=f"a row in {path}", why=why)
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return StoreConfigurationError.of_foreign_file(path, why)
        case _:
            return StoreUnavailableError(path, why)


def translated_os(path: str, error: OSError) -> StoreUnavailableError:
    """The library's error for an error of the file system while creating the file."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return StoreUnavailableError(path, str(error), kind="full")
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return StoreUnavailableError(path, f"its directory cannot be written ({error})", kind="read_only")
        case _:
            return StoreUnavailableError(path, str(error))
