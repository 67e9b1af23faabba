-- The ends of runs that have a parent, which the parent receives as messages, and the children of a run. States are as in
-- `runs.sql`.
--
-- Locks: a transaction that may end a run with a parent locks the threads of both, in the order of their keys, before it
-- changes a run.

-- name: lock_parents
-- The threads of the parents of a thread's runs that may end: those before its own key, or those after it.
SELECT thread_key FROM {schema}.threads
 WHERE thread_key = ANY (ARRAY (SELECT parent_key FROM {schema}.runs
                                 WHERE thread_key = :thread_key AND parent_key <> 0 AND (state < 4 OR state = 7)
                                   AND (parent_key < thread_key) = :before::boolean))
 ORDER BY thread_key FOR NO KEY UPDATE;

-- name: is_parent_free
-- Whether the run has no parent, or the thread of its parent is not locked: it is locked then.
SELECT 1 FROM {schema}.runs c
 WHERE c.thread_key = :thread_key AND c.seq = :seq
   AND (NOT EXISTS (SELECT FROM {schema}.threads t WHERE t.thread_key = c.parent_key)
        OR EXISTS (SELECT FROM {schema}.threads t WHERE t.thread_key = c.parent_key
                      FOR NO KEY UPDATE SKIP LOCKED));

-- part: parent_of_the_ended
(SELECT c.parent_key FROM {schema}.runs c
  WHERE c.thread_key = :thread_key AND c.seq = :seq AND c.parent_key <> 0
    AND (c.state IN (4, 5, 6) OR :is_deleted::boolean))

-- name: count_end
-- The message takes a number of the parent's thread: see `and_runs_are_known`.
UPDATE {schema}.threads SET run_seq = run_seq + 1
 WHERE status <> 'deleted' AND thread_key = {parent_of_the_ended};

-- name: add_end
-- A parent that is done waits for nothing; one that has failed or was cancelled may be retried.
INSERT INTO {schema}.messages (thread_key, seq, topic, key, taken, made_at, extra, value)
SELECT p.thread_key, t.run_seq, 'child:' || c.thread_key || '.' || c.seq,
       CASE WHEN :is_deleted::boolean THEN 'deleted' ELSE c.ended_at::text END, 0, {at_once}, '', :value
  FROM {schema}.runs c
  JOIN {schema}.runs p ON p.thread_key = c.parent_key AND p.seq = c.parent_seq
  JOIN {schema}.threads t ON t.thread_key = p.thread_key
 WHERE c.thread_key = :thread_key AND c.seq = :seq AND c.parent_key <> 0 AND p.state <> 4 AND t.status <> 'deleted'
   AND (c.state IN (4, 5, 6) OR :is_deleted::boolean)
ON CONFLICT DO NOTHING;

-- name: wake_parent
UPDATE {schema}.runs r
       SET {run_as_changed}
  FROM (VALUES (-1::smallint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, NULL, NULL))
    AS c (state, due, inbox, checkpoint, first_checkpoint, ended_at, error, waits_on)
 WHERE r.thread_key = {parent_of_the_ended} AND r.state < 4;

-- name: find_children
-- Those that have not ended.
SELECT thread_id, seq, state, priority, due, deadline, first_checkpoint, checkpoint, claimed_version, attempt, crashes,
       inbox, worker, request, accepted_at, ended_at, queue, graph, error, waits_on, metadata, from_checkpoint, parent_key,
       parent_seq, on_parent, coalesce((SELECT name FROM {schema}.workers WHERE id = worker), '')
  FROM {schema}.runs
 WHERE parent_key = :thread_key AND parent_seq = :seq AND parent_key <> 0 AND state < 4 ORDER BY thread_id, seq;

-- name: find_orphans
-- Children that are to be cancelled with their parent, which was cancelled.
SELECT c.thread_id, c.seq
  FROM {schema}.runs c JOIN {schema}.runs p ON p.thread_key = c.parent_key AND p.seq = c.parent_seq
 WHERE c.parent_key <> 0 AND c.state < 4 AND c.on_parent = 1 AND c.request <> 1 AND p.state = 6 LIMIT :limit;

-- name: continue_run
-- The same run begins anew with another input. A late commit may do this to a quarantined run.
UPDATE {schema}.runs
   SET state = 0, due = least({at_once}, deadline), input = :input, first_checkpoint = 0, from_checkpoint = NULL,
       checkpoint = :checkpoint, crashes = 0, worker = 0, ended_at = 0, waits_on = NULL,
       error = CASE WHEN request = 1 THEN error END
 WHERE thread_key = :thread_key AND seq = :seq AND (state < 4 OR state = 7);
