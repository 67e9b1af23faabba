-- Format 1 of a file of cached results.

-- A row is one result. `namespace` is a JSON array; `until` is when it expires, in seconds since the epoch, and NULL if
-- it does not; `digest` is over all the others.
CREATE TABLE results (
  namespace TEXT NOT NULL,
  key       TEXT NOT NULL,
  until     REAL,
  digest    BLOB NOT NULL,
  value     BLOB NOT NULL,
  PRIMARY KEY (namespace, key)
) STRICT;

-- What has expired.
CREATE INDEX results_until ON results (until) WHERE until IS NOT NULL;
