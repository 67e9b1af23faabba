-- Rows are copied unchanged: their digests include the thread's origin, which a copy keeps.

-- name: copy_branches
INSERT INTO {schema}.branches (thread_key, first, parent, digest, extra)
  SELECT :target::bigint, first, parent, digest, extra FROM {schema}.branches WHERE thread_key = :source;

-- name: copy_checkpoints
INSERT INTO {schema}.checkpoints (thread_key, namespace, number, parent, planned_at, made_at, commit_id,
  state_digest, digest, extra, header)
SELECT :target::bigint, namespace, number, parent, planned_at, made_at, commit_id, state_digest, digest, extra, header
  FROM {schema}.checkpoints WHERE thread_key = :source;

-- name: copy_channel_rows
INSERT INTO {schema}.channel_rows (thread_key, namespace, channel, number, previous, kind, digest, value)
SELECT :target::bigint, namespace, channel, number, previous, kind, digest, value FROM {schema}.channel_rows
  WHERE thread_key = :source;

-- name: copy_tasks
INSERT INTO {schema}.tasks (thread_key, namespace, planned_at, position, rank, revision, commit_id, digest, extra,
  value)
SELECT :target::bigint, namespace, planned_at, position, rank, revision, commit_id, digest, extra, value
  FROM {schema}.tasks WHERE thread_key = :source;

-- name: copy_thread_metadata
INSERT INTO {schema}.thread_metadata (thread_key, updated_at, metadata)
SELECT :target::bigint, updated_at, metadata FROM {schema}.thread_metadata WHERE thread_key = :source;

-- name: copy_metadata_entries
INSERT INTO {schema}.metadata_entries (thread_key, digest)
SELECT :target::bigint, digest FROM {schema}.metadata_entries WHERE thread_key = :source;
