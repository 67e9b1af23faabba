"""From a path to a connection on a file of ours: it is created, migrated, or refused and left as it is."""

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from durable_graph.errors import (
    DurableGraphError,
    NotADatabaseError,
    StoreFormatError,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from durable_graph_sqlite.failures import code_of, translated, translated_os
from durable_graph_sqlite.patience import Patience, begin, committing
from durable_graph_sqlite.private import create_private
from durable_graph_sqlite.statements import FIRST_FORMAT, MIGRATIONS, SCHEMA, script

APPLICATION_ID = 0x64754772
"""Marks a file of threads as ours ("duGr"), where SQLite has a place for it."""


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file of ours: its mark, what creates one, and what brings an older one to each later format.

    `synchronous` says what a loss of power may take: "FULL" nothing that was acknowledged, "NORMAL" the latest of it.
    """

    application_id: int
    schema: str
    migrations: Mapping[int, str]
    synchronous: Literal["FULL", "NORMAL"]
    first_format: int
    """That of the schema where there are no migrations yet: older files are refused."""


THREADS = FileKind(APPLICATION_ID, SCHEMA, MIGRATIONS, "FULL", FIRST_FORMAT)

# Measured, 1,000 appends of 200 bytes in the closed file: 725 kB with pages of 2048 bytes, 791 with 4096, 819 with 8192
# and 1,196 with 16384; and 610, 542, 548 and 625 us a commit.
PAGE_SIZE = 4096


def is_path(path: str | Path) -> bool:
    """Whether the operating system can have a file of this name."""
    try:
        return b"\0" not in os.fsencode(path)
    except (TypeError, UnicodeEncodeError):
        return False


def open_database(path: Path, patience: Patience, kind: FileKind = THREADS) -> sqlite3.Connection:
    """A connection on the file, which exists and is of the kind's current format afterwards. Blocks.

    Safe when several processes open a new file at once: one creates it and the others find it.

    Raises `NotADatabaseError`, `StoreFormatError`, `StoreUnavailableError`.
    """
    try:
        _refuse_foreign(path, patience, kind)
        create_private(path)
        return _connect(path, patience, kind)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise _failure(path, error) from error
    except FileNotFoundError as error:
        raise StoreUnavailableError(str(path), _no_directory(path)) from error
    except OSError as error:
        raise translated_os(str(path), error) from error


def _failure(path: Path, error: sqlite3.Error | UnicodeDecodeError) -> DurableGraphError:
    """SQLite's error as ours: it says no more than that it could not open the file."""
    if path.is_dir():
        return NotADatabaseError(str(path), "it is a directory")
    if isinstance(error, UnicodeDecodeError) or code_of(error) != sqlite3.SQLITE_CANTOPEN:
        return translated(str(path), error)
    if not os.access(path.parent, os.W_OK):
        return StoreReadOnlyError(str(path), f"its directory cannot be written ({error})")
    return translated(str(path), error)


def _no_directory(path: Path) -> str:
    return f"there is no directory {Path(os.path.realpath(path)).parent}; create it first"


def _refuse_foreign(path: Path, patience: Patience, kind: FileKind) -> None:
    """Raise for a file that is not of the kind or is newer, through a connection that cannot write to it.

    Through SQLite and not by reading the file: closing a file drops all locks that the process holds on it.
    """
    if not path.exists() or path.stat().st_size == 0:
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=0)) as db:
            patience.until_free(lambda: format_of(path, db, kind))
    except sqlite3.OperationalError as error:
        if code_of(error) not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            raise
        _refuse_foreign_after_crash(path, kind)


def _refuse_foreign_after_crash(path: Path, kind: FileKind) -> None:
    """The same where a crash left a journal to be rolled back, which nobody but the owner shall do.

    Read as it is, with no look at the journal and no lock taken: whoever had one would have rolled it back.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True, timeout=0)) as db:
            format_of(path, db, kind)
    except sqlite3.DatabaseError as error:
        # Its first page was never written: the crash was in its creation, and it is nobody's.
        if code_of(error) != sqlite3.SQLITE_NOTADB:
            raise


def _connect(path: Path, patience: Patience, kind: FileKind) -> sqlite3.Connection:
    # Waiting for other processes is ours to do (timeout=0): SQLite's own waiting does not cover every case of it.
    db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=256)
    try:
        patience.until_free(lambda: prepare(path, db, kind.migrations, kind))
        # To a log first: readers need not wait for writers then, and a commit is one flush.
        patience.until_free(lambda: db.execute("PRAGMA journal_mode = WAL").fetchone())
        db.execute(f"PRAGMA synchronous = {kind.synchronous}")
        db.execute("PRAGMA trusted_schema = OFF")
    except BaseException:
        db.close()
        raise
    return db


def prepare(path: Path, db: sqlite3.Connection, migrations: Mapping[int, str], kind: FileKind = THREADS) -> None:
    """Create the tables, or bring them to the current format. What is found to be current is not written to."""
    current = max(migrations, default=kind.first_format)
    if not _is_empty(db) and format_of(path, db, kind, current) == current:
        return
    # It cannot be chosen once there is a page, and an open transaction has one.
    db.execute(f"PRAGMA page_size = {PAGE_SIZE}")
    with committing(db, begin):
        # Another process may have been faster: only what is seen under the lock counts.
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
    """The file's format. Raises `NotADatabaseError` for somebody else's, `StoreFormatError` for another format."""
    (owner,) = db.execute("PRAGMA application_id").fetchone()
    if owner != kind.application_id:
        raise NotADatabaseError(str(path), "it is a SQLite database of another application, or of another kind")
    (found,) = db.execute("PRAGMA user_version").fetchone()
    supported = max(kind.migrations, default=kind.first_format) if newest is None else newest
    if not kind.first_format <= found <= supported:
        raise StoreFormatError(str(path), found=found, supported=supported, oldest=kind.first_format)
    return int(found)


def _is_empty(db: sqlite3.Connection) -> bool:
    marks = [db.execute(f"PRAGMA {mark}").fetchone()[0] for mark in ("application_id", "user_version")]
    (objects,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    return not any(marks) and objects == 0
