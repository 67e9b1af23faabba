-- name: delete_branches
DELETE FROM branches WHERE thread_key = :thread_key;

-- name: delete_checkpoints
DELETE FROM checkpoints WHERE thread_key = :thread_key;

-- name: delete_channel_rows
DELETE FROM channel_rows WHERE thread_key = :thread_key;

-- name: delete_tasks
DELETE FROM tasks WHERE thread_key = :thread_key;

-- name: delete_requests
DELETE FROM requests WHERE thread_key = :thread_key;

-- name: delete_runs
DELETE FROM runs WHERE thread_key = :thread_key;

-- name: delete_messages
DELETE FROM messages WHERE thread_key = :thread_key;

-- name: delete_events
DELETE FROM events WHERE thread_key = :thread_key;

-- name: delete_thread_metadata
DELETE FROM thread_metadata WHERE thread_key = :thread_key;

-- name: delete_metadata_entries
DELETE FROM metadata_entries WHERE thread_key = :thread_key;

-- name: delete_row
DELETE FROM threads WHERE thread_key = :thread_key;

-- name: find_deleted
-- The tombstones of deletions before a time.
SELECT thread_key FROM threads WHERE status = 'deleted' AND status_since < :before LIMIT :limit;

-- name: drop_thread
DELETE FROM threads WHERE thread_key = ?;

-- name: find_branches
SELECT first, parent, digest, extra FROM branches WHERE thread_key = :thread_key;

-- name: find_checkpoints
SELECT namespace, number, parent, planned_at, made_at, commit_id, header, state_digest, digest, extra
  FROM checkpoints WHERE thread_key = :thread_key;

-- name: find_needed_checkpoints
-- The checkpoints of runs whose results are kept, and of runs that begin from a checkpoint.
SELECT state, checkpoint, from_checkpoint FROM runs
 WHERE thread_key = :thread_key AND (state = 4 OR (state < 4 AND first_checkpoint = 0 AND from_checkpoint > 0));

-- name: find_channel_keys
SELECT namespace, channel, number, previous FROM channel_rows WHERE thread_key = :thread_key;

-- name: find_record_places
SELECT namespace, planned_at, position, digest FROM tasks WHERE thread_key = :thread_key;

-- name: drop_branch
DELETE FROM branches WHERE thread_key = ? AND first = ?;

-- name: drop_checkpoint
DELETE FROM checkpoints WHERE thread_key = ? AND namespace = ? AND number = ?;

-- name: drop_channel_row
DELETE FROM channel_rows WHERE thread_key = ? AND namespace = ? AND channel = ? AND number = ?;

-- name: drop_task
DELETE FROM tasks WHERE thread_key = ? AND namespace = ? AND planned_at = ? AND position = ?;
