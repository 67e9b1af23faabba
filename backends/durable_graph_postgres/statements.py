"""The SQL statements, read from the package's .sql files at import, one for each `-- name:`.

The files name the parameters of queries (`:thread_key`), which PostgreSQL numbers. Statements with many parameters, and
those that run once for each of many rows, have numbers in the files as well. A text that several statements contain
is a `-- part:`, which they include by its name in braces.
"""

import re
from collections.abc import Iterable, Mapping
from importlib.resources import files

_HERE = files("durable_graph_postgres")
_NAME = re.compile(r"^-- (name|part): (\w+)$", re.MULTILINE)
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
_PART = re.compile(r"\{(?!schema\})(\w+)\}")

WITH_RUNS: Mapping[str, str] = {name: f"{name}_with_runs" for name in ("apply", "apply_plain", "apply_one_value")}
"""The statements that make prepared writes, each with the name of the form that changes runs as well."""

# Two colons are a cast.
_PARAMETER = re.compile(r"(?<!:):([a-z_]+)")
_NUMBER = re.compile(r"\$(\d+)")


_OF_EACH: Mapping[str, str] = {"thread_key": "q.thread_key", "ns": "''", "no": "NULL::bigint"}
"""The parameters of `load` in a statement that loads the heads of many threads."""


def quoted(name: str) -> str:
    """A name as a quoted identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def named(texts: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """The statements of files and their parts, each by name. Raises `ValueError` for a name that two of them have."""
    found: dict[str, dict[str, str]] = {"name": {}, "part": {}}
    for text in texts:
        _, *pieces = _NAME.split(text)
        for kind, name, body in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=True):
            if name in found["name"] or name in found["part"]:
                raise ValueError(f"two statements or parts have the name {name!r}: rename one of them")
            found[kind][name] = body.strip("\n")
    return found["name"], found["part"]


def _texts() -> dict[str, str]:
    """The statements by name, as they are in the files, with their parts."""
    names, parts = named((_HERE / "sql" / f"{topic}.sql").read_text("utf-8") for topic in _TOPICS)
    parts["load_of_each"] = _PARAMETER.sub(lambda each: _OF_EACH.get(each[1], each[0]), names["load"]).rstrip(";")
    for name in WITH_RUNS:
        names[WITH_RUNS[name]] = names[name]
        for part in ("and_runs_are_known", "and_no_update_is_left", "with_runs"):
            names[name] = names[name].replace(f"{{{part}}}", "")
    while any(_PART.search(body) for body in names.values()):
        names = {name: _PART.sub(lambda part: parts[part[1]], body) for name, body in names.items()}
    return names


def statements_for(schema: str) -> Mapping[str, str]:
    """The statements by name, for the tables of a schema. They include its name, so no session setting is needed."""
    return {name: _numbered(body).replace("{schema}", quoted(schema)) for name, body in _TEXTS.items()}


def _parameters(body: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_PARAMETER.findall(body)))


def _numbered(body: str) -> str:
    # Those that have numbers in the file come first.
    first = max((int(number) for number in _NUMBER.findall(body)), default=0) + 1
    numbers = {name: number for number, name in enumerate(_parameters(body), first)}
    return _PARAMETER.sub(lambda found: f"${numbers[found[1]]}", body)


def _migrations() -> dict[int, str]:
    steps = (_HERE / "migrations").iterdir()
    return {int(step.name[:4]): step.read_text("utf-8") for step in steps if step.name.endswith(".sql")}


_TEXTS: Mapping[str, str] = _texts()
PARAMETERS: Mapping[str, tuple[str, ...]] = {name: _parameters(body) for name, body in _TEXTS.items()}
"""The named parameters of each statement, in the order of their numbers."""

SCHEMA = (_HERE / "schema.sql").read_text("utf-8")
MIGRATIONS: Mapping[int, str] = _migrations()
"""The migrations, by the number of the format that each results in."""

FIRST_FORMAT = 3
"""The format of the schema before any migration. Formats 1 and 2 were never released."""

FORMAT = max(MIGRATIONS, default=FIRST_FORMAT)
"""The format that this version writes."""
