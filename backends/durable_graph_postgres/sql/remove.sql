-- name: delete_lines
DELETE FROM {schema}.lines WHERE tid = $1;

-- name: delete_checkpoints
DELETE FROM {schema}.checkpoints WHERE tid = $1;

-- name: delete_channel_rows
DELETE FROM {schema}.channel_rows WHERE tid = $1;

-- name: delete_tasks
DELETE FROM {schema}.tasks WHERE tid = $1;

-- name: find_lines
SELECT lo, parent, digest FROM {schema}.lines WHERE tid = $1;

-- name: find_checkpoints
SELECT ns, no, parent, born, at, commit_id, header, state_digest, digest FROM {schema}.checkpoints WHERE tid = $1;

-- name: find_channel_keys
SELECT ns, channel, no, prev FROM {schema}.channel_rows WHERE tid = $1;

-- name: find_record_places
SELECT ns, born, ord, digest FROM {schema}.tasks WHERE tid = $1;

-- name: drop_line
DELETE FROM {schema}.lines WHERE tid = $1 AND lo = $2;

-- name: drop_checkpoint
DELETE FROM {schema}.checkpoints WHERE tid = $1 AND ns = $2 AND no = $3;

-- name: drop_channel_row
DELETE FROM {schema}.channel_rows WHERE tid = $1 AND ns = $2 AND channel = $3 AND no = $4;

-- name: drop_task
DELETE FROM {schema}.tasks WHERE tid = $1 AND ns = $2 AND born = $3 AND ord = $4;
