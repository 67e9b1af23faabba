"""The SQL statements, read from the package's .sql files at import, one for each `-- name:`."""

import re
from collections.abc import Mapping
from importlib.resources import files

_HERE = files("durable_graph_postgres")
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_TOPICS = ("read", "write", "copy", "remove", "transfer")


def quoted(name: str) -> str:
    """A name as a quoted identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def _named(text: str) -> dict[str, str]:
    _, *parts = _NAME.split(text)
    return {name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}


def statements_for(schema: str) -> Mapping[str, str]:
    """The statements by name, for the tables of a schema. They include its name, so no session setting is needed."""
    return {name: body.replace("{schema}", quoted(schema)) for name, body in _TEXTS.items()}


def _migrations() -> dict[int, str]:
    steps = (_HERE / "migrations").iterdir()
    return {int(step.name[:4]): step.read_text("utf-8") for step in steps if step.name.endswith(".sql")}


_TEXTS: Mapping[str, str] = {
    name: body
    for topic in _TOPICS
    for name, body in _named((_HERE / "sql" / f"{topic}.sql").read_text("utf-8")).items()
}
SCHEMA = (_HERE / "schema.sql").read_text("utf-8")
MIGRATIONS: Mapping[int, str] = _migrations()
"""The migrations, by the number of the format that each results in."""

FIRST_FORMAT = 3
"""The format of the schema before any migration. Formats 1 and 2 were never released."""

FORMAT = max(MIGRATIONS, default=FIRST_FORMAT)
"""The format that this version writes."""
