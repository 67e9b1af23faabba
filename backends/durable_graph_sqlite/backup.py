"""A consistent copy of a store in use. The copy appears at its path complete or not at all."""

import errno
import os
import secrets
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

from durable_graph.checkpointing.publishing import publish, sync
from durable_graph.errors import DurableGraphError, StoreUnavailableError, TransferError
from durable_graph_sqlite.failures import code_of
from durable_graph_sqlite.opening import THREADS, format_of
from durable_graph_sqlite.private import create_private
from durable_graph_sqlite.retry import begin_reading, committing

_PAGES = 1024
"""The pages that are copied between two checks of `stop`: 4 MB."""

_COMPANIONS = ("-wal", "-journal", "-shm")
"""Suffixes of SQLite's other files of a database that is open, or was not closed."""


class _Stopped(Exception):  # noqa: N818  # it is no failure, and does not leave this module
    """The caller no longer wants the copy."""


def back_up(db: sqlite3.Connection, store: Path, target: Path, stop: threading.Event, *, overwrite: bool) -> None:
    """Copy the store of the connection `db`. Blocks until the copy is on the disk or `stop` is set.

    The copy is read in one transaction: it does not have commits that other connections make meanwhile.

    Raises `TransferError`, `StoreUnavailableError`.
    """
    target = Path(os.path.realpath(target))
    try:
        _check_target(store, target, overwrite=overwrite)
        partial = target.with_name(f".{target.name}.{secrets.token_hex(8)}.partial")
        try:
            create_private(partial)
            _copy(db, partial, stop)
            _verify(partial)
            sync(partial)
            if overwrite:
                partial.replace(target)
                sync(target.parent)
            else:
                publish(partial, target)
        finally:
            partial.unlink(missing_ok=True)
    except _Stopped:
        return
    except sqlite3.Error as error:
        raise _failure(target, error) from error
    except OSError as error:
        raise _failure_os(target, error) from error


def _check_target(store: Path, target: Path, *, overwrite: bool) -> None:
    own = [Path(os.path.realpath(store) + suffix) for suffix in ("", *_COMPANIONS)]
    if any(each.exists() and target.exists() and each.samefile(target) for each in own):
        raise TransferError(str(target), "it is the store itself: choose another path", kind="backup")
    if target.exists() and not (overwrite and target.is_file()):
        raise TransferError(
            str(target), "a file exists there; choose another path, or pass overwrite=True", kind="backup"
        )
    if not target.parent.is_dir():
        raise TransferError(str(target), f"there is no directory {target.parent}; create it first", kind="backup")
    for suffix in _COMPANIONS:
        companion = target.with_name(target.name + suffix)
        if companion.exists():
            # SQLite would apply the old log to the new file.
            why = f"{companion.name} exists: a process has that database open, or a crash left the file"
            raise TransferError(str(target), f"{why}; close it, or remove the file", kind="backup")


def _copy(db: sqlite3.Connection, partial: Path, stop: threading.Event) -> None:
    def look(status: int, remaining: int, total: int) -> None:
        if stop.is_set():
            raise _Stopped

    with closing(sqlite3.connect(partial, isolation_level=None)) as copy:
        # If this process or the machine dies, the partial file is useless anyway. It is flushed once, at the end.
        copy.execute("PRAGMA synchronous = OFF")
        copy.execute("PRAGMA journal_mode = OFF").fetchone()
        with committing(db, begin_reading):
            # The first read of a transaction fixes its snapshot. Without a transaction around all steps, SQLite would
            # restart the copy at each commit of another connection.
            db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            db.backup(copy, pages=_PAGES, progress=look)
        # Without a log, the copy is a single file. A saver that opens it switches back to a log.
        copy.execute("PRAGMA journal_mode = DELETE").fetchone()


def _verify(partial: Path) -> None:
    with closing(sqlite3.connect(f"{partial.as_uri()}?mode=ro", uri=True)) as copy:
        format_of(partial, copy, THREADS)
        (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(found)


def _failure(target: Path, error: sqlite3.Error) -> DurableGraphError:
    if code_of(error) == sqlite3.SQLITE_FULL:
        return StoreUnavailableError(str(target), str(error), kind="full")
    if code_of(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, 0):
        return TransferError(str(target), f"the store is damaged ({error}); keep an older backup", kind="backup")
    return TransferError(str(target), str(error), kind="backup")


def _failure_os(target: Path, error: OSError) -> DurableGraphError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreUnavailableError(str(target), str(error), kind="full")
    return TransferError(str(target), str(error), kind="backup")
