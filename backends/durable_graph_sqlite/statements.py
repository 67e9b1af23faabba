"""The SQL statements, read from the package's .sql files at import (one for each `-- name:`), and running them."""

import re
import sqlite3
from collections.abc import Generator, Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any, TypeVar

from durable_graph.checkpointing.columns import Columns
from durable_graph.checkpointing.queries import Query
from durable_graph.checkpointing.transactions import Batch
from durable_graph_sqlite.failures import is_unreadable_text

T = TypeVar("T")

_HERE = files("durable_graph_sqlite")
ESCAPED = "surrogateescape"
"""The error handler for invalid text: it keeps the bytes, so that a query can search for them again."""

_NAME = re.compile(r"^-- (name|part): (\w+)$", re.MULTILINE)
_PART = re.compile(r"\{(\w+)\}")
_TOPICS = (
    "read",
    "write",
    "copy",
    "remove",
    "transfer",
    "runs",
    "children",
    "retention",
    "events",
    "directory",
    "schedules",
    "queues",
)


def named(*texts: str) -> dict[str, str]:
    """The statements of files, by name, with the parts that they include by name in braces. Raises `ValueError` for a
    name that two of them have."""
    found: dict[str, dict[str, str]] = {"name": {}, "part": {}}
    for text in texts:
        _, *pieces = _NAME.split(text)
        for kind, name, body in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=True):
            if name in found["name"] or name in found["part"]:
                raise ValueError(f"two statements or parts have the name {name!r}: rename one of them")
            found[kind][name] = body.strip()
    names, parts = found["name"], found["part"]
    while any(_PART.search(body) for body in names.values()):
        names = {name: _PART.sub(lambda part: parts[part[1]], body) for name, body in names.items()}
    return names


def script(text: str) -> Iterator[str]:
    """The statements of a file without names, one by one: `executescript` would commit an open transaction."""
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def run(db: sqlite3.Connection, steps: Generator[Query | Batch, Sequence[Columns], T]) -> T:
    """Run the statements of a read or a transaction, and return its result."""
    try:
        asked = next(steps)
        while True:
            asked = steps.send(_found(db, asked))
    except StopIteration as end:
        result: T = end.value
        return result


def _found(db: sqlite3.Connection, asked: Query | Batch) -> Sequence[Columns]:
    if isinstance(asked, Batch):
        db.executemany(SQL[asked.name], asked.rows)
        return ()
    if asked.name in _BY_ID:
        # As bytes, because a damaged id may be invalid text.
        sought = {name: _escaped(value) if name in _IDS else value for name, value in asked.sought.items()}
        return rows_as_they_are(db, asked.name, sought)
    if asked.name in _WITH_A_THREAD:
        return rows_as_they_are(db, asked.name, asked.sought)
    if asked.name.startswith("export_"):
        # An export has only valid text. A damaged text is changed, and stays detectable by its digest.
        return rows_as_they_are(db, asked.name, asked.sought, errors="replace")
    return rows(db, asked.name, asked.sought)


_IDS = ("after", "thread")
_BY_ID = frozenset({"list_threads", "list_threads_of_status", "find_key"})
_WITH_A_THREAD = frozenset(
    {"lock_thread", "find_thread", "find_records", "find_checkpoint", "find_newest_checkpoint"}
) | {
    *("find_entry", "search_threads"),
}
"""The queries that find rows of `threads`, whose texts are checked by the row's digest."""


def _escaped(text: str) -> bytes:
    return text.encode("utf-8", ESCAPED)


def rows(db: sqlite3.Connection, name: str, sought: Mapping[str, Any]) -> list[Columns]:
    """All rows of a query. They are fetched at once: a cursor with unread rows, kept alive by an error's traceback,
    would keep the transaction open, and the connection would continue to read an old snapshot."""
    return db.execute(SQL[name], sought).fetchall()


def rows_as_they_are(
    db: sqlite3.Connection, name: str, sought: Mapping[str, Any], *, errors: str = ESCAPED
) -> list[Columns]:
    """As `rows`, also for text that is not valid UTF-8. `errors` is Python's error handler for such text."""
    try:
        return rows(db, name, sought)
    except sqlite3.OperationalError as error:
        if not is_unreadable_text(error):
            raise
    # The decoder is set only after an error, because a Python function for each text is slower.
    db.text_factory = lambda text: text.decode("utf-8", errors)
    try:
        return rows(db, name, sought)
    finally:
        db.text_factory = str


def _migrations() -> dict[int, str]:
    steps = (_HERE / "migrations").iterdir()
    return {int(step.name[:4]): step.read_text("utf-8") for step in steps if step.name.endswith(".sql")}


SQL: Mapping[str, str] = named(*((_HERE / "sql" / f"{topic}.sql").read_text("utf-8") for topic in _TOPICS))
SCHEMA = (_HERE / "schema.sql").read_text("utf-8")
MIGRATIONS: Mapping[int, str] = _migrations()
"""The migrations, by the number of the format that each results in."""

FIRST_FORMAT = 3
"""The format of the schema before any migration. Formats 1 and 2 were never released."""

FORMAT = max(MIGRATIONS, default=FIRST_FORMAT)
"""The format that this version writes."""

RESULTS_SQL: Mapping[str, str] = named((_HERE / "sql" / "cache.sql").read_text("utf-8"))
RESULTS_SCHEMA = (_HERE / "results.sql").read_text("utf-8")
