-- Export and import of whole threads. The columns have the order of `checkpointing/transfer.py`.

-- name: export_threads
SELECT thread_id, incarnation, origin, graph, graph_digest, version, head, epoch, writes_seq, prunes, oldest_kept,
       run_seq, status, status_since, created_at, updated_at, commit_id, next, metadata, error, extra, writes_digest,
       branches_digest, requests_digest, digest
  FROM threads WHERE thread_key = :thread_key;

-- name: import_threads
INSERT INTO threads (thread_key, thread_id, incarnation, origin, graph, graph_digest, version, head, epoch,
                     writes_seq, prunes, oldest_kept, run_seq, status, status_since, created_at, updated_at,
                     commit_id, next, metadata, error, extra, writes_digest, branches_digest, requests_digest, digest)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: export_branches
SELECT first, parent, digest, extra
  FROM branches WHERE thread_key = :thread_key ORDER BY first;

-- name: import_branches
INSERT INTO branches (thread_key, first, parent, digest, extra)
VALUES (?, ?, ?, ?, ?);

-- name: export_checkpoints
SELECT namespace, number, parent, planned_at, made_at, commit_id, state_digest, digest, extra, header
  FROM checkpoints WHERE thread_key = :thread_key ORDER BY namespace, number;

-- name: import_checkpoints
INSERT INTO checkpoints (thread_key, namespace, number, parent, planned_at, made_at, commit_id, state_digest, digest,
                         extra, header)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: export_channel_rows
SELECT namespace, channel, number, previous, kind, digest, value
  FROM channel_rows WHERE thread_key = :thread_key ORDER BY namespace, channel, number;

-- name: import_channel_rows
INSERT INTO channel_rows (thread_key, namespace, channel, number, previous, kind, digest, value)
VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: export_tasks
SELECT namespace, planned_at, position, rank, revision, commit_id, digest, extra, value
  FROM tasks WHERE thread_key = :thread_key ORDER BY namespace, planned_at, position;

-- name: import_tasks
INSERT INTO tasks (thread_key, namespace, planned_at, position, rank, revision, commit_id, digest, extra, value)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: export_requests
SELECT key, input_digest, seq, checkpoint, made_at, extra, digest
  FROM requests WHERE thread_key = :thread_key ORDER BY key;

-- name: import_requests
INSERT INTO requests (thread_key, key, input_digest, seq, checkpoint, made_at, extra, digest)
VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: export_runs
SELECT seq, state, priority, due, deadline, first_checkpoint, checkpoint, claimed_version, attempt, crashes, inbox,
       worker, request, accepted_at, ended_at, limit_key, parent_key, parent_seq, on_parent, queue, graph, thread_id,
       error, waits_on, metadata, from_checkpoint, input_digest, input, options, context, extra
  FROM runs WHERE thread_key = :thread_key ORDER BY seq;

-- name: import_runs
INSERT INTO runs (thread_key, seq, state, priority, due, deadline, first_checkpoint, checkpoint, claimed_version,
                  attempt, crashes, inbox, worker, request, accepted_at, ended_at, limit_key, parent_key, parent_seq,
                  on_parent, queue, graph, thread_id, error, waits_on, metadata, from_checkpoint, input_digest, input,
                  options, context, extra)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: export_messages
SELECT seq, topic, key, taken, made_at, extra, value
  FROM messages WHERE thread_key = :thread_key ORDER BY seq;

-- name: import_messages
INSERT INTO messages (thread_key, seq, topic, key, taken, made_at, extra, value)
VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: export_thread_metadata
SELECT updated_at, metadata FROM thread_metadata WHERE thread_key = :thread_key;

-- name: import_thread_metadata
INSERT INTO thread_metadata (thread_key, updated_at, metadata) VALUES (?, ?, ?);
