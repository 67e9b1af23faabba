-- name: delete_branches
DELETE FROM {schema}.branches WHERE thread_key = :thread_key;

-- name: delete_checkpoints
DELETE FROM {schema}.checkpoints WHERE thread_key = :thread_key;

-- name: delete_channel_rows
DELETE FROM {schema}.channel_rows WHERE thread_key = :thread_key;

-- name: delete_tasks
DELETE FROM {schema}.tasks WHERE thread_key = :thread_key;

-- name: delete_requests
DELETE FROM {schema}.requests WHERE thread_key = :thread_key;

-- name: delete_runs
DELETE FROM {schema}.runs WHERE thread_key = :thread_key;

-- name: delete_messages
DELETE FROM {schema}.messages WHERE thread_key = :thread_key;

-- name: delete_events
DELETE FROM {schema}.events WHERE thread_key = :thread_key;

-- name: delete_thread_metadata
DELETE FROM {schema}.thread_metadata WHERE thread_key = :thread_key;

-- name: delete_metadata_entries
DELETE FROM {schema}.metadata_entries WHERE thread_key = :thread_key;

-- name: delete_row
DELETE FROM {schema}.threads WHERE thread_key = :thread_key;

-- name: find_deleted
-- The tombstones of deletions before a time. A tombstone locked by a writer that creates the thread again is skipped.
SELECT thread_key FROM {schema}.threads WHERE status = 'deleted' AND status_since < :before
 ORDER BY thread_key LIMIT :limit FOR UPDATE SKIP LOCKED;

-- name: drop_thread
DELETE FROM {schema}.threads WHERE thread_key = $1;

-- name: find_branches
SELECT first, parent, digest, extra FROM {schema}.branches WHERE thread_key = :thread_key;

-- name: find_checkpoints
SELECT namespace, number, parent, planned_at, made_at, commit_id, header, state_digest, digest, extra
  FROM {schema}.checkpoints WHERE thread_key = :thread_key;

-- name: find_needed_checkpoints
-- The checkpoints of runs whose results are kept, and of runs that begin from a checkpoint.
SELECT state, checkpoint, from_checkpoint FROM {schema}.runs
 WHERE thread_key = :thread_key AND (state = 4 OR (state < 4 AND first_checkpoint = 0 AND from_checkpoint > 0));

-- name: find_channel_keys
SELECT namespace, channel, number, previous FROM {schema}.channel_rows WHERE thread_key = :thread_key;

-- name: find_record_places
SELECT namespace, planned_at, position, digest FROM {schema}.tasks WHERE thread_key = :thread_key;

-- name: drop_branch
DELETE FROM {schema}.branches WHERE thread_key = $1 AND first = $2;

-- name: drop_checkpoint
DELETE FROM {schema}.checkpoints WHERE thread_key = $1 AND namespace = $2 AND number = $3;

-- name: drop_channel_row
DELETE FROM {schema}.channel_rows WHERE thread_key = $1 AND namespace = $2 AND channel = $3 AND number = $4;

-- name: drop_task
DELETE FROM {schema}.tasks WHERE thread_key = $1 AND namespace = $2 AND planned_at = $3 AND position = $4;
