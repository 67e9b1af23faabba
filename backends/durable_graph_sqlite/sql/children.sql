-- The ends of runs that have a parent, which the parent receives as messages, and the children of a run. States are as in
-- `runs.sql`.

-- name: lock_parents
-- No lock is needed: the transaction has the lock of the file.
SELECT 1 WHERE :thread_key IS NULL AND :before;

-- name: is_parent_free
-- Always, as above.
SELECT 1 WHERE :thread_key IS NOT NULL AND :seq IS NOT NULL;

-- name: count_end
-- The message takes a number of the parent's thread.
UPDATE threads SET run_seq = run_seq + 1
 WHERE status <> 'deleted'
   AND thread_key = (SELECT parent_key FROM runs WHERE thread_key = :thread_key AND seq = :seq AND parent_key <> 0
                        AND (state IN (4, 5, 6) OR :is_deleted));

-- name: add_end
-- A parent that is done waits for nothing; one that has failed or was cancelled may be retried.
INSERT INTO messages (thread_key, seq, topic, key, taken, made_at, extra, value)
SELECT p.thread_key, t.run_seq, 'child:' || c.thread_key || '.' || c.seq,
       CASE WHEN :is_deleted THEN 'deleted' ELSE CAST(c.ended_at AS TEXT) END, 0, :at, x'', :value
  FROM runs c
  JOIN runs p ON p.thread_key = c.parent_key AND p.seq = c.parent_seq
  JOIN threads t ON t.thread_key = p.thread_key
 WHERE c.thread_key = :thread_key AND c.seq = :seq AND c.parent_key <> 0 AND p.state <> 4 AND t.status <> 'deleted'
   AND (c.state IN (4, 5, 6) OR :is_deleted)
ON CONFLICT DO NOTHING;

-- name: wake_parent
UPDATE runs SET inbox = inbox + 1, due = CASE WHEN state = 2 THEN :at ELSE due END,
                state = CASE WHEN state = 2 THEN 0 ELSE state END
 WHERE state < 4
   AND thread_key = (SELECT parent_key FROM runs WHERE thread_key = :thread_key AND seq = :seq AND parent_key <> 0
                        AND (state IN (4, 5, 6) OR :is_deleted));

-- name: find_children
-- Those that have not ended.
SELECT thread_id, seq, state, priority, due, deadline, first_checkpoint, checkpoint, claimed_version, attempt, crashes,
       inbox, worker, request, accepted_at, ended_at, queue, graph, error, waits_on, metadata, from_checkpoint, parent_key,
       parent_seq, on_parent, coalesce((SELECT name FROM workers WHERE id = worker), '')
  FROM runs INDEXED BY runs_of_parent
 WHERE parent_key = :thread_key AND parent_seq = :seq AND parent_key <> 0 AND state < 4 ORDER BY thread_id, seq;

-- name: find_orphans
-- Children that are to be cancelled with their parent, which was cancelled.
SELECT k.thread_id, k.seq
  FROM runs k INDEXED BY runs_of_parent CROSS JOIN runs p ON p.thread_key = k.parent_key AND p.seq = k.parent_seq
 WHERE k.parent_key <> 0 AND k.state < 4 AND k.on_parent = 1 AND k.request <> 1 AND p.state = 6 LIMIT :limit;

-- name: continue_run
-- The same run begins anew with another input. A late commit may do this to a quarantined run.
UPDATE runs
   SET state = 0, due = min(:at, deadline), input = :input, first_checkpoint = 0, from_checkpoint = NULL,
       checkpoint = :checkpoint, crashes = 0, worker = 0, ended_at = 0, waits_on = NULL,
       error = CASE WHEN request = 1 THEN error END
 WHERE thread_key = :thread_key AND seq = :seq AND (state < 4 OR state = 7);
