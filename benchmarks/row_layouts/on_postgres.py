"""The layouts on a PostgreSQL server: one prepared statement for a group of supersteps."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import asyncpg

from benchmarks.engines.log import Row as FloorRow
from benchmarks.engines.stores import INSERT_MANY, INSERT_ONE
from benchmarks.row_layouts.layouts import Counts, Layout, RefusedError, Superstep, changes_in
from durable_graph_postgres.prepared_writes import statement
from durable_graph_postgres.statements import SCHEMA, quoted, statements_for

_VALUE_COLUMNS: Final = 5
_RECORD_COLUMNS: Final = 10

# As the saver's `apply_one_value`, which replaces the thread's row: here its epoch is compared, and nothing locks it.
_FENCED_ONE_VALUE: Final = """
WITH
  done AS (SELECT thread_key FROM {schema}.threads WHERE thread_key = $1 AND epoch = $2),
  new_checkpoint AS (
    INSERT INTO {schema}.checkpoints (thread_key, namespace, number, parent, planned_at, made_at, commit_id,
                                     state_digest, digest, extra, header)
    SELECT thread_key, $3::text, $4::bigint, $5::bigint, $6::bigint, $7::bigint, $8::bytea, $9::bytea,
           $10::bytea, $11::bytea, $12::bytea
      FROM done),
  new_value AS (
    INSERT INTO {schema}.channel_rows (thread_key, namespace, channel, number, previous, kind, digest, value)
    SELECT thread_key, $3, $13::text, $4, $14::bigint, $15::smallint, $16::bytea, $17::bytea
      FROM done)
SELECT thread_key FROM done
"""

# As the saver's `apply`, without what begins threads and branches.
_FENCED: Final = """
WITH
  done AS MATERIALIZED (
    SELECT t.thread_key FROM unnest($1::bigint[], $2::bigint[]) AS r (thread_key, epoch)
      JOIN {schema}.threads t USING (thread_key, epoch)),
  new_checkpoints AS (
    INSERT INTO {schema}.checkpoints (thread_key, namespace, number, parent, planned_at, made_at, commit_id,
                                      state_digest, digest, extra, header)
    SELECT x.* FROM unnest($3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
                           $9::bytea[], $10::bytea[], $11::bytea[], $12::bytea[], $13::bytea[])
        AS x (thread_key, namespace, number, parent, planned_at, made_at, commit_id, state_digest, digest, extra,
              header)
      JOIN done USING (thread_key)),
  new_values AS (
    INSERT INTO {schema}.channel_rows (thread_key, namespace, channel, number, previous, kind, digest, value)
    SELECT x.* FROM unnest($14::bigint[], $15::text[], $16::text[], $17::bigint[], $18::bigint[], $19::smallint[],
                           $20::bytea[], $21::bytea[])
        AS x (thread_key, namespace, channel, number, previous, kind, digest, value)
      JOIN done USING (thread_key)),
  new_records AS (
    INSERT INTO {schema}.tasks (thread_key, namespace, planned_at, position, rank, revision, commit_id, digest, extra,
                                value)
    SELECT x.* FROM unnest($22::bigint[], $23::text[], $24::bigint[], $25::bigint[], $26::smallint[], $27::bigint[],
                           $28::bytea[], $29::bytea[], $30::bytea[], $31::bytea[])
        AS x (thread_key, namespace, planned_at, position, rank, revision, commit_id, digest, extra, value)
      JOIN done USING (thread_key))
