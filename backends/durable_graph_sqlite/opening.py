"""Opening a connection to a file of durable_graph: the file is created, migrated, or refused and left unchanged."""

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from durable_graph.errors import (
    DurableGraphError,
    StoreConfigurationError,
    StoreFormatError,
    StoreUnavailableError,
)
from durable_graph_sqlite.failures import code_of, translated, translated_os
from durable_graph_sqlite.private import create_private
from durable_graph_sqlite.retry import Retry, begin, committing
from durable_graph_sqlite.statements import FIRST_FORMAT, MIGRATIONS, SCHEMA, script

APPLICATION_ID = 0x64754772
"""SQLite's application id of a file of threads: "duGr"."""


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file: its application id, its schema, and its migrations by the number of the resulting format.

    `synchronous` decides about a loss of power: with "FULL" no acknowledged write is lost, with "NORMAL" the latest may
    be lost.
    """

    application_id: int
    schema: str
    migrations: Mapping[int, str]
    synchronous: Literal["FULL", "NORMAL"]
    first_format: int
    """The format of the schema before any migration: files of older formats are refused."""


THREADS = FileKind(APPLICATION_ID, SCHEMA, MIGRATIONS, "FULL", FIRST_FORMAT)

# Measured, 1,000 appends of 200 bytes in the closed file: 725 kB with pages of 2048 bytes, 791 with 4096, 819 with 8192
# and 1,196 with 16384; and 610, 542, 548 and 625 us a commit.
PAGE_SIZE = 4096


def is_path(path: str | Path) -> bool:
    """Whether the operating system accepts the path."""
    try:
        return b"\0" not in os.fsencode(path)
    except (TypeError, UnicodeEncodeError):
        return False


def open_database(path: Path, retry: Retry, kind: FileKind = THREADS) -> sqlite3.Connection:
    """A connection to the file, which is created or migrated to the kind's current format. Blocks.

    Several processes may open a new file at once: one of them creates it.

    Raises `StoreConfigurationError`, `StoreFormatError`, `StoreUnavailableError`.
    """
    try:
        _refuse_foreign(path, retry, kind)
        create_private(path)
        return _connect(path, retry, kind)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise _failure(path, error) from error
    except FileNotFoundError as error:
        raise StoreUnavailableError(str(path), _no_directory(path)) from error
    except OSError as error:
        raise translated_os(str(path), error) from error


def _failure(path: Path, error: sqlite3.Error | UnicodeDecodeError) -> DurableGraphError:
    """The library's error for SQLite's, which does not say why the file could not be opened."""
    if path.is_dir():
        return StoreConfigurationError.of_foreign_file(str(path), "it is a directory")
    if isinstance(error, UnicodeDecodeError) or code_of(error) != sqlite3.SQLITE_CANTOPEN:
        return translated(str(path), error)
    if not os.access(path.parent, os.W_OK):
        return StoreUnavailableError(str(path), f"its directory cannot be written ({error})", kind="read_only")
    return translated(str(path), error)


def _no_directory(path: Path) -> str:
    return f"there is no directory {Path(os.path.realpath(path)).parent}; create it first"


def _refuse_foreign(path: Path, retry: Retry, kind: FileKind) -> None:
    """Raise for a file of another kind or of an unsupported format, before any connection can write to it.

    The check uses SQLite: closing a file that was opened otherwise drops all locks that the process holds on it.
    """
    if not path.exists() or path.stat().st_size == 0:
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=0)) as db:
            retry.until_free(lambda: format_of(path, db, kind))
    except sqlite3.OperationalError as error:
        if code_of(error) not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            raise
        _refuse_foreign_after_crash(path, kind)


def _refuse_foreign_after_crash(path: Path, kind: FileKind) -> None:
    """As `_refuse_foreign`, for a file whose journal a crash left to be rolled back, which only its owner may do.

    The file is read as it is, without its journal and without a lock: a process with a lock would have rolled it back.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True, timeout=0)) as db:
            format_of(path, db, kind)
    except sqlite3.DatabaseError as error:
        # The first page was never written: the crash interrupted the file's creation, so the file belongs to no
        # application.
        if code_of(error) != sqlite3.SQLITE_NOTADB:
            raise


def _connect(path: Path, retry: Retry, kind: FileKind) -> sqlite3.Connection:
    # timeout=0, because `Retry` waits for other processes: SQLite's own waiting does not cover every case.
    db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=256)
    try:
        retry.until_free(lambda: prepare(path, db, kind.migrations, kind))
        # With a write-ahead log, readers need not wait for writers, and a commit is one flush.
        retry.until_free(lambda: db.execute("PRAGMA journal_mode = WAL").fetchone())
        db.execute(f"PRAGMA synchronous = {kind.synchronous}")
        db.execute("PRAGMA trusted_schema = OFF")
    except BaseException:
        db.close()
        raise
    return db


def prepare(path: Path, db: sqlite3.Connection, migrations: Mapping[int, str], kind: FileKind = THREADS) -> None:
    """Create the tables, or migrate them to the current format. A current file is not written to."""
    current = max(migrations, default=kind.first_format)
    if not _is_empty(db) and format_of(path, db, kind, current) == current:
        return
    # The page size cannot change once the file has a page, and an open transaction has one.
    db.execute(f"PRAGMA page_size = {PAGE_SIZE}")
    with committing(db, begin):
        # Another process may have been faster, so the file is checked again under the lock.
        if _is_empty(db):
            statements = list(script(kind.schema))
            db.execute(f"PRAGMA application_id = {kind.application_id}")
        else:
            found = format_of(path, db, kind, current)
            statements = [each for step in range(found + 1, current + 1) for each in script(migrations[step])]
        for statement in statements:
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {current}")


def format_of(path: Path, db: sqlite3.Connection, kind: FileKind, newest: int | None = None) -> int:
    """The file's format. Raises `StoreConfigurationError` for another application's file, `StoreFormatError` for an
    unsupported format."""
    (owner,) = db.execute("PRAGMA application_id").fetchone()
    if owner != kind.application_id:
        raise StoreConfigurationError.of_foreign_file(
            str(path), "it is a SQLite database of another application, or of another kind"
        )
    (found,) = db.execute("PRAGMA user_version").fetchone()
    supported = max(kind.migrations, default=kind.first_format) if newest is None else newest
    if not kind.first_format <= found <= supported:
        raise StoreFormatError(str(path), found=found, supported=supported, oldest=kind.first_format)
    return int(found)


def _is_empty(db: sqlite3.Connection) -> bool:
    marks = [db.execute(f"PRAGMA {mark}").fetchone()[0] for mark in ("application_id", "user_version")]
    (objects,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    return not any(marks) and objects == 0
