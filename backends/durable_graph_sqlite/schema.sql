-- Format 2. Applied to a new file; `migrations/` brings an older file here.
--
-- Every table begins with `tid`, a 63-bit hash of the thread's id, so that rows whose thread has vanished still tell
-- whose they are. Columns are in the order in which they are sought; the long one is last, so that reading keys does
-- not read it.

-- A row is a thread, or the tombstone of a deleted one. Every commit compares it and swaps it.
CREATE TABLE threads (
  tid           INTEGER PRIMARY KEY,
  thread        TEXT NOT NULL UNIQUE,
  incarnation   INTEGER NOT NULL,
  origin        BLOB NOT NULL,
  version       INTEGER NOT NULL,
  head          INTEGER NOT NULL,
  epoch         INTEGER NOT NULL,
  wseq          INTEGER NOT NULL,
  gen           INTEGER NOT NULL,
  floor         INTEGER NOT NULL,
  status        INTEGER NOT NULL,
  status_since  INTEGER NOT NULL,
  commit_id     BLOB NOT NULL,
  -- The sum of the digests of the task records of checkpoint `head`.
  writes_digest BLOB NOT NULL,
  -- The sum of the digests of the lines that led to `version`.
  lines_digest  BLOB NOT NULL,
  digest        BLOB NOT NULL
) STRICT;

-- What a crash left unfinished, a page of thread ids at a time. No column that each commit changes.
CREATE INDEX threads_by_status ON threads (status, thread);

-- A row is a line: the checkpoints from `lo` up to the next line's, grown from checkpoint `parent` (0: from nothing).
CREATE TABLE lines (
  tid    INTEGER NOT NULL,
  lo     INTEGER NOT NULL,
  parent INTEGER NOT NULL,
  digest BLOB NOT NULL,
  PRIMARY KEY (tid, lo)
) STRICT, WITHOUT ROWID;

-- A row is one checkpoint of one namespace.
CREATE TABLE checkpoints (
  tid          INTEGER NOT NULL,
  ns           TEXT NOT NULL,
  no           INTEGER NOT NULL,
  parent       INTEGER NOT NULL,
  born         INTEGER NOT NULL,
  at           INTEGER NOT NULL,
  commit_id    BLOB NOT NULL,
  state_digest BLOB NOT NULL,
  digest       BLOB NOT NULL,
  header       BLOB NOT NULL,
  PRIMARY KEY (tid, ns, no)
) STRICT, WITHOUT ROWID;

-- A row is what checkpoint `no` did to one channel; its value goes on from that of row `prev` (0: from nothing).
CREATE TABLE channel_rows (
  tid     INTEGER NOT NULL,
  ns      TEXT NOT NULL,
  channel TEXT NOT NULL,
  no      INTEGER NOT NULL,
  prev    INTEGER NOT NULL,
  kind    INTEGER NOT NULL,
  digest  BLOB NOT NULL,
  value   BLOB NOT NULL,
  PRIMARY KEY (tid, ns, channel, no)
) STRICT, WITHOUT ROWID;

-- A row is what one task came to: the `ord`th of those that checkpoint `born` first planned.
CREATE TABLE tasks (
  tid       INTEGER NOT NULL,
  ns        TEXT NOT NULL,
  born      INTEGER NOT NULL,
  ord       INTEGER NOT NULL,
  rank      INTEGER NOT NULL,
  revision  INTEGER NOT NULL,
  commit_id BLOB NOT NULL,
  digest    BLOB NOT NULL,
  value     BLOB NOT NULL,
  PRIMARY KEY (tid, ns, born, ord)
) STRICT, WITHOUT ROWID;

-- The records of nested tasks and calls since a number, of all namespaces: nothing but the head's sum tells whether one
-- of them vanished.
CREATE INDEX tasks_of_namespaces ON tasks (tid, born) WHERE ns <> '';
