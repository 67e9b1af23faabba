-- name: delete_lines
DELETE FROM lines WHERE tid = :tid;

-- name: delete_checkpoints
DELETE FROM checkpoints WHERE tid = :tid;

-- name: delete_channel_rows
DELETE FROM channel_rows WHERE tid = :tid;

-- name: delete_tasks
DELETE FROM tasks WHERE tid = :tid;

-- name: find_lines
SELECT lo, parent, digest FROM lines WHERE tid = :tid;

-- name: find_checkpoints
SELECT ns, no, parent, born, at, commit_id, header, state_digest, digest FROM checkpoints WHERE tid = :tid;

-- name: find_channel_keys
SELECT ns, channel, no, prev FROM channel_rows WHERE tid = :tid;

-- name: find_record_places
SELECT ns, born, ord, digest FROM tasks WHERE tid = :tid;

-- name: drop_line
DELETE FROM lines WHERE tid = ? AND lo = ?;

-- name: drop_checkpoint
DELETE FROM checkpoints WHERE tid = ? AND ns = ? AND no = ?;

-- name: drop_channel_row
DELETE FROM channel_rows WHERE tid = ? AND ns = ? AND channel = ? AND no = ?;

-- name: drop_task
DELETE FROM tasks WHERE tid = ? AND ns = ? AND born = ? AND ord = ?;
