-- Rows are copied unchanged: their digests include the thread's origin, which a copy keeps.

-- name: copy_branches
INSERT INTO branches (thread_key, first, parent, digest, extra) SELECT :target, first, parent, digest, extra
  FROM branches WHERE thread_key = :source;

-- name: copy_checkpoints
INSERT INTO checkpoints (thread_key, namespace, number, parent, planned_at, made_at, commit_id, state_digest,
  digest, extra, header)
SELECT :target, namespace, number, parent, planned_at, made_at, commit_id, state_digest, digest, extra, header
  FROM checkpoints WHERE thread_key = :source;

-- name: copy_channel_rows
INSERT INTO channel_rows (thread_key, namespace, channel, number, previous, kind, digest, value)
SELECT :target, namespace, channel, number, previous, kind, digest, value FROM channel_rows
  WHERE thread_key = :source;

-- name: copy_tasks
INSERT INTO tasks (thread_key, namespace, planned_at, position, rank, revision, commit_id, digest, extra, value)
SELECT :target, namespace, planned_at, position, rank, revision, commit_id, digest, extra, value FROM tasks
  WHERE thread_key = :source;

-- name: copy_thread_metadata
INSERT INTO thread_metadata (thread_key, updated_at, metadata)
SELECT :target, updated_at, metadata FROM thread_metadata WHERE thread_key = :source;

-- name: copy_metadata_entries
INSERT INTO metadata_entries (thread_key, digest)
SELECT :target, digest FROM metadata_entries WHERE thread_key = :source;