SELECT thread_key FROM done
"""

Call = tuple[str, Sequence[Any], int]
"""The name of a statement, its parameters, and how many rows it answers with if it refuses nothing."""


class PostgresStatements:
    """A connection that keeps its statements prepared."""

    def __init__(self, connection: Any, statements: Mapping[str, str]) -> None:
        self.connection = connection
        self._statements = statements
        self._prepared: dict[str, Any] = {}

    async def commit(self, call: Call) -> None:
        """Raises `RefusedError`."""
        name, given, expected = call
        prepared = self._prepared.get(name)
        if prepared is None:
            prepared = self._prepared[name] = await self.connection.prepare(self._statements[name])
        try:
            found = await prepared.fetch(*given)
        except asyncpg.UniqueViolationError as error:
            raise RefusedError from error
        if len(found) != expected:
            raise RefusedError


class PostgresLayout(PostgresStatements):
    """One layout, on PostgresSaver's tables in a schema of their own."""

    def __init__(self, connection: Any, schema: str, layout: Layout) -> None:
        self._layout = layout
        self._schema = quoted(schema)
        of_saver = statements_for(schema)
        fenced = _FENCED_ONE_VALUE.replace("{schema}", self._schema)
        statements = {
            "apply": of_saver["apply"],
            "apply_one_value": of_saver["apply_one_value"],
            "apply_no_value": _without_value(of_saver["apply_one_value"]),
            "fenced_one_value": fenced,
            "fenced_no_value": _without_value(fenced),
            "fenced": _FENCED.replace("{schema}", self._schema),
        }
        super().__init__(connection, statements)

    async def create(self) -> None:
        await self.connection.execute(f"CREATE SCHEMA {self._schema}")
        await self.connection.execute(SCHEMA.replace("{schema}", self._schema))

    def transaction(self, group: Sequence[Superstep]) -> Call:
        """The statement of a group. Either all of its supersteps replace their thread's row, or none."""
        is_plain = len(group) == 1 and group[0].write.before is not None
        if group[0].replaces_thread:
            name, given = statement([superstep.write for superstep in group])
            if is_plain and not self._layout.has_channel_rows:
                name, given = "apply_no_value", given[:-_VALUE_COLUMNS]
        elif is_plain:
            name, given = self._fenced_alone(group[0])
        else:
            name, given = "fenced", self._fenced_together(group)
        return name, given, len(group)

    def _fenced_alone(self, superstep: Superstep) -> tuple[str, Sequence[Any]]:
        write = superstep.write
        assert write.before is not None
        ((_, *checkpoint),) = write.checkpoints()
        fence = (write.key, write.before.row.epoch)
        for _, _, channel, _, *others in write.values():
            return "fenced_one_value", (*fence, *checkpoint, channel, *others)
        return "fenced_no_value", (*fence, *checkpoint)

    def _fenced_together(self, group: Sequence[Superstep]) -> list[list[Any]]:
        ordered = sorted((superstep.write for superstep in group), key=lambda write: write.key)
        fences = [(write.key, 0 if write.before is None else write.before.row.epoch) for write in ordered]
        checkpoints = [row for write in ordered for row in write.checkpoints()]
        values = [row for write in ordered for row in write.values()]
        columns = _columns(fences, 2) + _columns(checkpoints, 11) + _columns(values, 8)
        return columns + _columns([], _RECORD_COLUMNS)

    async def counts(self, key: int) -> Counts:
        async def column(what: str, table: str) -> list[Any]:
            query = f"SELECT {what} FROM {self._schema}.{table} WHERE thread_key = $1"  # noqa: S608  # constants
            return [value for (value,) in await self.connection.fetch(query, key)]

        (version,), headers = await column("version", "threads"), await column("header", "checkpoints")
        rows = len(await column("number", "channel_rows"))
        return Counts(version, len(headers), rows if self._layout.has_channel_rows else changes_in(headers))


class PostgresFloor(PostgresStatements):
    """The floor: one row for each superstep, unless its thread belongs to another process."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection, {"one": f"{INSERT_ONE} RETURNING 1", "many": f"{INSERT_MANY} RETURNING 1"})

    def transaction(self, group: Sequence[FloorRow]) -> Call:
        if len(group) == 1:
            return "one", group[0], 1
        return "many", _columns(group, 5), len(group)


def _without_value(text: str) -> str:
    """The statement for one channel without its row. The parameters of the row are the last ones."""
    before, found, after = text.partition(",\n  new_value AS")
    assert found
    return before + after[after.index("\nSELECT") :]


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
