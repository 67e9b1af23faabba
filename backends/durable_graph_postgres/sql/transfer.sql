-- Export and import of whole threads. The columns have the order of `checkpointing/transfer.py`.

-- name: export_threads
SELECT thread_id, incarnation, origin, graph, graph_digest, version, head, epoch, writes_seq, prunes, oldest_kept,
       run_seq, status, status_since, created_at, updated_at, commit_id, next, metadata, error, extra, writes_digest,
       branches_digest, requests_digest, digest
  FROM {schema}.threads WHERE thread_key = :thread_key;

-- name: import_threads
INSERT INTO {schema}.threads (thread_key, thread_id, incarnation, origin, graph, graph_digest, version, head, epoch,
                              writes_seq, prunes, oldest_kept, run_seq, status, status_since, created_at, updated_at,
                              commit_id, next, metadata, error, extra, writes_digest, branches_digest,
                              requests_digest, digest)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24,
        $25, $26);

-- name: export_branches
SELECT first, parent, digest, extra
  FROM {schema}.branches WHERE thread_key = :thread_key ORDER BY first;

-- name: import_branches
INSERT INTO {schema}.branches (thread_key, first, parent, digest, extra)
VALUES ($1, $2, $3, $4, $5);

-- name: export_checkpoints
SELECT namespace, number, parent, planned_at, made_at, commit_id, state_digest, digest, extra, header
  FROM {schema}.checkpoints WHERE thread_key = :thread_key ORDER BY namespace, number;

-- name: import_checkpoints
INSERT INTO {schema}.checkpoints (thread_key, namespace, number, parent, planned_at, made_at, commit_id, state_digest,
                                  digest, extra, header)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- name: export_channel_rows
SELECT namespace, channel, number, previous, kind, digest, value
  FROM {schema}.channel_rows WHERE thread_key = :thread_key ORDER BY namespace, channel, number;

-- name: import_channel_rows
INSERT INTO {schema}.channel_rows (thread_key, namespace, channel, number, previous, kind, digest, value)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: export_tasks
SELECT namespace, planned_at, position, rank, revision, commit_id, digest, extra, value
  FROM {schema}.tasks WHERE thread_key = :thread_key ORDER BY namespace, planned_at, position;

-- name: import_tasks
INSERT INTO {schema}.tasks (thread_key, namespace, planned_at, position, rank, revision, commit_id, digest, extra,
                            value)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10);

-- name: export_requests
SELECT key, input_digest, seq, checkpoint, made_at, extra, digest
  FROM {schema}.requests WHERE thread_key = :thread_key ORDER BY key;

-- name: import_requests
INSERT INTO {schema}.requests (thread_key, key, input_digest, seq, checkpoint, made_at, extra, digest)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: export_runs
SELECT seq, state, priority, due, deadline, first_checkpoint, checkpoint, claimed_version, attempt, crashes, inbox,
       worker, request, accepted_at, ended_at, limit_key, parent_key, parent_seq, on_parent, queue, graph, thread_id,
       error, waits_on, metadata, from_checkpoint, input_digest, input, options, context, extra
  FROM {schema}.runs WHERE thread_key = :thread_key ORDER BY seq;

-- name: import_runs
INSERT INTO {schema}.runs (thread_key, seq, state, priority, due, deadline, first_checkpoint, checkpoint,
                           claimed_version, attempt, crashes, inbox, worker, request, accepted_at, ended_at,
                           limit_key, parent_key, parent_seq, on_parent, queue, graph, thread_id, error, waits_on,
                           metadata, from_checkpoint, input_digest, input, options, context, extra)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24,
        $25, $26, $27, $28, $29, $30, $31, $32);

-- name: export_messages
SELECT seq, topic, key, taken, made_at, extra, value
  FROM {schema}.messages WHERE thread_key = :thread_key ORDER BY seq;

-- name: import_messages
INSERT INTO {schema}.messages (thread_key, seq, topic, key, taken, made_at, extra, value)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: export_thread_metadata
SELECT updated_at, metadata FROM {schema}.thread_metadata WHERE thread_key = :thread_key;

-- name: import_thread_metadata
INSERT INTO {schema}.thread_metadata (thread_key, updated_at, metadata) VALUES ($1, $2, $3);
