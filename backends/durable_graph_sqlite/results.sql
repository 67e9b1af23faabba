-- Format 1 of a file of cached results.

-- A row is one result. `namespace` is a JSON array; `until` is its expiry in seconds since the epoch, or NULL;
-- `digest` covers all other columns.
CREATE TABLE results (
  namespace TEXT NOT NULL,
  key       TEXT NOT NULL,
  until     REAL,
  digest    BLOB NOT NULL,
  value     BLOB NOT NULL,
  PRIMARY KEY (namespace, key)
) STRICT;

-- For deleting expired results.
CREATE INDEX results_until ON results (until) WHERE until IS NOT NULL;
