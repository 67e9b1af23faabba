-- Rows are copied as they are: their digests bind the thread's origin, which a copy keeps.

-- name: copy_lines
INSERT INTO {schema}.lines (tid, lo, parent, digest) SELECT $2::bigint, lo, parent, digest FROM {schema}.lines WHERE tid = $1;

-- name: copy_checkpoints
INSERT INTO {schema}.checkpoints (tid, ns, no, parent, born, at, commit_id, state_digest, digest, header)
SELECT $2::bigint, ns, no, parent, born, at, commit_id, state_digest, digest, header
  FROM {schema}.checkpoints WHERE tid = $1;

-- name: copy_channel_rows
INSERT INTO {schema}.channel_rows (tid, ns, channel, no, prev, kind, digest, value)
SELECT $2::bigint, ns, channel, no, prev, kind, digest, value FROM {schema}.channel_rows WHERE tid = $1;

-- name: copy_tasks
INSERT INTO {schema}.tasks (tid, ns, born, ord, rank, revision, commit_id, digest, value)
SELECT $2::bigint, ns, born, ord, rank, revision, commit_id, digest, value FROM {schema}.tasks WHERE tid = $1;
