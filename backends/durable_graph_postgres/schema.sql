-- Format 1. Applied to a new schema; `migrations/` brings an older one here. `{schema}` is the schema's quoted name.
--
-- Every table begins with `tid`, a 63-bit hash of the thread's id, so that rows whose thread has vanished still tell
-- whose they are, and so that the tables can be sharded by it. Fixed widths come first: they need no padding then.

-- One row: what wrote these tables.
CREATE TABLE {schema}.format (
  version integer NOT NULL
);
INSERT INTO {schema}.format VALUES (1);

-- A row is a thread, or the tombstone of a deleted one. Every commit compares it and swaps it: the free space of its
-- pages lets the new row stand beside the old one, and no index is touched.
CREATE TABLE {schema}.threads (
  tid           bigint PRIMARY KEY,
  incarnation   bigint NOT NULL,
  version       bigint NOT NULL,
  head          bigint NOT NULL,
  epoch         bigint NOT NULL,
  wseq          bigint NOT NULL,
  gen           bigint NOT NULL,
  floor         bigint NOT NULL,
  status_since  bigint NOT NULL,
  status        smallint NOT NULL,
  thread        text COLLATE "C" NOT NULL,
  origin        bytea NOT NULL,
  commit_id     bytea NOT NULL,
  -- The sum of the digests of the task records of checkpoint `head`.
  writes_digest bytea NOT NULL,
  -- The sum of the digests of the lines that led to `version`.
  lines_digest  bytea NOT NULL,
  digest        bytea NOT NULL
) WITH (fillfactor = 60);

CREATE INDEX threads_by_id ON {schema}.threads (thread);

-- Threads of a status, a page of ids at a time, as of a time: what a crash left unfinished, what has been done for long.
-- No column that each commit changes.
CREATE INDEX threads_by_status ON {schema}.threads (status, thread, status_since);

-- A row is a line: the checkpoints from `lo` up to the next line's, grown from checkpoint `parent` (0: from nothing).
CREATE TABLE {schema}.lines (
  tid    bigint NOT NULL,
  lo     bigint NOT NULL,
  parent bigint NOT NULL,
  digest bytea NOT NULL,
  PRIMARY KEY (tid, lo)
);

-- A row is one checkpoint of one namespace.
CREATE TABLE {schema}.checkpoints (
  tid          bigint NOT NULL,
  no           bigint NOT NULL,
  parent       bigint NOT NULL,
  born         bigint NOT NULL,
  at           bigint NOT NULL,
  ns           text COLLATE "C" NOT NULL,
  commit_id    bytea NOT NULL,
  state_digest bytea NOT NULL,
  digest       bytea NOT NULL,
  header       bytea NOT NULL,
  PRIMARY KEY (tid, ns, no)
);
ALTER TABLE {schema}.checkpoints ALTER COLUMN header SET STORAGE EXTERNAL;

-- A row is what checkpoint `no` did to one channel; its value goes on from that of row `prev` (0: from nothing).
CREATE TABLE {schema}.channel_rows (
  tid     bigint NOT NULL,
  no      bigint NOT NULL,
  prev    bigint NOT NULL,
  kind    smallint NOT NULL,
  ns      text COLLATE "C" NOT NULL,
  channel text COLLATE "C" NOT NULL,
  digest  bytea NOT NULL,
  value   bytea NOT NULL,
  PRIMARY KEY (tid, ns, channel, no)
);
ALTER TABLE {schema}.channel_rows ALTER COLUMN value SET STORAGE EXTERNAL;

-- A row is what one task came to: the `ord`th of those that checkpoint `born` first planned.
CREATE TABLE {schema}.tasks (
  tid       bigint NOT NULL,
  born      bigint NOT NULL,
  ord       bigint NOT NULL,
  revision  bigint NOT NULL,
  rank      smallint NOT NULL,
  ns        text COLLATE "C" NOT NULL,
  commit_id bytea NOT NULL,
  digest    bytea NOT NULL,
  value     bytea NOT NULL,
  PRIMARY KEY (tid, ns, born, ord)
);
ALTER TABLE {schema}.tasks ALTER COLUMN value SET STORAGE EXTERNAL;

-- The records of nested tasks and calls since a number, of all namespaces: nothing but the head's sum tells whether one
-- of them vanished.
CREATE INDEX tasks_of_namespaces ON {schema}.tasks (tid, born) WHERE ns <> '';
